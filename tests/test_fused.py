"""Whole-sequence kernels against the readable layers: outputs, states, every gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cell_table import KINDS, Kind, as_tuple, every_kind, flat, leaf, same, state_of, weighted
from draw import Draw, seeded
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import core, nn
from minigrad._core import ffi, lib

SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 33)  # around the widths of vectors

#: |fused - readable| <= this times (1 + the largest number of the array).  Both round, in another
#: order; gates and states are below 1, gradients add up what T steps and N sequences give.
TOLERANCE = {"float64": 1e-12, "float32": 2e-4}


@pytest.fixture
def machine() -> Iterator[None]:
    """Afterwards the instruction set and the threads from before."""
    isa, threads = core.isa(), core.get_num_threads()
    yield
    core.use_isa(isa)
    core.set_num_threads(threads)


def agree(got: Any, want: Any, dtype: str, what: str) -> None:
    """Equal shapes and types; values within the tolerance."""
    assert (got.shape, got.dtype) == (want.shape, want.dtype), what
    got, want = got.detach().numpy(), want.detach().numpy()
    bound = TOLERANCE[dtype] * (1 + abs(want).max(initial=0))
    np.testing.assert_allclose(got, want, rtol=0, atol=bound, err_msg=what)


class Pair:
    """Layers of random size twice, fused and readable, with the same weights; their operands."""

    def __init__(self, kind: Kind, draw: Draw, dtype: str = "float64", **options: Any) -> None:
        self.dtype = dtype
        size = {"most": 3, "steps": 6, **options}
        hidden = draw.choice(*SIZES[1:]) if "proj_size" in kind.options else draw.choice(*SIZES)
        inputs, count, both = draw.choice(*SIZES), draw.pick(1, size["most"]), draw.flag()
        layers = [
            kind.layers(inputs, hidden, count, bidirectional=both, dtype=dtype, fused=fused)
            for fused in (True, False)
        ]
        self.fused, self.readable = layers
        with mg.no_grad():
            for name, p in self.fused.named_parameters():
                scale = 1.5 / np.sqrt(p.shape[0] if len(p.shape) > 1 else 1)
                p.copy_((scale * draw.normal(*p.shape)).astype(dtype))
                dict(self.readable.named_parameters())[name].copy_(p)
        self.steps, self.n = draw.pick(1, size["steps"]), draw.choice(*SIZES[:-1])
        self.x = draw.normal(self.steps, self.n, inputs).astype(dtype)
        self.lengths = None
        if draw.flag():
            self.lengths = draw.integers(0, self.steps + 1, (self.n,))
            outside = np.arange(self.steps)[:, None, None] >= self.lengths[:, None]
            self.x = np.where(outside, self.x.dtype.type(np.nan), self.x)
        cells = self.fused.cells()
        states = [state_of(cell, self.n, draw, dtype) for cell in cells]
        self.states = [np.stack(parts) for parts in zip(*states)] if draw.flag() else []

    def run(self, layer: Any, count: int = 1) -> Any:
        """(outputs, {name: gradient})"""
        x, states = leaf(self.x), [leaf(s) for s in self.states]
        results = layer(x, tuple(states) or None, self.lengths)
        leaves = {"x": x, **dict(zip(("h0", "c0"), states)), **dict(layer.named_parameters())}
        loss = weighted([r.double() for r in flat(results)])
        for k in range(count):
            loss.backward(retain_graph=k < count - 1)
        gradients = {name: p.grad for name, p in leaves.items() if p.grad is not None}
        layer.zero_grad()
        return flat(results), gradients

    def compare(self) -> None:
        """Fused with readable."""
        got, gradients = self.run(self.fused)
        want, wanted = self.run(self.readable)
        for k, (a, b) in enumerate(zip(got, want)):
            agree(a, b, self.dtype, f"result {k}")
        assert gradients.keys() == wanted.keys()
        for name, g in gradients.items():
            agree(g, wanted[name], self.dtype, f"gradient of {name}")


# ---- values and gradients ------------------------------------------------------------------------


@pytest.mark.usefixtures("machine")
@every_kind
@given(data=st.data())
def test_fused_is_readable(kind: Kind, data: Any) -> None:
    """Over cells, sizes, layers, directions, lengths, types, instruction sets and threads."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    core.use_isa(draw.choice(*core.isas()))
    core.set_num_threads(draw.pick(1, 2))
    Pair(kind, draw, draw.choice("float64", "float32")).compare()


