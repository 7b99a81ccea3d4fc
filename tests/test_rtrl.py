"""Real-time recurrent learning: its gradient is that of BPTT; what the approximations leave out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cell_table import KINDS, Kind, every_kind, parameters
from draw import Draw, seeded
from hypothesis import given
from hypothesis import strategies as st
from test_jacobians import ELEMENTWISE, Leaky

import minigrad as mg
from minigrad import learn, nn, optim


def task(model: Any, draw: Draw, steps: int) -> tuple[Any, Any]:
    """x [T, N, I], and weights [T, N, O] of the losses Σ weight y²."""
    F = learn.Transition(model)
    n, width = draw.pick(1, 3), F.output_size
    x, weights = draw.normal(steps, n, F.cells[0].input_size), draw.normal(steps, n, width)
    return mg.from_numpy(x), mg.from_numpy(weights)


def by_bptt(model: Any, x: Any, weights: Any) -> dict[str, Any]:
    """{name: the gradient of Σ weight y² through all steps}"""
    F = learn.Transition(model)
    state, total = F.checked(None, x.shape[1]), mg.zeros((), dtype="float64")
    for x_t, weight in zip(x, weights):
        y, state = F(x_t, state)
        total = total + (weight * y * y).sum()
    found = mg.grad(total, list(F.parameters.values()), allow_unused=True)
    return {name: np.zeros(p.shape) if g is None else g.numpy()
            for (name, p), g in zip(F.parameters.items(), found)}  # fmt: skip


def online(learner: Any, x: Any, weights: Any) -> dict[str, Any]:
    """The same, step by step."""
    F = learner.transition
    F.model.zero_grad()
    learner.reset()
    for x_t, weight in zip(x, weights):
        y = learner.step(x_t)
        learner.backward((weight * y * y).sum())
    return {name: p.grad.numpy().copy() for name, p in F.parameters.items()}


def flat(gradients: dict[str, Any]) -> Any:
    return np.concatenate([g.ravel() for g in gradients.values()])


def equal(got: dict[str, Any], want: dict[str, Any], tolerance: float = 1e-10) -> None:
    assert got.keys() == want.keys()
    for name, g in got.items():
        bound = tolerance * (1 + abs(want[name]).max(initial=0))
        np.testing.assert_allclose(g, want[name], rtol=0, atol=bound, err_msg=name)


# ---- exact -------------------------------------------------------------------------------------


@every_kind
@given(st.data())
def test_rtrl_is_bptt(kind: Kind, data: Any) -> None:
    draw = Draw(lambda a, b: data.draw(st.integers(a, b)))
    cell = kind.make(draw.pick(1, 3), kind.hidden(draw))
    parameters(cell, draw)
    x, weights = task(cell, draw, draw.pick(1, 7))
    equal(online(learn.RTRL(cell, fused=draw.flag()), x, weights), by_bptt(cell, x, weights))


@pytest.mark.parametrize("hidden", [9, 40])
@pytest.mark.parametrize("name", ["rnn", "rnn-relu", "lstm", "gru", "gru-after"])
def test_rtrl_is_bptt_over_many_steps(name: str, hidden: int) -> None:
    cell = KINDS[name].make(3, hidden)
    x, weights = task(cell, seeded(hidden), 60)
    equal(online(learn.RTRL(cell), x, weights), by_bptt(cell, x, weights))


@pytest.mark.parametrize(
    "model",
    [
        Leaky(2, 3, dtype="float64"),
        nn.LSTM(2, 3, num_layers=2, dtype="float64"),
        nn.Layers(nn.GRUCell, 2, 2, 3, connect=("input", "output", "residual"), dtype="float64"),
        nn.LSTMCell(2, 3, peephole="full", dtype="float64"),
        nn.Stack(
            [
                nn.Recurrent(nn.GRUCell(2, 3, dtype="float64")),
                nn.Recurrent(Leaky(3, 2, dtype="float64")),
            ]
        ),
    ],
)
def test_of_other_cells_and_of_layers(model: Any) -> None:
    x, weights = task(model, seeded(0), 5)
    equal(online(learn.RTRL(model), x, weights), by_bptt(model, x, weights))


def test_the_gradient_is_there_after_every_step() -> None:
    cell = nn.LSTMCell(2, 3, dtype="float64")
    x, weights = task(cell, seeded(1), 6)
    rtrl = learn.RTRL(cell)
    for t in range(6):
        y = rtrl.step(x[t])
        rtrl.backward((weights[t] * y * y).sum())
        got = {name: p.grad.numpy() for name, p in rtrl.transition.parameters.items()}
        equal(got, by_bptt(cell, x[: t + 1], weights[: t + 1]))


def test_a_loss_may_use_any_state_and_layers_on_top() -> None:
    mg.manual_seed(0)
    cell, out = nn.LSTMCell(2, 3, dtype="float64"), nn.Linear(6, 2, dtype="float64")
    x = mg.randn(4, 2, 2, dtype="float64")
    rtrl = learn.RTRL(cell)
    state: Any = cell.initial(2)
    total = mg.zeros((), dtype="float64")
    for x_t in x:
        rtrl.step(x_t)
        rtrl.backward((out(mg.cat(list(rtrl.state or ()), -1)) ** 3).sum())
        state = cell(x_t, state)
        total = total + (out(mg.cat(list(state), -1)) ** 3).sum()
    ps = [*cell.parameters(), *out.parameters()]
    got = [p.grad.numpy().copy() for p in ps]
    for a, b in zip(got, mg.grad(total, ps)):
        assert b is not None
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-10, atol=1e-12)


def test_an_optimiser_may_step_at_any_time() -> None:
    """Online learning of a running mean goes down; nothing refers to parameters of before."""
    mg.manual_seed(0)
    cell, out = nn.RNNCell(1, 8), nn.Linear(8, 1)
    rtrl = learn.RTRL(cell)
    adam = optim.Adam([*cell.parameters(), *out.parameters()], lr=5e-3)
    x = mg.randn(600, 1, 1)
    losses = []
    for t in range(2, 600):
        y = out(rtrl.step(x[t]))
        loss = ((y - (x[t] + x[t - 1]) / 2) ** 2).sum()
        adam.zero_grad()
        rtrl.backward(loss)
        adam.step()
        losses.append(loss.item())
    assert np.mean(losses[-100:]) < np.mean(losses[:100]) / 4


def test_the_jacobian_of_outputs_is_that_of_bptt() -> None:
    mg.manual_seed(1)
    cell, out = nn.GRUCell(2, 3, dtype="float64"), nn.Linear(3, 2, dtype="float64")
    x = mg.randn(5, 2, 2, dtype="float64")
    params = [*out.parameters(), *cell.parameters()]
    rtrl = learn.RTRL(cell)
    for x_t in x:
        h = rtrl.step(x_t)
    y, _ = nn.Recurrent(cell)(x)
    wanted = learn.output_jacobian(out(y[-1]), params)
    np.testing.assert_allclose(rtrl.jacobian(out(h), params), wanted, atol=1e-12)
    assert all(p.grad is None for p in params)


def test_memory_does_not_grow_with_time() -> None:
    cell = nn.LSTMCell(2, 5)
    rtrl = learn.RTRL(cell)
    sizes = {rtrl.step(x).shape + rtrl.S.shape for x in mg.randn(30, 1, 2)}
    assert sizes == {(1, 5, 1, 10, 4 * 5 * 8)}


# ---- approximations ------------------------------------------------------------------------------


@every_kind
def test_snap_is_rtrl_with_a_mask(kind: Kind) -> None:
    """A transcription of the paper's recursion in NumPy, J and D from the tape."""
    draw = seeded(3)
    cell = kind.make(2, 4)
    x, weights = task(cell, draw, 5)
    snap = learn.SnAp1(cell)
    F, S, state = snap.transition, None, None
    total = np.zeros(F.size)
    for x_t, weight in zip(x, weights):
        step = learn.differentiate(F, x_t, state, fused=False)
        D = step.D.numpy()
        S = D if S is None else step.J.numpy() @ S[:, : F.n] + D
        S[:, : F.n] *= snap.mask  # rows of a y that is no state are not carried forward
        state = tuple(step.state)
        g = 2 * weight.numpy() * step.y.numpy()
        ends = [sum(F.widths[:i]) for i, s in enumerate(step.state) if s is step.y]
        at = ends[0] if ends else F.n
        total += np.einsum("ni,nip->p", g, S[:, at : at + g.shape[1]])
    got = flat(online(snap, x, weights))
    np.testing.assert_allclose(got, total, atol=1e-11 * (1 + abs(total).max()))


