"""Echo state networks: readouts, teacher forcing, free running; the echo-state property; series."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles_echo
import pytest
from cell_table import same
from draw import Draw, seeded
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import learn, nn, optim
from minigrad.data import mackey_glass, narma10
from minigrad.learn.readout import Ridge, fit, nrmse


def network(inputs: int = 2, outputs: Any = 3, **options: Any) -> Any:
    options = {
        "units": 12,
        "connectivity": 0.3,
        "leak": 0.6,
        "seed": 1,
        "dtype": "float64",
        **options,
    }
    return nn.EchoStateNetwork(inputs, options.pop("units"), outputs, **options)


def features(esn: Any, h: Any, u: Any = None, y: Any = None) -> Any:
    """What the readout of rows h, u, y reads, by NumPy."""
    ones = np.ones((*h.shape[:-1], 1))
    parts = {"bias": ones, "input": u, "state": h, "output": y}
    return np.concatenate([parts[p] for p in esn.readout.parts], -1)


# ---- ridge regression ------------------------------------------------------------------------


@given(data=st.data())
def test_ridge(data: Any) -> None:
    """In blocks, against least squares with further rows."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    rows, k, outputs, bias = draw.pick(1, 30), draw.pick(1, 6), draw.pick(1, 3), draw.flag()
    X, Y = draw.normal(rows, k) + 3, draw.normal(rows, outputs) - 5
    ridge = Ridge(k, outputs, bias)
    cuts = sorted(draw.pick(0, rows) for _ in range(3))
    for a, b in zip([0, *cuts], [*cuts, rows]):
        ridge.add(X[a:b], Y[a:b])
    for alpha, (W, b) in zip((1e-3, 1.0, 100.0), ridge.solve([1e-3, 1.0, 100.0])):
        want, offset = oracles_echo.ridge(X, Y, alpha, bias)
        np.testing.assert_allclose(W, want, atol=1e-8)
        np.testing.assert_allclose(b, offset, atol=1e-7)
        gradient = X.T @ (X @ W + b - Y) + alpha * W  # the normal equations
        np.testing.assert_allclose(gradient, 0, atol=1e-7 * (1 + abs(X).max() ** 2 * rows))
    if bias:
        centred = X - X.mean(0)
        assert ridge.scale() == pytest.approx((centred**2).sum() / k)


def test_ridge_without_a_ridge_is_least_squares_of_least_norm() -> None:
    draw = seeded(0)
    X = draw.normal(40, 3) @ draw.normal(3, 6)  # of rank 3
    Y = draw.normal(40, 2)
    ridge = Ridge(6, 2, bias=False)
    ridge.add(X, Y)
    np.testing.assert_allclose(ridge.solve([0.0])[0][0], np.linalg.pinv(X) @ Y, atol=1e-9)
    with pytest.raises(ValueError, match="no rows are left"):
        Ridge(3, 1).solve([1.0])


def test_ridge_keeps_what_normal_equations_lose() -> None:
    """Singular values from 1 down to 1e-11: their squares are below rounding."""
    draw = seeded(1)
    Q, _ = np.linalg.qr(draw.normal(200, 12))
    X = Q * 10.0 ** -np.arange(12)
    W = draw.normal(12, 1)
    ridge = Ridge(12, 1, bias=False)
    for i in range(0, 200, 50):
        ridge.add(X[i : i + 50], X[i : i + 50] @ W)
    np.testing.assert_allclose(ridge.solve([0.0])[0][0], W, atol=1e-4)
    lost = np.linalg.solve(X.T @ X + 1e-18 * np.eye(12), X.T @ (X @ W))
    assert abs(lost - W).max() > 0.1


# ---- fit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts", [("bias", "input", "state"), ("state",), ("input", "state"), ("bias",)]
)
def test_fit_is_ridge_on_the_states(parts: Any) -> None:
    """Washout, lengths, a batch, several blocks; what the readout reads."""
    draw = seeded(2)
    esn = network(readout=parts)
    u, y, lengths = draw.normal(1500, 3, 2), draw.normal(1500, 3, 3), [1500, 700, 900]
    found = fit(esn, u, y, washout=10, ridge=0.5, lengths=lengths)
    h, (last,) = esn.reservoir(mg.from_numpy(u), None, lengths)
    X = np.concatenate([features(esn, h.numpy(), u)[10:n, i] for i, n in enumerate(lengths)])
    Y = np.concatenate([y[10:n, i] for i, n in enumerate(lengths)])
    bias = parts[0] == "bias"
    W, b = oracles_echo.ridge(X[:, bias:], Y, 0.5, bias)
    want = np.concatenate([b[None], W]) if bias else W
    np.testing.assert_allclose(esn.readout.W.detach().numpy(), want, atol=1e-9)
    assert (found.rows, found.ridge, found.curve) == (len(X), 0.5, None)
    same(found.state[0], last)
    out, _ = esn(mg.from_numpy(u), None, lengths)
    np.testing.assert_allclose(
        out.detach().numpy()[10:700, 1], features(esn, h.numpy(), u)[10:700, 1] @ want
    )
    assert not out.detach().numpy()[700:, 1].any()


