"""The derivatives of one step: C against the tape, the tape against differences of the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cell_table import KINDS, Kind, every_kind, parameters, state_of
from draw import Draw, seeded
from fused_pair import SIZES
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import core, learn, nn
from minigrad.learn.jacobians import pattern

in_c = pytest.mark.parametrize(
    "kind", [KINDS[name] for name in ("rnn", "rnn-relu", "lstm", "gru", "gru-after", "gru-nobias")]
)
ELEMENTWISE = [KINDS[name] for name in ("rnn", "rnn-relu", "rnn-nobias", "lstm", "gru-after")]


class Leaky(nn.Cell):
    """Two states, one of which moves slowly; the output is none of them."""

    gates, states = "h", "hm"

    def step(self, z: Any, state: Any) -> Any:
        h, m = state
        h = mg.tanh(z + (h + m) @ self.U)
        m = 0.9 * m + 0.1 * h
        return h * m, (h, m)


def drawn(kind: Kind, draw: Draw, dtype: str = "float64", most: int = 3) -> tuple[Any, Any, Any]:
    """A cell, an input and a state."""
    cell = kind.make(draw.pick(1, most), kind.hidden(draw) + draw.pick(0, most), dtype)
    parameters(cell, draw)
    n = draw.pick(1, 3)
    x = draw.laid_out(draw.normal(n, cell.input_size).astype(dtype))
    state = [mg.from_numpy(draw.laid_out(s)) for s in state_of(cell, n, draw, dtype)]
    return cell, mg.from_numpy(x), tuple(state)


def joined(states: Any) -> Any:
    """All states that have derivatives side by side, an ndarray."""
    return np.concatenate([s.detach().numpy() for s in states if s.dtype != "int64"], axis=1)


def replaced(states: Any, values: Any) -> Any:
    """The states with those that have derivatives taken from an array like `joined`."""
    new, at = [], 0
    for s in states:
        if s.dtype != "int64":
            new.append(mg.from_numpy(values[:, at : at + s.shape[1]].copy()))
            at += s.shape[1]
        else:
            new.append(s)
    return tuple(new)


@every_kind
@given(st.data())
def test_of_every_cell_against_differences(kind: Kind, data: Any) -> None:
    cell, x, state = drawn(kind, Draw(lambda a, b: data.draw(st.integers(a, b))))
    F = learn.Transition(cell)
    J = learn.step_jacobian(cell, x, state).numpy()
    D = learn.immediate(cell, x, state)
    eps = 1e-6
    with mg.no_grad():
        for k in range(F.n):
            ahead = joined(state)
            ahead[:, k] += eps
            back = ahead.copy()
            back[:, k] -= 2 * eps
            ends = [joined(F(x, replaced(state, a))[1]) for a in (ahead, back)]
            np.testing.assert_allclose(J[:, :, k], (ends[0] - ends[1]) / (2 * eps), atol=1e-5)
        for name, p in F.parameters.items():
            a = np.asarray(p)
            for at in np.ndindex(*a.shape):
                before = a[at]
                ends = []
                for value in (before + eps, before - eps):
                    a[at] = value
                    ends.append(joined(F(x, state)[1]))
                a[at] = before
                got = D[name].numpy()[(slice(None), slice(None), *at)]
                np.testing.assert_allclose(got, (ends[0] - ends[1]) / (2 * eps), atol=1e-5)


@in_c
@given(st.data())
def test_c_equals_the_tape(kind: Kind, data: Any) -> None:
    draw = Draw(lambda a, b: data.draw(st.integers(a, b)))
    dtype = draw.choice("float64", "float32")
    size, tolerance = draw.choice(*SIZES[:-1]), {"float64": 1e-13, "float32": 2e-5}[dtype]
    cell, x, state = drawn(kind, draw, dtype, size if draw.flag() else 3)
    same_step(cell, x, state, tolerance)


def same_step(cell: Any, x: Any, state: Any, tolerance: float) -> None:
    """Both ways give the same J and D, and the same state as the cell does."""
    F = learn.Transition(cell)
    ours, theirs = (learn.differentiate(F, x, state, fused) for fused in (True, False))
    assert F.kernel is not None
    np.testing.assert_allclose(joined(ours.state), joined(theirs.state), atol=tolerance)
    for a, b in ((ours.J, theirs.J), (ours.D, theirs.D)):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=tolerance, atol=10 * tolerance)
    S = np.random.default_rng(0).standard_normal(ours.D.shape).astype(x.dtype)
    wanted = ours.J.numpy() @ S + ours.D.numpy()
    bound = 10 * tolerance * abs(wanted).max()
    np.testing.assert_allclose(ours.advance(mg.from_numpy(S)).numpy(), wanted, atol=bound)


@in_c
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_on_each_instruction_set(kind: Kind, dtype: str, isa: str) -> None:
    assert core.isa() == isa
    for hidden in (1, 7, 17):
        cell = kind.make(3, hidden, dtype)
        draw = seeded(hidden)
        state = [mg.from_numpy(draw.normal(2, hidden).astype(dtype)) for _ in cell.states]
        x = mg.from_numpy(draw.normal(2, 3).astype(dtype))
        same_step(cell, x, tuple(state), {"float64": 1e-13, "float32": 2e-5}[dtype])


@pytest.mark.parametrize("kind", ELEMENTWISE)
@given(st.integers(0, 10**6))
def test_masked_is_the_mask_of_the_whole(kind: Kind, seed: int) -> None:
    cell, x, state = drawn(kind, seeded(seed), most=6)
    F = learn.Transition(cell)
    step, mask = learn.differentiate(F, x, state), pattern(F)
    H, N = cell.hidden_size, x.shape[0]
    column = np.concatenate([np.arange(p.numel()) % H for p in F.parameters.values()])
    units = np.arange(F.n)[:, None] % H == column
    assert (mask <= units).all()  # column k acts on the states of unit k alone
    S = np.random.default_rng(seed).standard_normal((N, F.n, F.size)) * mask
    compact = np.stack([S[:, s * H + column, np.arange(F.size)] for s in range(F.n // H)], 1)
    got = step.advance_masked(mg.from_numpy(compact)).numpy()
    wanted = (step.J.numpy() @ S + step.D.numpy()) * mask
    for s in range(F.n // H):
        np.testing.assert_allclose(
            got[:, s], wanted[:, s * H + column, np.arange(F.size)], atol=1e-13
        )


def test_the_same_bits_for_any_number_of_threads() -> None:
    before, found = core.get_num_threads(), []
    for threads in (1, 2, 3):
        core.set_num_threads(threads)
        for kind in (KINDS["lstm"], KINDS["gru"], KINDS["rnn"]):
            mg.manual_seed(0)
            cell = kind.make(5, 40, "float32")
            rtrl = learn.RTRL(cell)
            for x in mg.randn(3, 2, 5):
                rtrl.step(x)
            found.append((threads, rtrl.S.numpy().tobytes()))
    core.set_num_threads(before)
    assert len({bits for _, bits in found}) == 3


def test_an_output_that_is_no_state_has_rows_of_its_own() -> None:
    cell = Leaky(2, 3, dtype="float64")
    step = learn.differentiate(cell, mg.randn(4, 2, dtype="float64"))
    assert step.J.shape == (4, 9, 6)
    assert step.D.shape == (4, 9, 2 * 3 + 9 + 3)
    assert learn.step_jacobian(cell, mg.randn(4, 2, dtype="float64")).shape == (4, 6, 6)


@pytest.mark.parametrize("kind", [KINDS[name] for name in ("rnn", "lstm", "gru")])
def test_a_layer_of_one_cell_is_that_cell(kind: Kind) -> None:
    """Its parameters have other names."""
    cell, x = kind.make(2, 3), mg.randn(4, 2, dtype="float64")
    wanted = learn.differentiate(cell, x)
    for model in (nn.Recurrent(cell), nn.Stack([nn.Recurrent(cell)])):
        found = learn.differentiate(model, x)
        assert found.transition.kernel == cell.kernel()
        np.testing.assert_array_equal(found.D.numpy(), wanted.D.numpy())
        ours, theirs = learn.RTRL(model), learn.RTRL(cell)
        for _ in range(2):
            ours.step(x)
            theirs.step(x)
        np.testing.assert_array_equal(ours.S.numpy(), theirs.S.numpy())


def test_one_matrix_as_two_goes_by_the_tape() -> None:
    cell = nn.RNNCell(3, 3, dtype="float64")
    cell.U = cell.W
    step = learn.differentiate(cell, mg.randn(2, 3, dtype="float64"))
    assert step.transition.kernel is None
    assert step.D.shape == (2, 3, 9 + 3)


def test_the_core_refuses_what_would_harm_memory() -> None:
    parameters = {"W": mg.randn(2, 12), "U": mg.randn(3, 12), "b": mg.randn(12)}
    x, h = mg.randn(4, 2), mg.randn(4, 3)
    with pytest.raises(ValueError, match=r"1 states: one step .* and 2 are needed"):
        core.StepJacobian("lstm", x, parameters, (h,))
    with pytest.raises(ValueError, match=r"x float32 \[1, 4, 2\] .*: one step"):
        core.StepJacobian("lstm", mg.randn(1, 4, 2), parameters, (h, h))
    step = core.StepJacobian("lstm", x, parameters, (h, h))
    places = {"W": 0, "U": 24, "b": 60}
    assert step.advance(None, places, 72).shape == (4, 6, 72)
    for bad, size in (
        ({**places, "U": 61}, 72),  # beyond the last
        (places, 71),
        (places, 73),  # a column of nobody
        ({"W": 0, "U": 24}, 72),
        ({**places, "Un": 72}, 81),  # which an LSTM does not have
    ):
        with pytest.raises(RuntimeError, match="a step of RTRL"):
            step.advance(None, bad, size)


def test_layers_are_one_state() -> None:
    model = nn.Stack([nn.Recurrent(nn.GRUCell(2, 3)), nn.Recurrent(nn.LSTMCell(3, 4))])
    F = learn.Transition(model)
    assert F.widths == [3, 4, 4]
    J = learn.step_jacobian(model, mg.randn(5, 2)).numpy()
    assert J.shape == (5, 11, 11)
    assert (J[:, :3, 3:] == 0).all()  # the lower layer does not know the upper one
    assert (J[:, 3:, :3] != 0).any()


def test_parameters_that_are_not_learnt_are_left_out() -> None:
    cell = nn.LSTMCell(2, 3, dtype="float64")
    x = mg.randn(2, 2, dtype="float64")
    whole = learn.immediate(cell, x)
    cell.U.requires_grad_(False)
    for fused in (True, False):
        part = learn.immediate(cell, x, fused=fused)
        assert list(part) == ["W", "b"]
        for name, D in part.items():
            np.testing.assert_allclose(D.numpy(), whole[name].numpy(), atol=1e-15)


def test_what_cannot_be_stepped_through_says_why() -> None:
    for model in (
        nn.Bidirectional(nn.RNNCell(2, 3), nn.RNNCell(2, 3)),
        nn.Recurrent(nn.RNNCell(2, 3), reverse=True),
        nn.LSTM(2, 3, num_layers=2, dropout=0.5),
        nn.Linear(2, 3),
    ):
        with pytest.raises(TypeError, match="step by step"):
            learn.Transition(model)
    cell = nn.LSTMCell(2, 3)
    with pytest.raises(ValueError, match="one time step"):
        learn.differentiate(cell, mg.randn(2))
    with pytest.raises(ValueError, match="does not itself require gradients"):
        learn.differentiate(cell, mg.randn(1, 2).requires_grad_())
    with pytest.raises(ValueError, match="1 states for 2"):
        learn.differentiate(cell, mg.randn(1, 2), mg.zeros(1, 3))
    with pytest.raises(ValueError, match=r"float32 \[1, 6, 72\] is needed"):
        learn.differentiate(cell, mg.randn(1, 2)).advance(mg.zeros(1, 6, 83))
    with pytest.raises(ValueError, match="detach"):
        learn.differentiate(nn.RNNCell(2, 3), mg.randn(1, 2), mg.zeros(1, 3).requires_grad_())
