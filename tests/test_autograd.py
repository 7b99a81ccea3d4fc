"""The tape: what it computes at its edges, and what it refuses."""

from __future__ import annotations

import threading
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


@pytest.mark.parametrize(
    "write",
    [
        lambda y: y.mul_(2.0),
        lambda y: y.__setitem__(0, 5.0),
        lambda y: y[1:].fill_(5.0),
        lambda y: y.reshape(2, 1).zero_(),
        lambda y: y.detach()[:1].add_(1.0),
        lambda y: setattr(y, "data", minigrad.zeros(2)),
    ],
)
def test_every_write_to_a_result_is_noticed(write: Any) -> None:
    """Of exp, whose rule reads it, also of a second derivative; but the sum's rule does not."""
    for create_graph in (False, True):
        x = leaf(1.0, 2.0)
        y = x.exp()
        total = y.sum()
        with minigrad.no_grad():
            write(y)
            total.mul_(2.0)
        with pytest.raises(RuntimeError, match=r"result of exp .* written in place after"):
            total.backward(create_graph=create_graph)


def test_a_result_of_several_that_was_written() -> None:
    @minigrad.op
    def both(x: Any) -> Any:
        return x.detach().exp(), x.detach().tanh()

    both.vjp_all(lambda g, y: (g[0] * y[0] + g[1] * (1 - y[1] * y[1]),))
    for k in (0, 1):
        x = leaf(1.0, 2.0)
        ys = both(x)
        loss = (ys[0] + ys[1]).sum()
        ys[k].detach().zero_()
        with pytest.raises(RuntimeError, match=r"result of both .* written in place after"):
            loss.backward()


def test_writes_to_results_that_do_no_harm() -> None:
    """To another array, to a copy, before the op, after backward, and to what no rule reads."""
    x, other = leaf(1.0, 2.0), minigrad.zeros(2)
    with minigrad.no_grad():
        other.add_(1.0)
    y = x.exp()
    z = y + 1.0
    with minigrad.no_grad():
        y.clone().zero_()
        other.zero_()
        z.zero_()
    expected = y.tolist()
    z.sum().backward(retain_graph=True)
    assert x.grad is not None
    assert x.grad.tolist() == expected
    z.sum().backward()
    with minigrad.no_grad():
        y.zero_()
    assert x.grad.tolist() == [2 * e for e in expected]
    y = x.exp()  # and again, in the memory of what came before
    y.sum().backward()
    assert x.grad.tolist() == pytest.approx([3 * e for e in expected])


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