@pytest.mark.parametrize("n", [1, 4])
def test_the_ridge_is_chosen_on_what_is_held_back(n: int) -> None:
    draw = seeded(3)
    esn = network(units=40)
    steps = 200
    u = draw.normal(steps, n, 2)
    y = np.stack([np.roll(u[..., 0], 2, 0), u[..., 1], draw.normal(steps, n)], -1)
    ridges = [100.0, 1e-3, 1.0]
    found = fit(esn, u, y, washout=20, ridge=ridges, validation=0.25)
    assert found.ridges.tolist() == sorted(ridges)
    h = esn.reservoir(mg.from_numpy(u))[0].numpy()
    X = np.concatenate([u, h], -1)
    held = np.zeros((steps, n), bool)
    if n == 1:
        held[steps - 45 :] = True
    else:
        held[20:, n - 1 :] = True
    valid = np.arange(steps)[:, None] >= 20
    train = ~held & valid
    curve = []
    for ridge in found.ridges:
        W, b = oracles_echo.ridge(X[train], y[train], ridge)
        curve.append(nrmse(X[held] @ W + b, y[held]))
    np.testing.assert_allclose(found.curve, curve, rtol=1e-6)
    assert found.ridge == found.ridges[np.argmin(curve)]
    everything = np.broadcast_to(valid, held.shape)
    W, b = oracles_echo.ridge(X[everything], y[everything], found.ridge)
    np.testing.assert_allclose(
        esn.readout.W.detach().numpy(), np.concatenate([b[None], W]), atol=1e-8
    )
    assert found.rows == everything.sum()


def test_several_readouts_on_one_reservoir() -> None:
    """Each has its own ridge, and is what it would be alone."""
    draw = seeded(4)
    u = draw.normal(400, 1)
    targets = {"easy": np.roll(u, 1, 0), "noisy": draw.normal(400, 2)}
    both = network(1, {"easy": 1, "noisy": 2}, units=60)
    found = fit(both, u, targets, washout=20)
    out, _ = both(mg.from_numpy(u))
    assert found.ridge["easy"] < found.ridge["noisy"]
    for name, target in targets.items():
        alone = network(1, target.shape[1], units=60)
        one = fit(alone, u, target, washout=20)
        assert one.ridge == found.ridge[name]
        np.testing.assert_allclose(one.curve, found.curve[name], rtol=1e-6)
        np.testing.assert_allclose(
            out[name].detach().numpy(), alone(mg.from_numpy(u))[0].detach().numpy(), atol=1e-8
        )
    with pytest.raises(ValueError, match="easy, noisy are needed"):
        fit(both, u, {"easy": u})


def test_classes_as_ones_and_zeros() -> None:
    """Which of two waves: told by a linear readout of 40 units, at every step."""
    t = np.arange(600)
    kind = t // 60 % 2
    u = np.where(kind, np.sin(t / 3), np.sign(np.sin(t / 3)))[:, None]
    esn = network(1, 2, units=40)
    fit(esn, u[:400], np.eye(2)[kind[:400]], washout=20)
    out, _ = esn(mg.from_numpy(u))
    assert (out.detach().numpy().argmax(1)[410:] == kind[410:]).mean() > 0.9


