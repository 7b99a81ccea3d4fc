"""Whole-sequence kernels against the readable layers: outputs, states, every gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cell_table import Kind, every_fused_kind, flat, leaf, same, state_of, tracked, weighted
from draw import Draw, seeded
from fused_pair import Pair, agree
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import core, nn
from minigrad._core import ffi, lib

# ---- values and gradients ------------------------------------------------------------------------


@pytest.mark.usefixtures("machine")
@every_fused_kind
@given(data=st.data())
def test_fused_is_readable(kind: Kind, data: Any) -> None:
    """Over cells, sizes, layers, directions, lengths, types, instruction sets and threads."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    core.use_isa(draw.choice(*core.isas()))
    core.set_num_threads(draw.pick(1, 2))
    Pair(kind, draw, draw.choice("float64", "float32")).compare()


@every_fused_kind
def test_fused_is_readable_with_each_instruction_set(kind: Kind, isa: str, dtype: str) -> None:
    """Larger, and always the same."""
    del isa
    for seed in range(4):
        Pair(kind, seeded(seed), dtype, most=2, steps=12).compare()


@pytest.mark.usefixtures("machine")
@every_fused_kind
def test_many_rows(kind: Kind) -> None:
    """Several blocks of steps (cextension/kernels/sequence.inc); with lengths, a mask, and neither."""
    core.set_num_threads(2)
    mask = seeded(0).rng.random((300, 7)) < 0.8
    for which in ({}, {"lengths": [90, 0, 300, 17, 300, 1, 180]}, {"mask": mask}):
        layers = [nn.Recurrent(kind.make(3, 17), fused=fused) for fused in (True, False)]
        layers[1].load_state_dict(layers[0].state_dict())
        x, results = mg.randn(300, 7, 3, dtype="float64"), []
        for layer in layers:
            y, state = layer(x, None, **which)
            loss = weighted((y, state))
            results.append((y, state, mg.grad(loss, list(layer.parameters()))))
        for a, b in zip(*map(flat, results)):
            agree(a, b, "float64", str(which), kind.tolerance)


@pytest.mark.usefixtures("machine")
@every_fused_kind
@given(data=st.data())
def test_threads_give_the_same_bits(kind: Kind, data: Any) -> None:
    pair = Pair(kind, Draw(lambda low, high: data.draw(st.integers(low, high))), steps=40)
    results = []
    for threads in (1, 2):
        core.set_num_threads(threads)
        outputs, gradients = pair.run(pair.fused)
        results.append((outputs, *gradients.values()))
    same(*results, tolerance=0)


@pytest.mark.usefixtures("machine")
@every_fused_kind
@pytest.mark.parametrize("sizes", [(20, 64, 256), (5, 4, 512)], ids=["rows", "columns"])
def test_threads_give_the_same_bits_when_they_share(kind: Kind, sizes: Any) -> None:
    """Large enough to be cut: the rows of a batch, or the columns of each product."""
    t, n, h = sizes
    layer = nn.Recurrent(kind.make(h, h, dtype="float32"), fused=True)
    x, results = mg.randn(t, n, h, requires_grad=True), []
    for lengths in (None, np.arange(n) % (t + 1)):
        for threads in (1, 2, 3):
            core.set_num_threads(threads)
            y, state = layer(x, None, lengths)
            loss = weighted([r.double() for r in flat((y, state))])
            results.append((y, state, mg.grad(loss, [x, *layer.parameters()])))
        for other in results[1:]:
            same(results[0], other, tolerance=0)
        results.clear()


@every_fused_kind
@pytest.mark.parametrize(
    "sizes",
    [
        (1, 300, 1, 2),
        (3, 300, 2, 2),
        (2, 257, 70, 9),
        (600, 1, 1, 3),
        (5, 1, 300, 2),
        (4, 9, 3, 130),
    ],
)
def test_unusual_shapes(kind: Kind, sizes: Any) -> None:
    """More rows in a step than in a block, one sequence, few or many inputs; with lengths as well."""
    t, n, i, h = sizes
    layers = [nn.Recurrent(kind.make(i, h), fused=fused) for fused in (True, False)]
    layers[1].load_state_dict(layers[0].state_dict())
    x = mg.randn(t, n, i, dtype="float64", requires_grad=True)
    for lengths in (None, (np.arange(n) + t) % (t + 1)):
        results = []
        for layer in layers:
            y, state = layer(x, None, lengths)
            gradients = mg.grad(weighted((y, state)), [x, *layer.parameters()])
            results.append((y, state, gradients))
        for a, b in zip(*map(flat, results)):
            agree(a, b, "float64", str(lengths), kind.tolerance)


