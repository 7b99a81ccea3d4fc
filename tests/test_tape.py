"""The tape against a naive one on random graphs.

The naive tape is this file's `Value`: NumPy arrays, local derivatives as closures, and the
definition of the derivative as a recursion, d loss/d x = Σ over uses u of x, pull_u(d loss/d u).
It shares neither an order of evaluation nor a rule nor a line with minigrad's.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from draw import Draw
from hypothesis import given
from hypothesis import strategies as st

import minigrad

LEAVES = 3


class Value:
    """A node of the naive tape: what it holds, and how each use of it pulls a gradient back."""

    def __init__(self, a: Any, *parents: tuple[Value, Any]) -> None:
        self.a = np.asarray(a)
        self.uses: list[tuple[Value, Any]] = []
        for parent, pull in parents:
            parent.uses.append((self, pull))

    def adjoint(self, loss: Value, known: dict[Value, Any]) -> Any:
        """d loss / d self, or None where loss does not depend on it."""
        if self is loss:
            return np.ones_like(self.a)
        if self not in known:
            pulled = [(u.adjoint(loss, known), pull) for u, pull in self.uses]
            found = [unbroadcast(pull(g), self.a.shape) for g, pull in pulled if g is not None]
            known[self] = reduce(np.add, found) if found else None
        return known[self]


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    while g.ndim > len(shape):
        g = g.sum(0)
    return g.sum(tuple(d for d, n in enumerate(shape) if n == 1), keepdims=True).reshape(shape)


def placed(g: Any, shape: tuple[int, ...], key: Any) -> Any:
    whole = np.zeros(shape)
    np.add.at(whole, key, g)
    return whole


#: name: (on values, on tensors)
UNARY: dict[str, tuple[Any, Any]] = {
    "neg": (lambda x: Value(-x.a, (x, lambda g: -g)), lambda x: -x),
    "tanh": (
        lambda x: Value(np.tanh(x.a), (x, lambda g: g / np.cosh(x.a) ** 2)),
        lambda x: x.tanh(),
    ),
    "sin": (lambda x: Value(np.sin(x.a), (x, lambda g: g * np.cos(x.a))), lambda x: x.sin()),
    "twice": (lambda x: Value(2 * x.a, (x, lambda g: 2 * g)), lambda x: x * 2.0),
    "total": (lambda x: Value(x.a.sum(), (x, lambda g: g * np.ones_like(x.a))), lambda x: x.sum()),
    "rows": (
        lambda x: (
            Value(x.a.sum(-1, keepdims=True), (x, lambda g: g * np.ones_like(x.a)))
            if x.a.ndim
            else x
        ),
        lambda x: x.sum(-1, keepdim=True) if x.ndim else x,
    ),
    "flat": (
        lambda x: Value(x.a.reshape(-1), (x, lambda g: g.reshape(x.a.shape))),
        lambda x: x.reshape(-1),
    ),
    "turned": (lambda x: Value(x.a.T, (x, lambda g: g.T)), lambda x: x.T),
    "first": (
        lambda x: (
            Value(x.a[:1], (x, lambda g: placed(g, x.a.shape, slice(0, 1)))) if x.a.ndim else x
        ),
        lambda x: x[:1] if x.ndim else x,
    ),
    "last": (
        lambda x: (
            Value(x.a[..., -1], (x, lambda g: placed(g, x.a.shape, (..., -1)))) if x.a.ndim else x
        ),
        lambda x: x[..., -1] if x.ndim else x,
    ),
    "picked": (
        lambda x: (
            Value(x.a[[0, -1, 0]], (x, lambda g: placed(g, x.a.shape, [0, -1, 0])))
            if x.a.ndim
            else x
        ),
        lambda x: x[[0, -1, 0]] if x.ndim else x,
    ),
    "tail": (  # the second of two parts, the first unused
        lambda x: (
            Value(x.a[1:], (x, lambda g: placed(g, x.a.shape, slice(1, None)))) if x.a.ndim else x
        ),
        lambda x: x.split([1, x.shape[0] - 1])[1] if x.ndim else x,
    ),
    "stacked": (
        lambda x: Value(np.stack([x.a, x.a]), (x, lambda g: g[0]), (x, lambda g: g[1])),
        lambda x: minigrad.stack([x, x]),
    ),
}
BINARY: dict[str, tuple[Any, Any]] = {
    "add": (lambda x, y: Value(x.a + y.a, (x, lambda g: g), (y, lambda g: g)), lambda x, y: x + y),
    "sub": (lambda x, y: Value(x.a - y.a, (x, lambda g: g), (y, lambda g: -g)), lambda x, y: x - y),
    "mul": (
        lambda x, y: Value(x.a * y.a, (x, lambda g: g * y.a), (y, lambda g: g * x.a)),
        lambda x, y: x * y,
    ),
    "larger": (
        lambda x, y: Value(
            np.maximum(x.a, y.a),
            (x, lambda g: g * _share(x.a, y.a)),
            (y, lambda g: g * _share(y.a, x.a)),
        ),
        minigrad.maximum,
    ),
    "matmul": (
        lambda x, y: Value(x.a @ y.a, (x, lambda g: g @ y.a.T), (y, lambda g: x.a.T @ g)),
        lambda x, y: x @ y,
    ),
    "cat": (
        lambda x, y: Value(
            np.concatenate([x.a, y.a]), (x, lambda g: g[: len(x.a)]), (y, lambda g: g[len(x.a) :])
        ),
        lambda x, y: minigrad.cat([x, y]),
    ),
}


def _share(a: Any, b: Any) -> Any:
    return np.where(a > b, 1.0, np.where(a == b, 0.5, 0.0))


def fits(name: str, x: Value, y: Value) -> bool:
    if name == "matmul":
        return x.a.ndim == y.a.ndim == 2 and x.a.shape[1] == y.a.shape[0]
    if name == "cat":
        return x.a.ndim == y.a.ndim > 0 and x.a.shape[1:] == y.a.shape[1:]
    try:
        np.broadcast_shapes(x.a.shape, y.a.shape)
    except ValueError:
        return False
    return True


Step = tuple[str, int, int]  # an op, and which of the nodes so far are its operands


def extend(nodes: list[Any], step: Step, tape: int) -> None:
    """Apply a step on the naive tape (0) or on minigrad's (1)."""
    name, i, j = step
    if name in BINARY:
        nodes.append(BINARY[name][tape](nodes[i], nodes[j]))
    else:
        nodes.append(UNARY[name][tape](nodes[i]))


