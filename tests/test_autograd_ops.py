"""Ops of one's own, operands of mixed kinds, and what is refused with a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, core


def leaf(*values: Any, dtype: Any = None) -> Tensor:
    return minigrad.tensor(list(values), dtype=dtype, requires_grad=True)


# ---- ops of one's own --------------------------------------------------------------------------


def test_own_op() -> None:
    @minigrad.op
    def scaled(x: Any, factor: float = 2.0) -> Any:
        return core.binary("mul")(x, factor)

    scaled.vjp(x=lambda g, factor: scaled(g, factor))  # noqa: PLW0108 (its names matter)
    x = minigrad.tensor([1.0, -3.0], dtype=minigrad.float64, requires_grad=True)
    assert scaled(x).tolist() == [2.0, -6.0]
    assert minigrad.gradcheck(lambda x: scaled(x, factor=5.0), x)
    assert minigrad.gradgradcheck(lambda x: scaled(x, 5.0), x)


def test_wrong_names_in_a_rule() -> None:
    @minigrad.op
    def f(x: Any) -> Any:
        return core.astype(x, x.layout.code)

    with pytest.raises(TypeError, match="f: a rule names 'z'"):
        f.vjp(x=lambda g, z: g * z)
    with pytest.raises(TypeError, match="f: 'w' is none of its arguments"):
        f.vjp(w=lambda g: g)


def test_missing_rule() -> None:
    @minigrad.op
    def f(x: Any) -> Any:
        return core.astype(x, x.layout.code)

    assert f(minigrad.ones(1)).tolist() == [1.0]
    with pytest.raises(TypeError, match="f: no gradient for argument 'x'"):
        f(leaf(1.0))


def test_wrong_rule_is_found_by_gradcheck() -> None:
    """A check that cannot fail is none: a rule off by a factor, one off in second order only."""

    @minigrad.op
    def cube(x: Any) -> Any:
        return core.binary("pow")(x, 3.0)

    x = minigrad.tensor([[0.5, 2.0]], dtype=minigrad.float64, requires_grad=True)
    cube.vjp(x=lambda g, x: g * x * x * 3.01)
    with pytest.raises(RuntimeError) as error:
        minigrad.gradcheck(cube, x)
    text = str(error.value)
    assert "output 0 [1, 2] with respect to input 0 [1, 2]" in text
    assert "[0, 1, 0, 1]" in text
    assert "12.04" in text
    assert "atol=1e-05" in text
    assert not minigrad.gradcheck(cube, x, raise_exception=False)
    cube.vjp(x=lambda g, x: g * x.detach() * x.detach() * 3.0)
    assert minigrad.gradcheck(cube, x)
    with pytest.raises(RuntimeError):
        minigrad.gradgradcheck(cube, x)


def test_gradcheck_asks_for_float64() -> None:
    with pytest.raises(ValueError, match=r"input 0 is float32 \[1\]: float64 is needed"):
        minigrad.gradcheck(minigrad.exp, leaf(1.0))
    with pytest.raises(ValueError, match="no input requires gradients"):
        minigrad.gradcheck(minigrad.exp, minigrad.ones(1))
    x = leaf(1.0, dtype=minigrad.float64)
    with pytest.raises(ValueError, match="output 0 is float32"):
        minigrad.gradcheck(lambda x: x.to(minigrad.float32), x)
    with pytest.raises(ValueError, match="repeats its elements"):
        minigrad.gradcheck(minigrad.exp, x.expand(3))


def test_gradcheck_refuses_random_functions() -> None:
    x = leaf(1.0, dtype=minigrad.float64)
    with pytest.raises(RuntimeError, match=r"differs between two calls.*dropout"):
        minigrad.gradcheck(lambda x: x * minigrad.rand(1, dtype=minigrad.float64), x)


def test_gradcheck_sees_through_detach() -> None:
    x = leaf(1.0, dtype=minigrad.float64)
    with pytest.raises(RuntimeError, match="backward gives 0, central differences 2"):
        minigrad.gradcheck(lambda x: x.detach() * 2.0, x)


def test_gradcheck_kinds_of_inputs_and_outputs() -> None:
    """Nested outputs; integers; no elements, no dimensions; transposed memory."""
    x = minigrad.tensor(np.arange(6.0).reshape(2, 3) + 0.5, requires_grad=True)
    index = minigrad.tensor([0, 1])

    def f(x: Any, i: Any, y: Any) -> Any:
        return x[i] * y, (x.argmax(-1), [x.T @ x, x.sum()]), x[:0]

    for y in (
        minigrad.tensor(2.0, dtype=minigrad.float64),
        minigrad.zeros(0, 1, 1, dtype=minigrad.float64),
    ):
        assert minigrad.gradcheck(f, (x, index, y.requires_grad_()))
    turned = minigrad.from_numpy(np.arange(6.0).reshape(3, 2).T + 0.5).requires_grad_()
    before = turned.numpy().copy()
    assert minigrad.gradgradcheck(f, (turned, index, minigrad.ones(3, dtype=minigrad.float64)))
    np.testing.assert_array_equal(turned.numpy(), before)


# ---- operands that do not go together ----------------------------------------------------------


def test_float32_and_float64_do_not_mix() -> None:
    with pytest.raises(TypeError, match=r"mul: float32 \[2\] and float64 \[2\].*\.to\("):
        leaf(1.0, 2.0) * minigrad.ones(2, dtype=minigrad.float64)
    with pytest.raises(TypeError, match=r"matmul: float32 \[1, 1\] @ float64 \[1, 1\]"):
        minigrad.ones(1, 1) @ minigrad.ones(1, 1, dtype=minigrad.float64)


def test_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"add: .*\[2, 3\] and \[2, 4\].*dimension -1 is 3 and 4"):
        minigrad.ones(2, 3) + minigrad.ones(2, 4)
    with pytest.raises(ValueError, match=r"matmul: \[2, 3\] @ \[4, 5\]"):
        minigrad.ones(2, 3) @ minigrad.ones(4, 5)
    with pytest.raises(ValueError, match=r"matmul: \[2, 1, 3\] @ \[5, 3, 1\].*batch"):
        minigrad.ones(2, 1, 3) @ minigrad.ones(5, 3, 1)


def test_ndarrays_and_numbers_on_either_side() -> None:
    x = minigrad.tensor([1.0, 2.0], dtype=minigrad.float64, requires_grad=True)
    a = np.array([10.0, 20.0])
    for y, expected in (
        (x + a, [11, 22]),
        (a + x, [11, 22]),
        (a - x, [9, 18]),
        (a / x, [10, 10]),
        (2.0 - x, [1, 0]),
        (2 / x, [2, 1]),
        (2**x, [2, 4]),
        (x**2, [1, 4]),
        (np.float64(3) * x, [3, 6]),
        (x * np.float64(3), [3, 6]),
        (x * True, [1, 2]),
    ):
        assert isinstance(y, Tensor)
        assert y.dtype == minigrad.float64
        assert y.requires_grad
        assert y.tolist() == expected
    assert (np.ones((2, 2)) @ x).tolist() == [3, 3]
    np.testing.assert_array_equal(x < a, [True, True])


@pytest.mark.parametrize("other", ["text", None, object(), {}])
def test_operands_of_other_types(other: Any) -> None:
    with pytest.raises(TypeError):
        minigrad.ones(2) + other


def test_logic_of_masks() -> None:
    a, b = minigrad.tensor([True, True, False]), minigrad.tensor([True, False, False])
    assert (a & b).tolist() == [True, False, False]
    assert (a | b).tolist() == [True, True, False]
    assert (a ^ b).tolist() == [False, True, False]
    assert (~a).tolist() == [False, False, True]
    assert (minigrad.tensor([6]) & 3).tolist() == [2]
    with pytest.raises(TypeError, match="bool or int64 tensors are needed"):
        ~minigrad.ones(2)
