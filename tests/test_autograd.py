"""The tape: what it computes at its edges, what it refuses, what it keeps alive."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, core


def leaf(*values: Any, dtype: Any = None) -> Tensor:
    return minigrad.tensor(list(values), dtype=dtype, requires_grad=True)


# ---- going backward twice ----------------------------------------------------------------------


def test_second_backward_says_what_to_do() -> None:
    x = leaf(1.0, 2.0)
    y = x.exp().sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True") as error:
        y.backward()
    assert "detach()" in str(error.value)
    assert "through sum" in str(error.value)


def test_state_carried_into_the_next_batch() -> None:
    """The mistake behind most second backwards: truncated BPTT without detach."""
    w, h = leaf(0.5), minigrad.tensor([1.0])
    h = (w * h).tanh()
    h.sum().backward()
    with pytest.raises(RuntimeError, match="hidden state from an earlier batch"):
        (w * h).tanh().sum().backward()


def test_retain_graph_and_accumulation() -> None:
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [4.0, 8.0]
    (3.0 * x).sum().backward()
    assert x.grad.tolist() == [7.0, 11.0]
    x.grad = None
    (3.0 * x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_two_losses_of_one_graph() -> None:
    x = leaf(2.0)
    h = x * x
    (dx,) = minigrad.grad(h * 3.0, x, retain_graph=True)
    (dy,) = minigrad.grad(h.exp(), x)
    assert dx.item() == 12.0
    np.testing.assert_allclose(dy.item(), 4 * np.exp(4), rtol=1e-6)


# ---- what backward refuses -----------------------------------------------------------------------


def test_gradient_of_a_non_scalar() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"\[2\].*needs its gradient.*\.sum\(\)"):
        (x * 2).backward()
    (x * 2).backward(minigrad.tensor([1.0, 10.0]))
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 20.0]


def test_gradient_of_one_element_needs_no_argument() -> None:
    x = leaf(3.0)
    (x * 2).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0]


@pytest.mark.parametrize(
    "gradient", [minigrad.ones(3), minigrad.ones(1, 2), minigrad.ones(2, dtype=minigrad.float64)]
)
def test_wrong_gradient(gradient: Any) -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"gradient float.*for a tensor float32 \[2\]"):
        (x * 2).backward(gradient)


@pytest.mark.parametrize("dtype", [minigrad.int64, minigrad.bool_])
def test_integers_have_no_gradient(dtype: Any) -> None:
    x = minigrad.tensor([1, 0], dtype=dtype)
    with pytest.raises(TypeError, match=rf"only float tensors.*{dtype}.*\.to\(minigrad\.float32\)"):
        x.requires_grad_()
    with pytest.raises(TypeError, match="only float"):
        minigrad.tensor([1, 0], dtype=dtype, requires_grad=True)


def test_nothing_recorded() -> None:
    with pytest.raises(RuntimeError, match="nothing to go back through"):
        minigrad.ones(1).backward()
    with pytest.raises(ValueError, match="input 0 does not require gradients"):
        minigrad.grad(leaf(1.0) * 2, minigrad.ones(1))


def test_unused_input() -> None:
    x, y = leaf(1.0), leaf(2.0)
    with pytest.raises(ValueError, match=r"input 1 was not used.*allow_unused"):
        minigrad.grad(x * 2, [x, y])
    dx, dy = minigrad.grad(x * 2, [x, y], allow_unused=True)
    assert dx is not None
    assert dx.tolist() == [2.0]
    assert dy is None


def test_grad_of_a_result() -> None:
    x = leaf(1.0)
    y = x * 2
    with pytest.raises(RuntimeError, match="only a leaf"):
        y.grad = minigrad.ones(1)
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad = False
    assert y.grad is None
    with pytest.raises(ValueError, match=r"grad float32 \[2\] of a tensor float32 \[1\]"):
        x.grad = minigrad.ones(2)


def test_write_after_use() -> None:
    """What an optimiser does before backward: the gradient would be of something else."""
    w, x = leaf(1.0, 2.0), minigrad.tensor([3.0, 4.0])
    y = (w * w).sum() + (w * x).sum()
    with minigrad.no_grad():
        w.copy_(minigrad.zeros(2))
    with pytest.raises(RuntimeError, match=r"written in place.*before"):
        y.backward()
    (w * w).sum().backward()  # a graph recorded after the write is whole
    assert w.grad is not None
    assert w.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.add_(1.0),
        lambda x: x.zero_(),
        lambda x: x.__setitem__(0, 5.0),
        lambda x: x[:1].fill_(5.0),
        lambda x: setattr(x, "data", minigrad.zeros(2)),
        lambda x: x.detach().mul_(2.0),
    ],
)
def test_every_write_is_noticed(write: Any) -> None:
    w, x = leaf(1.0, 2.0), minigrad.tensor([3.0, 4.0])
    y = (w * x).sum()
    write(x)
    with pytest.raises(RuntimeError, match="written in place"):
        y.backward()


def test_write_that_no_rule_reads() -> None:
    """add needs nothing of its operands: writing to them does no harm."""
    w, x = leaf(1.0, 2.0), minigrad.tensor([3.0, 4.0])
    y = (w + x).sum()
    x.zero_()
    y.backward()
    assert w.grad is not None
    assert w.grad.tolist() == [1.0, 1.0]


def test_write_into_a_tracked_tensor() -> None:
    x = leaf(1.0, 2.0)
    for write in (lambda: x.add_(1.0), lambda: x.__setitem__(0, 1.0)):
        with pytest.raises(RuntimeError, match="under no_grad"):
            write()


# ---- grad() ------------------------------------------------------------------------------------


def test_grad_of_intermediate_tensors() -> None:
    x = leaf(1.0, 2.0)
    h = x * 3.0
    y = (h * h).sum()
    dh, dx = minigrad.grad(y, [h, x])
    assert dh.tolist() == [6.0, 12.0]
    assert dx.tolist() == [18.0, 36.0]
    assert x.grad is None


def test_grad_of_the_output_itself() -> None:
    x = leaf(2.0)
    y = x * x
    dy, dx = minigrad.grad(y, [y, x])
    assert (dy.item(), dx.item()) == (1.0, 4.0)


def test_grad_of_several_outputs() -> None:
    x = leaf(1.0, 2.0)
    a, b = x * 2.0, (x * x).sum()
    (dx,) = minigrad.grad([a, b], x, [minigrad.tensor([1.0, 0.0]), None])
    assert dx.tolist() == [4.0, 4.0]
    c = x * 5.0
    (dx,) = minigrad.grad([c, c], x, [minigrad.ones(2), minigrad.ones(2)])
    assert dx.tolist() == [10.0, 10.0]


def test_grad_does_not_visit_what_does_not_lead_to_the_inputs() -> None:
    calls = []

    @minigrad.op
    def spy(x: Any) -> Any:
        return core.astype(x, x.layout.code)

    spy.vjp(x=lambda g: calls.append(1) or g)
    x, w = leaf(1.0), leaf(2.0)
    y = spy(x) * w
    minigrad.grad(y, w, retain_graph=True)
    assert not calls
    minigrad.grad(y, x)
    assert calls


def test_higher_derivatives() -> None:
    x = minigrad.tensor(0.7, dtype=minigrad.float64, requires_grad=True)
    y, expected = x.sin(), [np.cos(0.7), -np.sin(0.7), -np.cos(0.7), np.sin(0.7)]
    for value in expected:
        (y,) = minigrad.grad(y, x, create_graph=True)
        np.testing.assert_allclose(y.item(), value, rtol=1e-14)


def test_backward_with_create_graph() -> None:
    x = leaf(3.0)
    (x**3).sum().backward(create_graph=True)
    first = x.grad
    assert first is not None
    assert first.requires_grad
    x.grad = None
    first.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [18.0]


def test_gradient_penalty() -> None:
    """|d y/d x|² as part of a loss: the classic use of create_graph."""
    w = leaf(0.5, -1.0, dtype=minigrad.float64)

    def penalty(w: Any) -> Any:
        x = minigrad.tensor([1.0, 2.0], dtype=minigrad.float64, requires_grad=True)
        (dx,) = minigrad.grad((w * x).tanh().sum(), x, create_graph=True)
        return (dx * dx).sum()

    assert minigrad.gradcheck(penalty, w)
    assert minigrad.gradgradcheck(penalty, w)


# ---- recording, or not ---------------------------------------------------------------------------


def test_no_grad_as_context_and_decorator() -> None:
    x = leaf(1.0)

    @minigrad.no_grad()
    def evaluate(x: Tensor) -> tuple[bool, Any]:
        """Its doc."""
        return minigrad.is_grad_enabled(), x * 2

    enabled, y = evaluate(x)
    assert not enabled
    assert not y.requires_grad
    assert evaluate.__doc__ == "Its doc."
    with minigrad.no_grad():
        with minigrad.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert minigrad.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), minigrad.no_grad():
        raise ZeroDivisionError
    assert minigrad.is_grad_enabled()


def test_no_grad_holds_for_its_thread_only() -> None:
    x, seen = leaf(1.0), []
    inside, looked = threading.Event(), threading.Event()

    def evaluate() -> None:
        with minigrad.no_grad():
            inside.set()
            looked.wait(10)
            seen.append((x * 2).requires_grad)

    thread = threading.Thread(target=evaluate)
    thread.start()
    assert inside.wait(10)
    seen.append((x * 2).requires_grad)
    looked.set()
    thread.join()
    assert seen == [True, False]


def test_detach_shares_memory() -> None:
    x = leaf(1.0, 2.0)
    y = x.detach()
    assert not y.requires_grad
    y.mul_(3.0)
    assert x.tolist() == [3.0, 6.0]
    assert (x * y).requires_grad


# ---- .grad is memory of its own ------------------------------------------------------------------


def test_gradients_share_no_memory() -> None:
    """z = x + y hands one array to both: each must get its own."""
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    gradient = minigrad.tensor([1.0, 1.0])
    (x + y).backward(gradient)
    assert x.grad is not None
    assert y.grad is not None
    x.grad.mul_(5.0)
    assert y.grad.tolist() == [1.0, 1.0]
    assert gradient.tolist() == [1.0, 1.0]
    (x + y).backward(gradient)
    assert x.grad.tolist() == [6.0, 6.0]
    assert y.grad.tolist() == [2.0, 2.0]
    assert gradient.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x,
        lambda x: x + 0.0,
        lambda x: x.reshape(2, 1).reshape(2),
        lambda x: minigrad.cat([x, x])[:2],
        lambda x: x.clone(),
        lambda x: x.contiguous(),
        lambda x: x.T,
        lambda x: x.expand(1, 2)[0],
        lambda x: minigrad.stack([x, x])[1],
    ],
)
def test_gradient_argument_is_left_alone(f: Any) -> None:
    x, gradient = leaf(1.0, 2.0), minigrad.tensor([1.0, 1.0])
    for _ in range(3):
        f(x).backward(gradient)
    assert gradient.tolist() == [1.0, 1.0]
    assert x.grad is not None
    assert x.grad.tolist() == [3.0, 3.0]
    x.grad.zero_()
    assert gradient.tolist() == [1.0, 1.0]


def test_grad_results_survive_writes_to_each_other() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    z = x + y
    z.sum().backward()
    z = x + y
    z.sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    x.grad.fill_(9.0)
    assert y.grad.tolist() == [2.0, 2.0]


def test_second_use_of_a_broadcast_operand() -> None:
    """The engine adds second contributions in place: that must undo broadcasting, too."""
    x = leaf(2.0)
    y = minigrad.ones(4, 1)
    (
        x * y * 3.0 + y * x * x + x * minigrad.tensor([1, 2, 3])[:1] + x * 2 + x * True
    ).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.tolist(), [4 * (3 + 4 + 1 + 2 + 1)])


def test_columns_of_a_matrix() -> None:
    """Slices with gaps: the second contribution goes in place to where it belongs."""
    x = minigrad.randn(3, 4, requires_grad=True)
    (x[:, 0] * 1.0 + x[:, 1] * 2.0 + x[:, 3] * 3.0 + x[:, 0] * 10.0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[11.0, 2.0, 0.0, 3.0]] * 3


# ---- size --------------------------------------------------------------------------------------


def test_long_chain() -> None:
    """100 000 steps: forward, backward and letting go, none of them by recursion."""
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    assert sys.getrecursionlimit() < 100_000
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0]
    del y


def test_long_chain_that_is_dropped_without_backward() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = (y + x).neg()
    del y
    assert (x * 2).requires_grad


def test_long_chain_with_views_and_tuples() -> None:
    x = leaf(1.0, 2.0)
    y = x
    for _ in range(20_000):
        a, b = y.split(1)
        y = minigrad.cat([b, a])
    y.backward(minigrad.tensor([1.0, 10.0]))
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 10.0]


def test_wide_graph() -> None:
    x = leaf(1.0)
    minigrad.stack([x * float(i) for i in range(5000)]).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.tolist(), [5000 * 4999 / 2], rtol=1e-5)


def test_every_path_is_counted_once() -> None:
    """2^40 paths through 40 diamonds: each node is visited once, after all its uses."""
    x = leaf(1.0, dtype=minigrad.float64)
    y = x
    for _ in range(40):
        y = y + y
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0**40]


# ---- memory ------------------------------------------------------------------------------------


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


LARGE = 1 << 18  # elements: 1 MiB of float32, far above what small arrays take from Python
MIB = LARGE * 4


def used() -> int:
    return core.memory()[0]


@pytest.mark.usefixtures("_no_collector")
def test_a_dropped_graph_is_freed_at_once() -> None:
    x = minigrad.rand(LARGE, requires_grad=True)
    before = used()
    y = (x.exp() * x).tanh().sum()
    node = weakref.ref(y)
    assert used() >= before + 2 * MIB
    del y
    assert node() is None
    assert used() == before


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("create_graph", [False, True])
def test_backward_leaves_nothing_behind(create_graph: bool) -> None:
    x = minigrad.rand(LARGE, requires_grad=True)
    before = used()
    parts = x.exp().split(LARGE // 2)
    y = (parts[0] * parts[1].sigmoid()).sum() + x.reshape(-1, 4).softmax(-1).square().sum()
    del parts
    y.backward(create_graph=create_graph)
    x.grad = None
    del y
    assert used() == before


@pytest.mark.usefixtures("_no_collector")
def test_second_derivatives_leave_nothing_behind() -> None:
    x = minigrad.rand(LARGE, requires_grad=True)
    before = used()
    (dx,) = minigrad.grad((x.exp() * x).sum(), x, create_graph=True)
    (ddx,) = minigrad.grad(dx.square().sum(), x)
    del dx, ddx
    assert used() == before


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize(
    ("f", "arrays"),
    [
        (lambda x: x + x, 0),
        (lambda x: x - 1.0, 0),
        (lambda x: -x, 0),
        (lambda x: x * 2.0, 0),
        (lambda x: x.exp(), 1),  # the output, which nothing else holds
        (lambda x: x.sin(), 0),  # the operand, which the user holds anyway
        (lambda x: x.tanh().sum(), 1),
        (lambda x: x.reshape(2, -1), 0),
        (lambda x: x.exp() + 1.0, 1),
        (lambda x: (x + 1.0) + 1.0, 0),
        (lambda x: (x + 1.0) * 2.0, 0),
        (lambda x: (x + 1.0).square(), 1),
        (lambda x: x.sum(), 0),
        (lambda x: (x + 1.0).mean(), 0),
        (lambda x: x.relu(), 1),
        (lambda x: (x + 1.0).reshape(-1, 2).softmax(-1).sum(), 1),
    ],
)
def test_the_tape_keeps_what_the_rules_name(f: Any, arrays: int) -> None:
    """What is alive while y's graph waits, apart from x and from y's own memory."""
    x = minigrad.rand(LARGE, requires_grad=True)
    before = used()
    y = f(x)
    # a scalar that depends on y through a rule that reads nothing lets go of y's own memory
    tail = y.sum() if y.shape else y
    del y
    assert (used() - before + MIB // 2) // MIB == arrays
    tail.backward()
    x.grad = None
    del tail
    assert used() == before


@pytest.mark.usefixtures("_no_collector")
def test_a_loop_of_training_does_not_grow() -> None:
    w = minigrad.rand(512, 512, requires_grad=True)
    sizes = []
    for _ in range(5):
        y = minigrad.rand(64, 512)
        for _ in range(4):
            y = (y @ w).tanh()
        y.square().mean().backward()
        w.grad = None
        sizes.append(used())
    assert len(set(sizes[1:])) == 1


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