@every_kind
def test_fused_is_readable_with_each_instruction_set(kind: Kind, isa: str, dtype: str) -> None:
    """Larger, and always the same."""
    del isa
    for seed in range(4):
        Pair(kind, seeded(seed), dtype, most=2, steps=12).compare()


@pytest.mark.usefixtures("machine")
@every_kind
def test_many_rows(kind: Kind) -> None:
    """Several blocks of steps (cextension/kernels/sequence.inc), with and without lengths."""
    core.set_num_threads(2)
    for lengths in (None, [90, 0, 300, 17, 300, 1, 180]):
        layers = [nn.Recurrent(kind.make(3, 17), fused=fused) for fused in (True, False)]
        layers[1].load_state_dict(layers[0].state_dict())
        x, results = mg.randn(300, 7, 3, dtype="float64"), []
        for layer in layers:
            y, state = layer(x, None, lengths)
            loss = weighted((y, state))
            results.append((y, state, mg.grad(loss, list(layer.parameters()))))
        for a, b in zip(*map(flat, results)):
            agree(a, b, "float64", str(lengths))


@pytest.mark.usefixtures("machine")
@every_kind
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
@every_kind
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


@every_kind
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
            agree(a, b, "float64", str(lengths))


def test_the_door_refuses_what_is_no_layer() -> None:
    """A form is believed only so far as memory depends on it."""
    nothing = ffi.new(f"void *[{lib.MG_ARG_DC0 + 1}]")
    good = [core.F64, core.SEQ["lstm"], 0, 0, 3, 5, 5, 0]  # no steps of no sequences
    calls = (lib.mg_sequence_forward, lib.mg_sequence_backward)

    def statuses(form: list[int], arrays: Any = nothing) -> set[int]:
        return {call(ffi.new("int64_t[]", form), arrays, ffi.NULL) for call in calls}

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
        assert lib.mg_sequence_forward(form, arrays, ffi.NULL) == lib.MG_OK
        np.testing.assert_array_equal(h.ravel(), states[0])
        np.testing.assert_array_equal(c.ravel(), states[1])


@every_kind
def test_going_back_twice_adds_the_same_again(kind: Kind) -> None:
    pair = Pair(kind, seeded(1))
    (_, once), (_, twice) = pair.run(pair.fused), pair.run(pair.fused, count=2)
    same([2 * g for g in once.values()], list(twice.values()), tolerance=0)


@every_kind
def test_what_is_asked_for_alone(kind: Kind) -> None:
    """The gradient of one operand, or of one result, is what it is among the others."""
    cell = kind.make(3, 5)
    layer, draw = nn.Recurrent(cell, fused=True), seeded(0)
    x, state = draw.normal(4, 2, 3), state_of(cell, 2, draw)
    names = ["x", *(f"{s}0" for s in cell.states), *dict(cell.named_parameters())]

    def gradients(wanted: Any) -> Any:
        values = [mg.from_numpy(a) for a in (x, *state)] + list(cell.parameters())
        for name, a in zip(names, values):
            a.requires_grad = name in wanted
        y, new = layer(values[0], tuple(values[1 : 1 + len(state)]))
        asked = [a for name, a in zip(names, values) if name in wanted]
        return dict(zip(wanted, mg.grad(weighted((y, new)), asked)))

    whole = gradients(names)
    for name in names:
        same(gradients([name])[name], whole[name])
    layer.requires_grad_()
    reference = nn.Recurrent(cell, fused=False)
    for k in range(1 + len(state)):
        leaves = [leaf(a) for a in (x, *state)]
        got, want = (
            mg.grad(
                weighted([flat(f(leaves[0], tuple(leaves[1:])))[k]]),
                [*leaves, *cell.parameters()],
                allow_unused=True,
            )
            for f in (layer, reference)
        )
        for name, a, b in zip(names, got, want):
            agree(a, mg.zeros_like(a) if b is None else b, "float64", f"{name} from result {k}")