def test_the_door_refuses_what_is_no_layer() -> None:
    """A form is believed only so far as memory depends on it."""
    nothing = ffi.new(f"void *[{lib.MG_ARG_DC0 + 1}]")
    good = [core.F64, core.SEQ["lstm"], 0, 0, 3, 5, 5, 0]  # no steps of no sequences
    calls = (lib.mg_sequence_forward, lib.mg_sequence_backward)

    def statuses(form: list[int], arrays: Any = nothing) -> set[int]:
        return {call(ffi.new("int64_t[]", form), arrays, ffi.NULL, ffi.NULL) for call in calls}

    assert statuses(good) == {lib.MG_OK}
    for place, value in [(0, 7), (1, -1), (1, len(core.SEQ)), (2, -1), (3, -1), (4, 0), (5, 0)]:
        assert statuses([*good[:place], value, *good[place + 1 :]]) == {lib.MG_BAD_OP}
    narrow = [*good[:6], 2, 0]
    assert statuses(narrow) == {lib.MG_BAD_OP}  # y narrower than H, and no projection
    with_projection = ffi.new(f"void *[{lib.MG_ARG_DC0 + 1}]")
    with_projection[lib.MG_ARG_PROJ] = with_projection
    assert statuses(narrow, with_projection) == {lib.MG_OK}
    gru = [core.F64, core.SEQ["gru"], *good[2:]]
    assert statuses(gru) == {lib.MG_OK}
    assert statuses(gru, with_projection) == {lib.MG_BAD_OP}
    has = {"lstm": "ifo", "lstm_coupled_input": "fo", "lstm_coupled_forget": "io"}
    for cell, number in core.SEQ.items():
        for gate in "ifo":
            peephole = ffi.new(f"void *[{lib.MG_ARG_DC0 + 1}]")
            peephole[getattr(lib, f"MG_ARG_P{gate.upper()}")] = peephole
            status = lib.MG_OK if gate in has.get(cell, "") else lib.MG_BAD_OP
            form = [core.F64, number, *good[2:], 0, 1, 5, 1]  # a clockwork's: one group
            assert statuses(form, peephole) == {status}, (cell, gate)


def test_the_states_after_no_steps_are_those_before() -> None:
    """In C; hn and cn are written where they are wanted."""
    states = np.arange(16.0).reshape(2, 8)
    h, c = np.zeros((2, 4)), np.zeros((2, 4))
    for wanted in (True, False):
        arrays = ffi.new(f"void *[{lib.MG_ARG_DC0 + 1}]")
        places = {lib.MG_ARG_H0: states[0], lib.MG_ARG_C0: states[1], lib.MG_ARG_CN: c}
        if wanted:
            places[lib.MG_ARG_HN] = h
        for place, a in places.items():
            arrays[place] = ffi.cast("void *", a.ctypes.data)
        form = ffi.new("int64_t[]", [core.F64, core.SEQ["lstm"], 0, 2, 3, 4, 4, 0])
        assert lib.mg_sequence_forward(form, arrays, ffi.NULL, ffi.NULL) == lib.MG_OK
        np.testing.assert_array_equal(h.ravel(), states[0])
        np.testing.assert_array_equal(c.ravel(), states[1])


@every_fused_kind
def test_going_back_twice_adds_the_same_again(kind: Kind) -> None:
    pair = Pair(kind, seeded(1))
    (_, once), (_, twice) = pair.run(pair.fused), pair.run(pair.fused, count=2)
    same([2 * g for g in once.values()], list(twice.values()), tolerance=0)