def test_the_pattern_of_snap() -> None:
    """Column k acts on unit k; o not on c; a reset gate before the product on all units."""
    H, count = 4, 2 + 4 + 1  # rows of W, U, b
    columns = np.arange(H)[:, None] == np.arange(H)
    one = np.tile(columns, count)
    assert (learn.SnAp1(nn.RNNCell(2, H)).mask == one).all()
    lstm = np.concatenate([np.tile(columns, 4 * count)] * 2)
    lstm[H:] = np.tile(np.concatenate([columns] * 3 + [columns & False], axis=1), count)
    assert (learn.SnAp1(nn.LSTMCell(2, H)).mask == lstm).all()
    gru = nn.GRUCell(2, H)
    F = learn.Transition(gru)
    mask = F.parts(mg.from_numpy(learn.SnAp1(gru).mask.astype("float32")))["U"].numpy()
    assert (mask[..., :H] == 1).all()
    assert (mask[..., H:] == columns[:, None, :]).all()


@pytest.mark.parametrize("kind", [k for k in ELEMENTWISE if k.cell is not nn.LSTMCell])
def test_snap_is_exact_where_units_do_not_see_each_other(kind: Kind) -> None:
    """Not of an LSTM: over two steps its o acts on c, through the h of the same unit."""
    cell = kind.make(2, 3)
    with mg.no_grad():
        for name, p in cell.named_parameters():
            if name in ("U", "Un"):
                p.mul_(mg.from_numpy(np.tile(np.eye(3), p.shape[1] // 3)))
    x, weights = task(cell, seeded(5), 8)
    equal(online(learn.SnAp1(cell), x, weights), by_bptt(cell, x, weights))


@pytest.mark.parametrize("name", ["rnn", "lstm", "leaky"])
def test_uoro_is_unbiased(name: str) -> None:
    """The mean of 400 estimates is within 5 standard errors of the gradient, in every number.

    That one of some hundred numbers is not, by chance, has a probability below 1e-4, and the seed is
    fixed.  The standard error is below half of the gradient, so it would be seen if S were left out
    or counted twice.
    """
    mg.manual_seed(7)
    cell = Leaky(2, 3, dtype="float64") if name == "leaky" else KINDS[name].make(2, 3)
    x, weights = task(cell, seeded(0), 4)
    want = flat(by_bptt(cell, x, weights))
    uoro, count = learn.UORO(cell), 400
    samples = np.stack([flat(online(uoro, x, weights)) for _ in range(count)])
    error = samples.std(0, ddof=1) / np.sqrt(count)
    assert (abs(samples.mean(0) - want) <= 5 * error + 1e-12).all()
    assert np.linalg.norm(error) < 0.5 * np.linalg.norm(want)


def test_uoro_is_exact_where_nothing_is_mixed() -> None:
    """Of one unit after one step S is νᵀ ν D = D, whatever the sign: two steps are exact, three not."""
    cell = nn.RNNCell(2, 1, dtype="float64")
    x, weights = mg.randn(3, 1, 2, dtype="float64"), mg.randn(3, 1, 1, dtype="float64")
    equal(online(learn.UORO(cell), x[:2], weights[:2]), by_bptt(cell, x[:2], weights[:2]))
    got, want = online(learn.UORO(cell), x, weights), by_bptt(cell, x, weights)
    assert abs(flat(got) - flat(want)).max() > 1e-6


@pytest.mark.parametrize("learner", [learn.RTRL, learn.SnAp1, learn.UORO])
def test_errors_say_what_to_do(learner: Any) -> None:
    it = learner(nn.RNNCell(2, 3))
    it.step(mg.randn(2, 2))
    with pytest.raises(ValueError, match=r"reset\(\)"):
        it.step(mg.randn(3, 2))
    with pytest.raises(ValueError, match=r"must not require|not itself require"):
        it.step(mg.randn(2, 2).requires_grad_())
    with pytest.raises(ValueError, match="last step"):
        it.backward(mg.ones(1, requires_grad=True).sum())
    it.reset()
    it.step(mg.randn(3, 2))