@every_kind
def test_any_memory_layout(kind: Kind) -> None:
    """Inputs, states and gradients that are not contiguous."""
    cell, draw = kind.make(3, 5), seeded(0)
    layer = nn.Recurrent(cell, fused=True)
    x, state = draw.normal(4, 2, 3), state_of(cell, 2, draw)
    results = []
    for how in (0, 1, 2):
        values = [mg.from_numpy(draw.laid_out(a, how)).requires_grad_() for a in (x, *state)]
        y, new = layer(values[0], tuple(values[1:]))
        dy = mg.from_numpy(draw.laid_out(np.arange(float(y.numel())).reshape(y.shape), how))
        gradients = mg.grad([y, new[0]], [*values, *cell.parameters()], [dy, mg.ones_like(new[0])])
        results.append((y, new, gradients))
    same(results[0], results[1], tolerance=0)
    same(results[0], results[2], tolerance=0)


# ---- second derivatives ---------------------------------------------------------------------------


@every_kind
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
        mg.grad(f(*operands), operands, create_graph=create_graph) for create_graph in (False, True)
    )
    same(plain, recorded, 1e-11)


@every_kind
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
                wide = (cell.U[:1] * 0.3).tanh()
                state = tuple(wide[:, :w].expand(1, 2, w) for w in widths)
            loss = weighted(layer(x, state))
            first = mg.grad(loss, [x, *parameters], create_graph=True)
            second = mg.grad(weighted([g * g for g in first]), [x, *parameters])
            found.append((loss, first, second))
    half = len(found) // 2
    for a, b in zip(flat(found[:half]), flat(found[half:])):
        agree(a, b, "float64", "second derivatives")


# ---- one step --------------------------------------------------------------------------------------


@every_kind
def test_step_by_step(kind: Kind) -> None:
    """A sequence, its steps one by one through the layer, and through the cell: outputs, gradients."""
    cell, draw = kind.make(3, 9), seeded(0)
    layer = nn.Recurrent(cell, fused=True)
    x, start = draw.normal(5, 2, 3), state_of(cell, 2, draw)
    results = []
    for how in ("whole", "layer", "cell", "written"):
        leaves = [leaf(x), *map(leaf, start)]
        state: Any = tuple(leaves[1:])
        ys = []
        if how == "whole":
            ys, state = layer(leaves[0], state)
        for t in range(5 if how != "whole" else 0):
            if how == "layer":
                y, state = layer(leaves[0][t : t + 1], state)
                y = y[0]
            elif how == "cell":
                state = as_tuple(cell(leaves[0][t], state if len(state) > 1 else state[0]))
                y = state[0]
            else:
                y, state = cell.step(cell.project(leaves[0][t]), state)
            ys.append(y)
        y = ys if how == "whole" else mg.stack(ys)
        gradients = mg.grad(weighted((y, state)), [*leaves, *cell.parameters()])
        results.append((y, state, gradients))
    for other in results[1:]:
        same(results[0], other, 1e-11)


@every_kind
def test_second_derivatives_of_a_step(kind: Kind) -> None:
    cell, draw = kind.make(2, 2), seeded(0)
    operands = [leaf(draw.normal(2, 2)), *map(leaf, state_of(cell, 2, draw)), *cell.parameters()]
    count = 1 + len(cell.states)
    assert mg.gradgradcheck(lambda x, *rest: weighted(cell(x, rest[: count - 1])), operands[:count])


# ---- memory ------------------------------------------------------------------------------------------


@every_kind
def test_nothing_is_saved_unless_a_gradient_can_be_asked_for(kind: Kind) -> None:
    cell = kind.make(8, 64, dtype="float32")
    layer, x = nn.Recurrent(cell, fused=True), mg.randn(64, 32, 8)
    layer(x)  # workspaces
    y_bytes = 64 * 32 * cell.output_size * 4

    def used(after_backward: bool = False) -> int:
        before = core.memory()[0]
        y, _ = layer(x)
        if after_backward:
            y.sum().backward()
            layer.zero_grad()
        return core.memory()[0] - before - y_bytes

    row = 64 * 32 * 64 * 4  # bytes of one gate
    gates = {"rnn_tanh": 0, "rnn_relu": 0, "lstm": 5, "gru": 3, "gru_after": 4}[cell.kernel()]
    assert used() == pytest.approx(gates * row, abs=0.1 * row)
    assert used(after_backward=True) < 0.1 * row
    with mg.no_grad():
        assert used() < 0.1 * row
    layer.requires_grad_(False)
    assert used() < 0.1 * row
    x.requires_grad_()
    assert used() == pytest.approx(gates * row, abs=0.1 * row)