@every_fused_kind
def test_what_is_asked_for_alone(kind: Kind) -> None:
    """The gradient of one operand, or of one result, is what it is among the others."""
    cell = kind.make(3, 5)
    layer, draw = nn.Recurrent(cell, fused=True), seeded(0)
    x, state = draw.normal(4, 2, 3), state_of(cell, 2, draw)
    states = [f"{s}0" for s, a in zip(cell.states, state) if a.dtype != "int64"]
    names = ["x", *states, *dict(cell.named_parameters())]

    def gradients(wanted: Any) -> Any:
        before = [mg.from_numpy(a) for a in state]
        values = [mg.from_numpy(x), *before[: len(states)], *cell.parameters()]
        for name, a in zip(names, values):
            a.requires_grad = name in wanted
        y, new = layer(values[0], tuple(before))
        asked = [a for name, a in zip(names, values) if name in wanted]
        return dict(zip(wanted, mg.grad(weighted((y, new)), asked)))

    whole = gradients(names)
    for name in names:
        same(gradients([name])[name], whole[name])
    layer.requires_grad_()
    reference = nn.Recurrent(cell, fused=False)
    for k in range(1 + len(states)):
        leaves = [leaf(a) for a in (x, *state)]
        got, want = (
            mg.grad(
                weighted([flat(f(leaves[0], tuple(leaves[1:])))[k]]),
                [*tracked(leaves), *cell.parameters()],
                allow_unused=True,
            )
            for f in (layer, reference)
        )
        for name, a, b in zip(names, got, want):
            agree(a, mg.zeros_like(a) if b is None else b, "float64", f"{name} from result {k}")


@every_fused_kind
def test_any_memory_layout(kind: Kind) -> None:
    """Inputs, states and gradients that are not contiguous."""
    cell, draw = kind.make(3, 5), seeded(0)
    layer = nn.Recurrent(cell, fused=True)
    x, state = draw.normal(4, 2, 3), state_of(cell, 2, draw)
    results = []
    for how in (0, 1, 2):
        values = [mg.from_numpy(draw.laid_out(a, how)) for a in (x, *state)]
        leaves = [a.requires_grad_() for a in values if a.dtype != "int64"]
        y, new = layer(values[0], tuple(values[1:]))
        dy = mg.from_numpy(draw.laid_out(np.arange(float(y.numel())).reshape(y.shape), how))
        gradients = mg.grad([y, new[0]], [*leaves, *cell.parameters()], [dy, mg.ones_like(new[0])])
        results.append((y, new, gradients))
    same(results[0], results[1], tolerance=0)
    same(results[0], results[2], tolerance=0)


# ---- second derivatives ---------------------------------------------------------------------------


@every_fused_kind
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [1, 0, 3]])
def test_second_derivatives(kind: Kind, reverse: bool, lengths: Any) -> None:
    cell, draw = kind.make(2, 2), seeded(0)
    layer = nn.Recurrent(cell, reverse, fused=True)
    operands = [leaf(draw.normal(3, 3, 2)), *map(leaf, state_of(cell, 3, draw)), *cell.parameters()]

    def f(x: Any, *rest: Any) -> Any:
        return weighted(layer(x, rest[: len(cell.states)], lengths))

    assert mg.gradgradcheck(f, operands)
    plain, recorded = (
        mg.grad(f(*operands), tracked(operands), create_graph=create_graph)
        for create_graph in (False, True)
    )
    same(plain, recorded, 1e-11)


@every_fused_kind
def test_second_derivatives_are_those_of_the_readable_layer(kind: Kind) -> None:
    """The fronts, whose states have a leading 1; an initial state that depends on a weight."""
    layers = [kind.layers(3, 5, fused=fused) for fused in (True, False)]
    layers[1].load_state_dict(layers[0].state_dict())
    x, found = mg.randn(4, 2, 3, dtype="float64", requires_grad=True), []
    for layer in layers:
        cell, parameters = layer.cells()[0], list(layer.parameters())
        widths = [cell.state_size(s) for s in cell.states]
        for given_state in (False, True):
            state = None
            if given_state:
                wide = (cell.U.reshape(1, -1) * 0.3).tanh()
                state = tuple(wide[:, :w].expand(1, 2, w) for w in widths)
                if cell.periods:
                    state = state[0], mg.full((1, 2, 1), 3, "int64")
            loss = weighted(layer(x, state))
            first = mg.grad(loss, [x, *parameters], create_graph=True)
            second = mg.grad(weighted([g * g for g in first]), [x, *parameters])
            found.append((loss, first, second))
    half = len(found) // 2
    for a, b in zip(flat(found[:half]), flat(found[half:])):
        agree(a, b, "float64", "second derivatives")