def build(draw: Draw) -> tuple[list[Value], list[Any], list[Step]]:
    """A random graph on both tapes: all its nodes, the first LEAVES of them leaves, and its steps.

    Steps go on from any earlier node: there is fan-out, x * x, dead branches.  The last step
    makes a scalar of some of the nodes: the loss.
    """
    shapes = ((), (3,), (2, 3), (2, 1), (1, 3), (3, 2), (3, 3))
    values = [Value(draw.values(draw.choice(*shapes))) for _ in range(LEAVES)]
    tensors: list[Any] = [minigrad.tensor(v.a, requires_grad=True) for v in values]
    steps: list[Step] = []

    def add(name: str, i: int, j: int = 0) -> None:
        steps.append((name, i, j))
        extend(values, steps[-1], 0)

    for _ in range(draw.pick(1, 14)):
        i, j = draw.pick(0, len(values) - 1), draw.pick(0, len(values) - 1)
        name = draw.choice(*UNARY, *BINARY, *BINARY, *BINARY)  # often binary
        if name in BINARY and not fits(name, values[i], values[j]):
            name = draw.choice(*UNARY)
        x = values[i].a
        if name not in BINARY and (
            x.size > 100 or x.ndim > 3 or (name == "tail" and x.shape[:1] == (1,))
        ):
            name = "total"
        add(name, i, j)
        if abs(values[-1].a).max(initial=0) > 30:  # keep rounding errors comparable
            add("tanh", len(values) - 1)
    for i in (len(values) - 1, draw.pick(0, len(values) - 1), draw.pick(0, len(values) - 1)):
        add("tanh", i)
        add("total", len(values) - 1)
    add("add", len(values) - 1, len(values) - 3)
    add("add", len(values) - 1, len(values) - 6)
    for step in steps:
        extend(tensors, step, 1)
    return values, tensors, steps


def same(x: Any, a: Any) -> None:
    if a is None:
        assert x is None
        return
    # two orders of summing up to some hundred terms in float64
    np.testing.assert_allclose(np.asarray(x), a, rtol=1e-9, atol=1e-9 * (1 + abs(a).max(initial=0)))


@given(data=st.data())
def test_backward_fills_the_leaves(data: Any) -> None:
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    values, tensors, _ = build(draw)
    loss, total = values[-1], tensors[-1]
    np.testing.assert_allclose(total.item(), loss.a, rtol=1e-10, atol=1e-10)
    total.backward()
    known: dict[Value, Any] = {}
    expected = [v.adjoint(loss, known) for v in values[:LEAVES]]
    for x, e in zip(tensors[:LEAVES], expected):
        same(x.grad, e)
    # the gradients are memory of their own: writing to one changes no other
    for i in range(LEAVES):
        if expected[i] is not None:
            tensors[i].grad.fill_(7.0)
            expected[i] = np.full_like(values[i].a, 7.0)
            for x, e in zip(tensors[:LEAVES], expected):
                same(x.grad, e)
    for v, x in zip(values[:LEAVES], tensors):
        same(x.detach(), v.a)


@given(data=st.data())
def test_grad_of_any_node(data: Any) -> None:
    """minigrad.grad by leaves and results in between, recorded or not; nothing lands in .grad."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    values, tensors, _ = build(draw)
    loss, total = values[-1], tensors[-1]
    wanted = sorted({draw.pick(0, len(values) - 1) for _ in range(4)})
    xs = [tensors[i] for i in wanted]
    known: dict[Value, Any] = {}
    expected = [values[i].adjoint(loss, known) for i in wanted]
    for options in ({"create_graph": True}, {"retain_graph": True}, {}):
        for x, e in zip(minigrad.grad(total, xs, allow_unused=True, **options), expected):
            same(x, e)
    assert all(x.grad is None for x in tensors)


@given(data=st.data())
def test_two_backwards_add_up(data: Any) -> None:
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    values, tensors, _ = build(draw)
    loss, total = values[-1], tensors[-1]
    total.backward(retain_graph=True)
    total.backward(gradient=minigrad.full((), 0.5, dtype=minigrad.float64))
    known: dict[Value, Any] = {}
    for v, x in zip(values[:LEAVES], tensors):
        g = v.adjoint(loss, known)
        same(x.grad, None if g is None else 1.5 * g)


@given(data=st.data())
def test_second_derivative(data: Any) -> None:
    """The recorded backward pass of the same graph, against differences of it."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    _, tensors, steps = build(draw)

    def run(*leaves: Any) -> Any:
        nodes = list(leaves)
        for step in steps:
            extend(nodes, step, 1)
        return nodes[-1]

    minigrad.gradgradcheck(run, tensors[:LEAVES])