def test_a_weight_written_after_use_is_noticed() -> None:
    layer = nn.LSTM(3, 5)
    y, _ = layer(mg.randn(4, 2, 3))
    with mg.no_grad():
        layer.cells()[0].U.mul_(2)
    with pytest.raises(RuntimeError, match="written in place after it was used"):
        y.sum().backward()


@every_kind
@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_a_result_written_before_backward_is_noticed(kind: Kind, lengths: Any) -> None:
    """y, which C reads again; gates and states, which a trace shows; not hn, nor a copy."""
    layer = nn.Recurrent(kind.make(3, 5), fused=True)
    x = mg.randn(4, 2, 3, dtype="float64")

    def refused(write: Any, of: str = "y") -> bool:
        with nn.trace(layer) as record:
            y, state = layer(x, None, lengths)
        with mg.no_grad():
            write({"y": y, "states": as_tuple(state), **record[0]}[of])
        try:
            weighted((y, state)).backward()
        except RuntimeError as e:
            assert "_sequence that is needed for its gradient, was written in place" in str(e)  # noqa: PT017
            return True
        return False

    held = lengths is None  # else rows are packed, and y is a copy of what C keeps
    assert refused(lambda y: y.mul_(2)) == held
    assert refused(lambda y: y[1:, :1].zero_()) == held
    assert not refused(lambda y: y.clone().zero_())
    assert not refused(lambda states: [s.zero_() for s in states], "states")
    for letter in (*layer.cell.gates, *layer.cell.states):
        assert refused(lambda a: a.zero_(), letter) == held


@every_kind
def test_a_state_written_after_a_step_is_noticed(kind: Kind) -> None:
    """Of one step the state is y; backward first, and then it may be written."""
    cell, x = kind.make(3, 5), mg.randn(2, 3, dtype="float64")
    for before in (True, False):
        state = as_tuple(cell(x))
        loss = weighted([state])
        if before:
            loss.backward()
        with mg.no_grad():
            state[0][:1].zero_()
        if not before:
            with pytest.raises(RuntimeError, match="written in place after it was computed"):
                loss.backward()


def test_gradients_are_memory_of_their_own() -> None:
    """A leaf keeps what C wrote; a second pass adds to it; a shared cell adds up."""
    cell = nn.GRUCell(3, 3)
    layer, x = nn.Recurrent(cell), mg.randn(4, 2, 3)
    y, _ = layer(x)
    y.sum().backward()
    first = cell.W.grad.numpy().copy()
    kept = cell.W.grad
    layer(x)[0].sum().backward()
    np.testing.assert_allclose(kept.numpy(), 2 * first, rtol=1e-6)
    results = []
    for fused in (True, False):
        layer = nn.Recurrent(cell, fused=fused)
        twice, _ = layer(layer(x)[0])
        results.append(mg.grad(twice.sum(), list(cell.parameters())))
    for a, b in zip(*results):
        agree(a, b, "float32", "shared")


# ---- which cells -------------------------------------------------------------------------------------


class Halved(nn.LSTMCell):
    """An LSTM with another equation: its parent's kernel is not its own."""

    def step(self, z: Any, state: Any) -> Any:
        """Half of it."""
        y, state = super().step(z, state)
        return 0.5 * y, state


class Saturated(nn.RNNCell):
    """The same of a part of the equation: gates are computed in `activations`."""

    def project(self, x: Any) -> Any:
        """Ten times as much."""
        return 10 * super().project(x)


class Open(nn.LSTMCell):
    """A forget gate that is always open."""

    def activations(self, z: Any, state: Any) -> Any:
        """f = 1."""
        i, f, g, o = super().activations(z, state)
        return i, mg.ones_like(f), g, o


