"""The tape on long chains and wide graphs: it returns, and gives back its memory."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, core


def leaf(*values: Any, dtype: Any = None) -> Tensor:
    return minigrad.tensor(list(values), dtype=dtype, requires_grad=True)


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


def test_a_gradient_that_is_a_view_is_neither_kept_nor_added_to() -> None:
    """cat gives its arguments views of one gradient, here the caller's."""
    w, g = minigrad.ones(3, requires_grad=True), minigrad.arange(6.0)
    for total in ([3.0, 5.0, 7.0], [6.0, 10.0, 14.0]):
        minigrad.cat([w, w]).backward(g)
        assert w.grad is not None
        assert w.grad.tolist() == total
        assert g.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
