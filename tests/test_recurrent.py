"""Cells through time: against NumPy, their gradients, their laws, their errors."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import oracles
import pytest
from cell_table import (
    KINDS,
    Kind,
    as_tuple,
    every_kind,
    leaf,
    parameters,
    same,
    state_of,
    tracked,
    weighted,
)
from draw import Draw
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn

TOLERANCE = {
    "float32": {"rtol": 1e-4, "atol": 1e-5},
    "float64": {"rtol": 1e-12, "atol": 1e-12},
}


class Net:
    """A front of random size with random weights, an input, states and lengths: one example."""

    def __init__(self, kind: Kind, data: Any, dtype: str = "float64", most: int = 3) -> None:
        self.draw = draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
        self.bidirectional = draw.flag()
        count, hidden = draw.pick(1, most), min(most, kind.hidden(draw))
        self.front = kind.layers(
            draw.pick(1, most),
            hidden,
            count,
            bidirectional=self.bidirectional,
            dtype=dtype,
            fused=draw.choice("auto", False),
        )
        self.cells = self.front.cells()
        self.parameters = [parameters(cell, draw) for cell in self.cells]
        self.steps, self.n = draw.pick(0, most + 1), draw.pick(0, most)
        self.x = draw.normal(self.steps, self.n, self.front.input_size).astype(dtype)
        self.states = [state_of(cell, self.n, draw, dtype) for cell in self.cells]
        self.lengths = draw.integers(0, self.steps + 1, (self.n,)) if draw.flag() else None
        self.mask = draw.rng.random((self.steps, self.n)) < 0.7 if draw.flag() else None

    def valid(self) -> Any:
        """bool [T, N]."""
        return oracles.valid_steps(self.x, self.lengths, self.mask)

    def packed(self) -> list[Any]:
        """h, or h and c, [L D, N, H] each: ndarrays."""
        return [np.stack(parts) for parts in zip(*self.states)]


# ---- values and gradients ----------------------------------------------------------------------


@every_kind
@given(data=st.data())
def test_layers_are_the_equations(kind: Kind, isa: str, data: Any) -> None:
    """What NumPy gives sequence by sequence, through its valid steps alone."""
    dtype = data.draw(st.sampled_from(["float64", "float32"]))
    net = Net(kind, data, dtype)
    given_state = net.draw.flag()
    if not given_state:
        net.states = [[0 * s for s in state] for state in net.states]
    state = tuple(map(mg.from_numpy, net.packed())) if given_state else None
    y, final = net.front(mg.from_numpy(net.x), state, net.lengths, net.mask)
    steps = [partial(kind.oracle, p) for p in net.parameters]
    want, wanted_final = oracles.layers(
        steps, net.x, net.states, net.valid(), net.bidirectional, kind.output
    )
    assert (y.shape, y.dtype) == (want.shape, np.dtype(dtype))
    np.testing.assert_allclose(y.numpy(), want, **TOLERANCE[dtype], err_msg=isa)
    for got, parts in zip(as_tuple(final), zip(*wanted_final)):
        np.testing.assert_allclose(got.numpy(), np.stack(parts), **TOLERANCE[dtype], err_msg=isa)


@every_kind
@given(data=st.data())
def test_gradient(kind: Kind, data: Any) -> None:
    """By x, every initial state and every parameter of every layer, each along a random direction:
    element by element is for the cells.
    """
    net = Net(kind, data)
    leaves = [leaf(net.x), *map(leaf, net.packed()), *net.front.parameters()]
    count = len(net.packed()) + 1

    def loss() -> Any:
        return weighted(net.front(leaves[0], leaves[1:count], net.lengths, net.mask))

    wanted = tracked(leaves)
    for p, g in zip(wanted, mg.grad(loss(), wanted, allow_unused=True)):
        direction = mg.from_numpy(net.draw.normal(*p.shape))
        ends = []
        for step in (1e-6, -2e-6, 1e-6):
            with mg.no_grad():
                p.add_(direction * step)
                ends.append(loss().item())
        slope = 0 if g is None else (g * direction).sum().item()
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["rnn", "lstm-proj", "gru", "gru-after"])
@given(data=st.data())
def test_second_gradient(kind: str, data: Any) -> None:
    """By x and the initial states."""
    net = Net(KINDS[kind], data, most=2)

    def f(x: Any, *state: Any) -> Any:
        return weighted(net.front(x, state, net.lengths, net.mask))

    assert mg.gradgradcheck(f, [leaf(net.x), *map(leaf, net.packed())])


@every_kind
def test_gradient_without_a_given_state(kind: Kind) -> None:
    front = kind.layers(2, 2, 2, bidirectional=True)
    x = mg.randn(3, 2, 2, dtype="float64", requires_grad=True)
    assert mg.gradcheck(lambda x, *_: weighted(front(x)), [x, *front.parameters()])


# ---- laws --------------------------------------------------------------------------------------


@every_kind
@given(data=st.data())
def test_in_two_parts(kind: Kind, data: Any) -> None:
    """unroll(T1 + T2) = unroll(T1), then unroll(T2) from there; so it is for gradients."""
    net = Net(kind, data)
    layer, cut = nn.Recurrent(net.cells[0]), net.draw.pick(0, net.steps)
    x, state = mg.from_numpy(net.x), tuple(map(leaf, net.states[0]))
    whole = layer(x, state)
    first, between = layer(x[:cut], state)
    second, final = layer(x[cut:], between)
    parts = mg.cat([first, second]), final
    same(whole, parts)
    wanted = [*tracked(state), *layer.parameters()]
    a, b = (mg.grad(weighted(r), wanted, allow_unused=True) for r in (whole, parts))
    same([g for g in a if g is not None], [g for g in b if g is not None])


@every_kind
@given(data=st.data())
def test_both_directions_mirrored(kind: Kind, data: Any) -> None:
    """Bi(a, b) on reversed input = Bi(b, a), reversed, halves swapped; with a mask as well."""
    net = Net(kind, data)
    mask = net.valid()
    a, b = net.cells[0], kind.make(net.front.input_size, net.front.hidden_size)
    x, forth, back = mg.from_numpy(net.x), net.states[0], state_of(b, net.n, net.draw)
    forth, back = (tuple(map(mg.from_numpy, s)) for s in (forth, back))
    y, states = nn.Bidirectional(a, b)(x, (forth, back), mask=mask)
    z, mirrored = nn.Bidirectional(b, a)(mg.flip(x, 0), (back, forth), mask=mask[::-1])
    ahead, behind = mg.flip(z, 0).chunk(2, -1)
    same((y, states), (mg.cat([behind, ahead], -1), mirrored[::-1]))


@every_kind
@given(data=st.data())
def test_what_is_not_valid_changes_nothing(kind: Kind, data: Any) -> None:
    """Neither outputs, states nor any gradient depend on what x holds there, even NaN."""
    net = Net(kind, data)
    inside = net.valid()[..., None]
    results = []
    for value in (0.0, net.draw.choice(7.0, np.nan, np.inf)):
        x, state = leaf(np.where(inside, net.x, value)), tuple(map(leaf, net.packed()))
        y, final = net.front(x, state, net.lengths, net.mask)
        assert not np.where(inside, 0, y.detach().numpy()).any()
        loss = weighted((y, final))
        loss.backward()
        leaves = [p for p in (x, *state, *net.front.parameters()) if p.grad is not None]
        results.append((y, final, tuple(p.grad for p in leaves)))
        net.front.zero_grad()
        if x.grad is not None:
            assert not np.where(inside, 0, x.grad.numpy()).any()
    same(*results, tolerance=0)


@every_kind
@given(data=st.data())
def test_a_mask_is_its_steps_removed_by_hand(kind: Kind, data: Any) -> None:
    """Each sequence alone, without the steps where its mask is False; through time, both ways, and
    through layers.
    """
    net = Net(kind, data)
    mask = net.draw.rng.random((net.steps, net.n)) < 0.6
    x, state = leaf(net.x), tuple(map(leaf, net.packed()))
    y, final = net.front(x, state, mask=mask)
    ys, finals = [], []
    for i in range(net.n):
        at = np.flatnonzero(mask[:, i])
        one, last = net.front(x[at, i : i + 1], tuple(s[:, i : i + 1] for s in state))
        ys.append(one[:, 0])
        finals.append(as_tuple(last))
    together = [mg.cat(parts, 1) for parts in zip(*finals)] if net.n else as_tuple(final)
    same(
        (as_tuple(final), [y[np.flatnonzero(mask[:, i]), i] for i in range(net.n)]), (together, ys)
    )
    if net.n and mask.any():
        wanted = [x, *tracked(state), *net.front.parameters()]
        losses = weighted([y[np.flatnonzero(mask[:, i]), i] for i in range(net.n)]), weighted(ys)
        same(*(mg.grad(loss, wanted) for loss in losses))


@every_kind
@given(data=st.data())
def test_a_mask_without_holes_is_lengths(kind: Kind, data: Any) -> None:
    """The same bits; both together: where both say so."""
    net = Net(kind, data)
    lengths = net.draw.integers(0, net.steps + 1, (net.n,))
    x, inside = mg.from_numpy(net.x), np.arange(net.steps)[:, None] < lengths
    same(net.front(x, None, lengths), net.front(x, mask=inside), tolerance=0)
    mask = net.draw.rng.random((net.steps, net.n)) < 0.6
    same(net.front(x, None, lengths, mask), net.front(x, mask=inside & mask), tolerance=0)


@every_kind
@given(data=st.data())
def test_a_batch_is_its_sequences(kind: Kind, data: Any) -> None:
    """A batch of N = N batches of 1, each cut off at its length; their order does not matter."""
    net = Net(kind, data)
    x, state = mg.from_numpy(net.x), tuple(map(mg.from_numpy, net.packed()))
    y, final = net.front(x, state, net.lengths)
    final = as_tuple(final)
    lengths = [net.steps] * net.n if net.lengths is None else net.lengths
    for i, length in enumerate(lengths):
        one, last = net.front(x[:length, i : i + 1], tuple(s[:, i : i + 1] for s in state))
        same((y[:length, i : i + 1], *(s[:, i : i + 1] for s in final)), (one, *as_tuple(last)))
    order = net.draw.rng.permutation(net.n)
    shuffled = [mg.from_numpy(np.ascontiguousarray(a[:, order])) for a in (net.x, *net.packed())]
    mixed, last = net.front(shuffled[0], tuple(shuffled[1:]), np.asarray(lengths, int)[order])
    for a, b in zip((y, *final), (mixed, *as_tuple(last))):
        np.testing.assert_allclose(a.numpy()[:, order], b.numpy(), rtol=1e-12, atol=1e-12)


@given(data=st.data())
def test_final_state_and_first_step_in_reverse(data: Any) -> None:
    """The last valid step forwards; the first one backwards, which began at the sequence's end."""
    net = Net(KINDS["lstm"], data)
    x, lengths = mg.from_numpy(net.x), net.draw.integers(0, net.steps + 1, (net.n,))
    cell = net.cells[0]
    forth, (h, _) = nn.Recurrent(cell)(x, lengths=lengths)
    back, (g, _) = nn.Recurrent(cell, reverse=True)(x, lengths=lengths)
    for i, length in enumerate(lengths):
        np.testing.assert_array_equal(h[i].numpy(), forth[length - 1, i].numpy() if length else 0)
        np.testing.assert_array_equal(g[i].numpy(), back[0, i].numpy() if length else 0)
        if length:
            alone, _ = cell.step(cell.project(x[length - 1, i : i + 1]), cell.initial(1))
            np.testing.assert_allclose(back[length - 1, i].numpy(), alone[0].numpy(), atol=1e-12)


@every_kind
@given(data=st.data())
def test_truncation_at_the_whole_length(kind: Kind, data: Any) -> None:
    """TBPTT with a window of T = BPTT: detaching the state in between is a no-op.  Shorter windows
    give the same outputs and states.
    """
    net = Net(kind, data)
    layer, window = nn.Recurrent(net.cells[0]), net.draw.pick(1, net.steps + 1)
    x, state = mg.from_numpy(net.x), tuple(map(mg.from_numpy, net.states[0]))
    weights = mg.from_numpy(net.draw.normal(net.steps, net.n, layer.output_size))

    def train(window: int) -> Any:
        now, ys = state, []
        for t in range(0, net.steps, window):
            now = tuple(s.detach() for s in now)
            y, now = layer(x[t : t + window], now)
            (y * weights[t : t + window]).sum().backward()
            ys.append(y)
        grads = tuple(p.grad for p in layer.parameters() if p.grad is not None)
        layer.zero_grad()
        return (mg.cat(ys) if ys else x), now, grads

    if net.steps:
        whole, final = layer(x, state)
        grads = mg.grad((whole * weights).sum(), list(layer.parameters()))
        same((whole, final, grads), train(net.steps))
    same(train(net.steps + 1)[:2], train(window)[:2])