class Started(nn.GRUCell):
    """A GRU that starts from something else: that is no part of its equation."""

    def initial(self, n: int) -> Any:
        """All 0.5."""
        return (mg.full((n, self.hidden_size), 0.5, self.W.dtype),)


@pytest.mark.parametrize("kind", [Halved, Saturated, Open])
def test_a_changed_equation_has_no_kernel(kind: Any) -> None:
    x = mg.randn(4, 2, 3)
    cell, plain = kind(3, 5), kind.__base__(3, 5)
    plain.load_state_dict(cell.state_dict())
    same(nn.Recurrent(cell)(x)[0], nn.Recurrent(cell, fused=False)(x)[0], tolerance=0)
    assert abs((nn.Recurrent(cell)(x)[0] - nn.Recurrent(plain)(x)[0]).detach().numpy()).max() > 0.01
    with pytest.raises(ValueError, match=f"there is no kernel for {kind.__name__}"):
        nn.Recurrent(cell, fused=True)
    same(flat(cell(x[0])), cell.step(cell.project(x[0]), cell.initial(2))[1], tolerance=0)
    plain.project, plain.activations, plain.step = cell.project, cell.activations, cell.step
    same(nn.Recurrent(plain)(x)[0], nn.Recurrent(cell)(x)[0], tolerance=0)


def test_an_initial_state_of_its_own() -> None:
    cell, x = Started(3, 5), mg.randn(4, 2, 3)
    want = nn.Recurrent(cell, fused=False)(x)
    same(nn.Recurrent(cell, fused=True)(x), want, 1e-5)
    front = nn.GRU(3, 5)
    vars(front.stack.layers)["0"] = nn.Recurrent(cell)
    y, h = front(x)
    same((y, h[0]), (want[0], want[1][0]), 1e-5)
    half = mg.full((2, 5), 0.5)
    same(cell(x[0]), cell(x[0], half), tolerance=0)


def test_the_choice() -> None:
    with pytest.raises(ValueError, match="fused='fast': \"auto\", True or False"):
        nn.LSTM(3, 5, fused="fast")
    for fused in ("auto", True, False):
        for layer in (nn.LSTM(3, 5, 2, fused=fused), nn.GRU(3, 5, bidirectional=True, fused=fused)):
            assert layer(mg.zeros(0, 2, 3))[0].shape[:2] == (0, 2)
            assert layer(mg.zeros(4, 0, 3))[0].shape[:2] == (4, 0)
            y, _ = layer(mg.full((4, 2, 3), np.nan), lengths=[0, 0])
            assert not y.detach().numpy().any()


# ---- what C is not asked ---------------------------------------------------------------------------


def test_the_door_refuses_what_does_not_fit() -> None:
    x, W, U, b = (mg.zeros(*s) for s in ((4, 2, 3), (3, 20), (5, 20), (20,)))
    forward = core.sequence_forward
    forward("lstm", x, W, U, b=b)
    wrong: list[tuple[Any, str]] = [
        (lambda: forward("elman", x, W, U), "elman: the cells with kernels are rnn_tanh, rnn_relu"),
        (lambda: forward("lstm", x, W.reshape(-1), U), r"W \[60\] and U \[5, 20\]: two matrices"),
        (lambda: forward("lstm", x, W, mg.zeros(4, 20)), r"U \[4, 20\]: \[5, 20\] is needed"),
        (lambda: forward("lstm", x[..., :2], W, U), r"x \[4, 2, 2\]: \[4, 2, 3\] is needed"),
        (lambda: forward("lstm", x, W, U, h0=mg.zeros(1, 5)), r"h0 \[1, 5\]: \[2, 5\] is needed"),
        (lambda: forward("lstm", x, W, U, Un=b), r"Un \[20\]: none is needed"),
        (
            lambda: forward("gru", x, mg.zeros(3, 15), mg.zeros(5, 10)),
            r"Un none: \[5, 5\] is needed",
        ),
        (lambda: forward("lstm", x[0, 0], W, U), r"x \[3\]: at least one step"),
        (lambda: forward("lstm", x[:0], W, U), r"x \[0, 2, 3\]: at least one step"),
        (lambda: forward("lstm", mg.zeros(4, 2, 2, 3), W, U), "at least one step of one sequence"),
        (lambda: core.Counts([3], 2), r"counts \[3\]: from 2 or less"),
        (lambda: core.Counts([1, 2], 2), r"never increasing"),
        (lambda: core.Counts([1, 0], 2), r"to 1 or more"),
        (
            lambda: forward("lstm", x[0], W, U, counts=core.Counts([2, 1], 2)),
            r"x \[2, 3\]: \[3, 3\] is needed",
        ),
        (
            lambda: forward("lstm", x[0], W, U, counts=core.Counts([1, 1], 2), reverse=True),
            "in the order of the steps",
        ),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match=r"lstm: b float64 \[20\] and W float32.*one floating type"):
        forward("lstm", x, W, U, b=b.double())
    (y, hn, cn), saved = forward("lstm", x, W, U, save=True)
    assert saved is not None
    with pytest.raises(
        ValueError, match=r"gradient float32 \[2, 5\] of a result float32 \[4, 2, 5\]"
    ):
        core.sequence_backward(saved, [hn, None, cn], [True] * 3 + [False] * 6)
    gradients = core.sequence_backward(saved, [y, None, None], [True] * 3 + [False] * 6)
    assert [g is None for g in gradients] == [False] * 3 + [True] * 6