def test_an_optimiser_trains_the_readout_alone() -> None:
    esn = network(1, 1, readout=("bias", "state"))
    before = {k: v.numpy().copy() for k, v in esn.state_dict().items()}
    mg.manual_seed(0)
    u, step = mg.randn(50, 4, 1, dtype="float64"), optim.Adam(esn.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        loss = nn.functional.mse_loss(esn(u)[0], u)
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    changed = [k for k, v in esn.state_dict().items() if (v.numpy() != before[k]).any()]
    assert changed == ["readout.W"]


def test_what_fit_refuses() -> None:
    esn, u, y = network(), np.zeros((20, 2)), np.zeros((20, 3))
    for arguments, match in (
        ({"washout": 20}, "washout=20 of 20 steps"), ({"ridge": "best"}, '"auto", a number'),
        ({"ridge": -1.0}, "0 or more"), ({"ridge": [1, -1]}, "0 or more"),
        ({"validation": 0}, "share between 0 and 1"), ({"y": y[1:]}, r"\[T, N, 3\] are needed"),
        ({"u": u[:, :1]}, r"\[T, N, 2\]"), ({"u": u * np.nan}, "NaN"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            fit(esn, **{"u": u, "y": y, **arguments})


# ---- feedback ----------------------------------------------------------------------------------


def fed_back(inputs: int = 1, outputs: int = 2, **options: Any) -> Any:
    esn = network(
        inputs, outputs, feedback=True, readout=("bias", "input", "state", "output"), **options
    )
    W = np.random.default_rng(0).standard_normal(esn.readout.W.shape) * 0.3
    with mg.no_grad():
        esn.readout.W.copy_(mg.from_numpy(W.astype(esn.readout.W.dtype)))
    return esn


@pytest.mark.parametrize("inputs", [0, 1])
def test_free_running_is_feeding_back_by_hand(inputs: int) -> None:
    esn = fed_back(inputs)
    u = seeded(0).normal(6, 3, inputs)
    out, (h, y) = esn(mg.from_numpy(u), lengths=[6, 2, 0])
    cell, W = esn.cell, esn.readout.W.detach().numpy()
    now, last, rows = np.zeros((3, 12)), np.zeros((3, 2)), []
    for t in range(6):
        heard = np.concatenate([u[t], last], 1)
        new = oracles_echo.reservoir(
            heard[None], cell.W.numpy(), cell.dense(), cell.b.numpy(), now, cell.leak
        )[0]
        out_now = features(esn, new, u[t], last) @ W
        alive = (np.array([6, 2, 0]) > t)[:, None]
        now, last = np.where(alive, new, now), np.where(alive, out_now, last)
        rows.append(np.where(alive, out_now, 0))
    np.testing.assert_allclose(out.detach().numpy(), rows, atol=1e-12)
    np.testing.assert_allclose(h.detach().numpy(), now, atol=1e-12)
    np.testing.assert_allclose(y.detach().numpy(), last, atol=1e-12)
    one, state = esn(mg.from_numpy(u[:, 0]))  # without a batch
    np.testing.assert_allclose(one.detach().numpy(), out.detach().numpy()[:, 0], atol=1e-12)
    assert [s.shape for s in state] == [(12,), (2,)]


def test_teacher_forcing() -> None:
    """The outputs as teachers change nothing; the state goes on from one part to the next."""
    esn = fed_back()
    u = mg.from_numpy(seeded(1).normal(7, 2, 1))
    free, state = esn(u)
    forced, after = esn(u, teacher=free.detach())
    same((free, state), (forced, after))
    a, middle = esn(u[:3], teacher=free[:3].detach())
    b, end = esn(u[3:], middle, teacher=free[3:].detach())
    same((forced, after), (mg.cat([a, b]), end))
    short, (h, y) = esn(u, lengths=[7, 4], teacher=free.detach())
    same((h[1], y[1]), [s[1] for s in esn(u[:4], teacher=free[:4].detach())[1]])
    assert not short[4:, 1].detach().numpy().any()
    same(esn.generate(3, after, u[:3])[0], esn(u[:3], after)[0])
    for call, match in (
        (lambda: esn(u, teacher=free[1:]), r"teacher \[6, 2, 2\]: \[7, 2, 2\] is needed"),
        (lambda: esn.states(u), "teacher None"),
        (lambda: esn.generate(3), "u .* is needed, the inputs"),
        (lambda: esn(u, (state[0],)), r"needed h \[2, 12\] and y \[2, 2\]"),
        (lambda: network().generate(3), "no feedback=True"),
        (lambda: network()(u[..., :0]), "input"),
        (lambda: network(0), "at least 1"),
        (lambda: network(1, 1, readout=("state", "output")), "feedback=True is needed"),
        (lambda: network(1, 1, readout=("states",)), "some of bias, input, state, output"),
        (lambda: network()(mg.zeros(4, 1, 2, dtype="float64"), teacher=u), "no feedback=True"),
    ):
        with pytest.raises(ValueError, match=match):
            call()


def test_a_generator_learns_a_wave() -> None:
    """Teacher-forced on a sine, a network without inputs goes on with it; two in one batch alike."""
    t = np.arange(700)
    wave = 0.5 * np.sin(t / 5)[:, None]
    esn = network(0, 1, units=40, feedback=True, noise=1e-4)
    found = fit(esn, None, wave[:500], washout=50, ridge=1e-6)
    out, _ = esn.generate(200, found.state)
    np.testing.assert_allclose(out.numpy(), wave[500:], atol=0.05)
    pair = tuple(mg.stack([s, s]) for s in found.state)
    two, _ = esn.generate(50, pair)
    same(two[:, 0], out[:50], 1e-9)
    assert esn.generate(4, n=3)[0].shape == (4, 3, 1)


def test_save_and_load(tmp_path: Any) -> None:
    a, b = network(seed=1), network(seed=2)
    fit(a, seeded(0).normal(100, 2), seeded(1).normal(100, 3), washout=5, ridge=1.0)
    mg.save(a.state_dict(), tmp_path / "esn")
    b.load_state_dict(mg.load(tmp_path / "esn"))
    u = mg.randn(20, 2, 2, dtype="float64")
    same(a(u), b(u), 0)


# ---- the echo-state property ---------------------------------------------------------------------


def test_two_states_converge_or_do_not() -> None:
    u = mg.from_numpy(seeded(0).normal(400, 1) * 0.1)
    options: dict[str, Any] = {"bias_scale": 0, "dtype": "float64", "seed": 3}
    damped = nn.EchoStateCell(1, 100, spectral_radius=0.8, **options)
    found = learn.echo_state(damped, u)
    assert found.converged
    assert 0.5 < found.rate < 0.9
    wild = nn.EchoStateCell(1, 100, spectral_radius=2.0, **options)
    other = learn.echo_state(wild, u)
    assert not other.converged
    assert other.distances.shape == (401,)
    h = np.random.default_rng(5).standard_normal((2, 100))
    given_states = learn.echo_state(nn.Recurrent(damped), u, h)
    assert given_states.distances[0] == pytest.approx(np.linalg.norm(h[0] - h[1]))
    layer = nn.Recurrent(damped)
    paths = [layer(u[:, None], (mg.from_numpy(s[None]),))[0].numpy()[:, 0] for s in h]
    np.testing.assert_allclose(
        given_states.distances[1:], np.linalg.norm(paths[0] - paths[1], axis=1), atol=1e-12
    )
    assert learn.echo_state(damped, u, np.ones((2, 100))).rate == 0


@pytest.mark.parametrize("leak", [1.0, 0.3])
def test_a_norm_below_1_is_sufficient_with_its_rate(leak: float) -> None:
    """Every step shrinks the distance at least by 1 - leak (1 - norm)."""
    cell = nn.EchoStateCell(1, 80, leak=leak, seed=1, dtype="float64")
    with mg.no_grad():
        cell.U.copy_(cell.U * (0.9 / cell.spectral_norm()))
    d = learn.echo_state(cell, mg.randn(60, 1, dtype="float64")).distances
    d = d[d > 1e-9]  # above rounding
    assert len(d) > 10
    assert (d[1:] <= d[:-1] * (1 - leak * (1 - 0.9)) * (1 + 1e-6)).all()


def test_the_spectral_radius_is_a_rule_of_thumb() -> None:
    """0.9, and two states that stay apart: the input saturates the unit that holds the other back."""
    U = np.array([[2.9, 2.9], [-2.0, -2.0]])
    cell = nn.EchoStateCell(1, 2, weights=U, bias_scale=0, dtype="float64")
    assert cell.spectral_radius() == pytest.approx(0.9)
    assert cell.spectral_norm() > 1
    with mg.no_grad():
        cell.W.copy_(mg.tensor([[2.0, 20.0]], dtype="float64"))
    states = [[0.9, 1.0], [-0.9, 1.0]]
    apart = learn.echo_state(cell, mg.ones(300, 1, dtype="float64"), states)
    assert apart.distances[-1] > 1.9
    assert not apart.converged
    assert learn.echo_state(cell, mg.zeros(300, 1, dtype="float64"), states).converged


def test_what_echo_state_takes() -> None:
    cell = nn.EchoStateCell(1, 2, connectivity=1.0, seed=1)
    esn = network(1, 1, feedback=True)
    with pytest.raises(ValueError, match="pass its cell"):
        learn.echo_state(esn, mg.zeros(3, 1))
    assert learn.echo_state(network(1, 1), mg.zeros(200, 1, dtype="float64")).converged
    for u, states in ((mg.zeros(3, 2), None), (mg.zeros(3, 1), np.zeros((3, 2)))):
        with pytest.raises(ValueError, match="is needed"):
            learn.echo_state(cell, u, states)


# ---- series --------------------------------------------------------------------------------------


def test_mackey_glass() -> None:
    want = oracles_echo.mackey_glass(60, 17, 1.2, 0.002)
    got = mackey_glass(60, discard=0)
    np.testing.assert_allclose(got, want, atol=2e-6)
    errors = [
        abs(mackey_glass(80, discard=0, dt=dt) - mackey_glass(80, discard=0, dt=0.0125)).max()
        for dt in (0.1, 0.05)
    ]
    assert errors[0] > 10 * errors[1]  # of fourth order
    long = mackey_glass(500)
    assert 0.2 < long.min() < long.max() < 1.4
    np.testing.assert_array_equal(long[:100], mackey_glass(100))
    np.testing.assert_array_equal(mackey_glass(9, seed=3), mackey_glass(9, seed=3))
    assert abs(mackey_glass(9, seed=3) - mackey_glass(9, seed=4)).max() > 1e-3
    np.testing.assert_allclose(mackey_glass(20, sample=2.0), mackey_glass(40)[::2])
    with pytest.raises(ValueError, match="whole multiples of dt"):
        mackey_glass(10, dt=0.3)


def test_narma10() -> None:
    u, y = narma10(300, seed=4, discard=0)
    past_u, past_y = np.concatenate([np.zeros(9), u[:, 0]]), np.concatenate([np.zeros(10), y[:, 0]])
    for t in range(300):
        old = past_y[t : t + 10]  # the last of them y(t)
        new = 0.3 * old[-1] + 0.05 * old[-1] * old.sum() + 1.5 * past_u[t] * past_u[t + 9] + 0.1
        assert y[t, 0] == pytest.approx(new)
    assert 0 <= u.min() < u.max() <= 0.5
    np.testing.assert_array_equal(narma10(50, seed=4)[1], narma10(50, seed=4)[1])
    for seed in range(5):
        assert narma10(2000, seed=seed)[1].max() < 2


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("taught", [False, True])
def test_masks_with_holes(feedback: bool, taught: bool) -> None:
    """The network does the valid steps, as if there were no others; elsewhere y is 0."""
    esn = network(feedback=feedback, readout=("bias", "input", "state", "output")[: 3 + feedback])
    esn.readout.W.data = mg.randn(*esn.readout.W.shape, dtype="float64") * 0.3
    rng = np.random.default_rng(0)
    u, teacher = rng.normal(size=(7, 4, 2)), rng.normal(size=(7, 4, 3))
    mask = rng.random((7, 4)) < 0.6
    mask[:, 3] = False
    more = {"teacher": mg.tensor(teacher)} if feedback and taught else {}
    y, state = esn(mg.tensor(u), mask=mask, **more)
    assert not y.detach().numpy()[~mask].any()
    for n in range(4):
        at = mask[:, n]
        if more:
            more = {"teacher": mg.tensor(teacher[at, n])}
        alone, after = esn(mg.tensor(u[at, n]), **more)
        same((y[at.nonzero()[0], n], [s[n] for s in state]), (alone, after))
        if more:
            more = {"teacher": mg.tensor(teacher[:, n])}
        same(esn(mg.tensor(u[:, n]), mask=at, **more)[0], y[:, n])


def test_a_network_that_keeps_its_state_takes_a_mask() -> None:
    esn = network()
    u, mask = mg.randn(6, 4, 2, dtype="float64"), np.random.default_rng(1).random((6, 4)) < 0.5
    kept = nn.Stateful(esn)
    pieces = [kept(u[:3], mask=mask[:3]), kept(u[3:], mask=mask[3:])]
    same(mg.cat(pieces), esn(u, mask=mask)[0])


def test_the_number_of_input_scales() -> None:
    with pytest.raises(ValueError, match=r"input_scale \[3\]: a number, or one for each of 2"):
        network(input_scale=(0.1, 0.2, 0.3))
    with pytest.raises(TypeError, match="LSTM: an EchoStateNetwork is needed"):
        fit(nn.LSTM(2, 3), np.zeros((5, 2)), np.zeros((5, 3)))  # type: ignore[arg-type]
