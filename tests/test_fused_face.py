"""Fused layers: one step, memory, which cells have a kernel, what C is not asked, the trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cell_table import (
    FUSED,
    Kind,
    as_tuple,
    every_fused_kind,
    flat,
    leaf,
    same,
    state_of,
    tracked,
    weighted,
)
from draw import Draw, seeded
from fused_pair import Pair, agree
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import core, nn
from minigrad.nn.cells.regularize import hold

# ---- one step --------------------------------------------------------------------------------------


@every_fused_kind
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
                old = state
                y, state = cell.step(cell.project(leaves[0][t]), old)
                if cell.zoneout:
                    y, state = hold(cell.kept(1, 2), 0, y, state, old)
            ys.append(y)
        y = ys if how == "whole" else mg.stack(ys)
        gradients = mg.grad(weighted((y, state)), [*tracked(leaves), *cell.parameters()])
        results.append((y, state, gradients))
    for other in results[1:]:
        same(results[0], other, 1e-11)


@every_fused_kind
def test_second_derivatives_of_a_step(kind: Kind) -> None:
    cell, draw = kind.make(2, 2), seeded(0)
    operands = [leaf(draw.normal(2, 2)), *map(leaf, state_of(cell, 2, draw)), *cell.parameters()]
    count = 1 + len(cell.states)
    assert mg.gradgradcheck(lambda x, *rest: weighted(cell(x, rest[: count - 1])), operands[:count])


# ---- memory ------------------------------------------------------------------------------------------


@every_fused_kind
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
    gates = {"gru": 3, "gru_after": 4}.get(cell.kernel().replace("_keep", ""), 0)
    if isinstance(cell, nn.LSTMCell):
        gates = len(cell.gates) + 1  # and c
    if cell.layer_norm:  # of both products, LN and (of x W) what is made of it; of c
        gates += (2 * cell.W.shape[1] + cell.U.shape[1]) // 64 + (cell.states + cell.gates != "hh")
    if cell.zoneout:
        gates += not cell.kernel().startswith("gru")  # what the states were before
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


@every_fused_kind
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
    for letter in {*layer.cell.gates, *layer.cell.states} - {"t"}:  # the clock has no gradient
        assert refused(lambda a: a.zero_(), letter) == held


@every_fused_kind
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
            for which in ({"lengths": [0, 0]}, {"mask": np.zeros((4, 2), bool)}):
                y, _ = layer(mg.full((4, 2, 3), np.nan), **which)
                assert not y.detach().numpy().any()


# ---- what C is not asked ---------------------------------------------------------------------------


def test_the_door_refuses_what_does_not_fit() -> None:
    x, W, U, b = (mg.zeros(*s) for s in ((4, 2, 3), (3, 20), (5, 20), (20,)))
    p = mg.zeros(5)

    def forward(cell: str, x: Any, W: Any, U: Any, **more: Any) -> Any:
        operands = {"x": x, "W": W, "U": U}
        options = {k: more.pop(k) for k in ("counts", "reverse", "save") if k in more}
        operands.update((k, more[k]) for k in core.OPERANDS if k in more)
        return core.sequence_forward(cell, tuple(operands), list(operands.values()), **options)

    forward("lstm", x, W, U, b=b, p_i=p, p_f=p, p_o=p)
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
        (lambda: forward("lstm", x, W, U, p_f=b), r"p_f \[20\]: \[5\] is needed"),
        (lambda: forward("rnn_tanh", x, W, mg.zeros(20, 20), p_o=b), r"p_o \[20\]: none is needed"),
        (
            lambda: forward("lstm_coupled_input", x, W[:, :15], U[:, :15], p_i=p),
            r"p_i \[5\]: none is needed",
        ),
        (
            lambda: forward("lstm_coupled_forget", x, W[:, :15], U[:, :15], p_f=p),
            r"p_f \[5\]: none is needed",
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
        core.sequence_backward(saved, [hn, None, cn], [True] * 3)
    gradients = core.sequence_backward(saved, [y, None, None], [True, False, True])
    assert [g is None for g in gradients] == [False, True, False]


# ---- trace -----------------------------------------------------------------------------------------


@every_fused_kind
@given(data=st.data())
def test_trace(kind: Kind, data: Any) -> None:
    """Fused as readable; h is the output, the final states are the last valid ones."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    pair, records, hs = Pair(kind, draw), [], []
    with mg.no_grad():
        for layer in (pair.fused, pair.readable):
            with nn.trace(layer) as record:
                y, _ = layer(mg.from_numpy(pair.x), lengths=pair.lengths, mask=pair.mask)
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
    names = {kind.make(2, 3).kernel() for kind in FUSED.values()}
    assert names == set(core.SEQ)