# ---- trace -----------------------------------------------------------------------------------------


@every_kind
@given(data=st.data())
def test_trace(kind: Kind, data: Any) -> None:
    """Fused as readable; h is the output, the final states are the last valid ones."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    pair, records, hs = Pair(kind, draw), [], []
    with mg.no_grad():
        for layer in (pair.fused, pair.readable):
            with nn.trace(layer) as record:
                y, _ = layer(mg.from_numpy(pair.x), lengths=pair.lengths)
            records.append(record)
            hs.append(y)
    cells = pair.fused.cells()
    fused, readable = records
    assert len(fused) == len(readable) == len(cells)
    for cell, a, b in zip(cells, fused, readable):
        letters = set(cell.states) | set(cell.gates)
        assert a.keys() == b.keys() == letters
        for letter in letters:
            agree(a[letter], b[letter], "float64", letter)
            assert not a[letter].requires_grad
    width = fused[-1]["h"].shape[-1]
    same(hs[0][..., -width:], fused[-1]["h"], tolerance=0)


def test_trace_is_off_afterwards_and_nests() -> None:
    lstm, x = nn.LSTM(3, 5), mg.randn(4, 2, 3)
    with nn.trace(lstm) as outer:
        y, _ = lstm(x)
        with nn.trace(lstm) as inner:
            lstm(x[:2])
        assert (outer[0]["i"].shape, inner[0]["i"].shape) == ((4, 2, 5), (2, 2, 5))
        lstm(x[:3])
    y.sum().backward()  # the trace takes nothing away
    kept = dict(outer[0])
    lstm(x)
    assert outer[0] == kept or outer[0]["i"] is kept["i"]
    assert lstm.stack.layers[0].traced is None
    with pytest.raises(RuntimeError, match="stop"), nn.trace(lstm):
        raise RuntimeError("stop")
    assert lstm.stack.layers[0].traced is None
    with pytest.raises(ValueError, match="there is no Recurrent in Linear"):
        nn.trace(nn.Linear(2, 3))


def test_trace_of_a_cell_of_ones_own() -> None:
    """States, without gates as long as the cell does not say what they are."""

    class Leaky(nn.Cell):
        gates, states = "q", "h"

        def step(self, z: Any, state: Any) -> Any:
            h = 0.9 * state[0] + (z + state[0] @ self.U).tanh()
            return h, (h,)

    layer = nn.Bidirectional(Leaky(3, 5), Leaky(3, 5))
    with nn.trace(layer) as record:
        y, _ = layer(mg.randn(4, 2, 3), lengths=[4, 2])
    assert [set(r) for r in record] == [{"h"}, {"h"}]
    same(mg.cat([r["h"] for r in record], -1), y, tolerance=0)


def test_every_cell_with_a_kernel_is_tested() -> None:
    names = {kind.make(2, 3).kernel() for kind in KINDS.values()}
    assert names == set(core.SEQ)
