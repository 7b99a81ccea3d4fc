"""Kalman filter training: on a linear model it is recursive least squares; its covariance is safe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from draw import Draw
from fused_pair import SIZES
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import core, learn, nn

# ---- the kernel --------------------------------------------------------------------------------


def group_case(draw: Draw, dtype: str, sizes: list[int], v: int, h: int) -> dict[str, Any]:
    """Symmetric matrices, what to subtract and what to multiply by, for groups of `sizes`."""
    total = sum(sizes)
    P = []
    for n in sizes:
        a = draw.normal(n, n)
        P.append(((a + a.T) / 2 + n * np.eye(n)).astype(dtype))
    return {
        "P": P,
        "V": draw.normal(v, total).astype(dtype),
        "q": draw.rng.random(len(sizes)),
        "H": draw.normal(h, total).astype(dtype),
    }


def covariance(sizes: list[int], P: Any, V: Any, q: Any, H: Any) -> tuple[Any, Any, Any]:
    """core.covariance on ndarrays: (P of each group, PH, least)."""
    flat = core.from_numpy(np.concatenate([p.ravel() for p in P]))
    PH, least = core.covariance(
        flat,
        sizes,
        core.from_numpy(V) if len(V) else None,
        q,
        core.from_numpy(H) if len(H) else None,
    )
    ends = np.cumsum([n * n for n in sizes])[:-1]
    new = [p.reshape(n, n) for p, n in zip(np.split(np.asarray(flat), ends), sizes)]
    return new, None if PH is None else np.asarray(PH), least


@given(data=st.data())
def test_the_covariance_update(data: Any, isa: str) -> None:
    assert core.isa() == isa
    draw = Draw(lambda a, b: data.draw(st.integers(a, b)))
    dtype = draw.choice("float64", "float32")
    sizes = [draw.choice(*SIZES) for _ in range(draw.pick(1, 4))]
    case = group_case(draw, dtype, sizes, draw.pick(0, 6), draw.pick(0, 6))
    new, PH, least = covariance(sizes, **case)
    tolerance = {"float64": 1e-12, "float32": 2e-5}[dtype]
    at = 0
    for g, n in enumerate(sizes):
        V, H = (case[k][:, at : at + n].astype(float) for k in "VH")
        want = case["P"][g] - V.T @ V + case["q"][g] * np.eye(n)
        bound = tolerance * (1 + abs(want).max())
        np.testing.assert_allclose(new[g], want, rtol=0, atol=bound)
        assert (new[g] == new[g].T).all()  # to the last bit
        assert least[g] == np.diagonal(new[g]).min()
        if PH is not None:
            np.testing.assert_allclose(PH[:, at : at + n], H @ want, rtol=0, atol=10 * n * bound)
        at += n
    assert (PH is None) == (len(case["H"]) == 0)


def test_the_same_bits_for_any_number_of_threads() -> None:
    before, found = core.get_num_threads(), set()
    for threads in (1, 2, 3):
        core.set_num_threads(threads)
        draw = Draw(lambda a, b: (a + b) // 2)
        new, PH, _ = covariance([700, 3, 260], **group_case(draw, "float32", [700, 3, 260], 3, 5))
        found.add((*(p.tobytes() for p in new), PH.tobytes()))
    core.set_num_threads(before)
    assert len(found) == 1


def test_a_nan_is_the_least() -> None:
    P = [np.array([[np.nan, 0.0], [0.0, 1.0]]), np.eye(1)]
    none = np.zeros((0, 3))
    _, _, least = covariance([2, 1], P, none, [0.0, 0.0], none)
    assert np.isnan(least[0])
    assert least[1] == 1


def test_operands_that_do_not_fit() -> None:
    P = core.from_numpy(np.eye(3).ravel())
    for bad in (
        {"sizes": [2, 1]},
        {"sizes": [-3]},
        {"q": [0.0, 0.0]},
        {"H": core.from_numpy(np.zeros((1, 2)))},
        {"V": core.from_numpy(np.zeros((1, 3), np.float32))},
    ):
        args: dict[str, Any] = {"P": P, "sizes": [3], "V": None, "q": [0.0], "H": None, **bad}
        with pytest.raises(ValueError, match="covariance"):
            core.covariance(**args)


# ---- equal to recursive least squares -------------------------------------------------------------


@given(st.data())
def test_on_a_linear_model_it_is_recursive_least_squares(data: Any) -> None:
    draw = Draw(lambda a, b: data.draw(st.integers(a, b)))
    inputs, outputs, count, r = draw.pick(1, 5), draw.pick(1, 3), draw.pick(1, 30), 0.5
    model = nn.Linear(inputs, outputs, dtype="float64")
    X, Y = draw.normal(count, inputs), draw.normal(count, outputs)
    w = np.concatenate([np.array(model.weight.T), np.array(model.bias)[None]])
    ekf = learn.EKF(model, r=r, p0=10.0, groups=draw.choice("global", "node"))
    P = 10.0 * np.eye(inputs + 1)
    for x, y in zip(X, Y):
        a = np.append(x, 1.0)
        loss = ekf.step(model(mg.from_numpy(x)), y)
        error = y - a @ w
        np.testing.assert_allclose(loss, 0.5 * error @ error, rtol=1e-10, atol=1e-14)
        k = P @ a / (r + a @ P @ a)
        w = w + np.outer(k, error)
        P = P - np.outer(k, a @ P)
    got = np.concatenate([np.array(model.weight.T), np.array(model.bias)[None]])
    np.testing.assert_allclose(got, w, rtol=0, atol=1e-11 * (1 + abs(w).max()))
    if len(ekf.sizes) > 1:
        for block in ekf.P:
            np.testing.assert_allclose(block, P, rtol=0, atol=1e-11)


def test_which_is_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 4)), rng.standard_normal(40)
    model = nn.Linear(4, 1, bias=False, dtype="float64")
    with mg.no_grad():
        model.weight.zero_()
    ekf = learn.EKF(model, r=0.3, p0=2.0)
    for a, b in zip(X, y):
        ekf.step(model(mg.from_numpy(a)), [b])
    inverse = np.linalg.inv(X.T @ X / 0.3 + np.eye(4) / 2.0)
    np.testing.assert_allclose(np.array(model.weight)[0], inverse @ X.T @ y / 0.3, atol=1e-12)
    np.testing.assert_allclose(ekf.P[0], inverse, atol=1e-12)


def test_observations_at_once_are_observations_one_by_one() -> None:
    """Multi-stream: of a linear model the order does not matter, and neither does the grouping."""
    rng = np.random.default_rng(1)
    X, Y = (mg.from_numpy(rng.standard_normal((12, n))) for n in (3, 2))
    weights = []
    for size in (1, 4, 12):
        mg.manual_seed(0)
        model = nn.Linear(3, 2, dtype="float64")
        ekf = learn.EKF(model, r=0.1)
        for k in range(0, 12, size):
            ekf.step(model(X[k : k + size]), Y[k : k + size])
        weights.append(np.array(model.weight))
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-10)
    np.testing.assert_allclose(weights[0], weights[2], atol=1e-10)


# ---- groups ------------------------------------------------------------------------------------


class Tagger(nn.Module):
    """A recurrent layer and a readout."""

    def __init__(self, cell: Any, outputs: int = 2) -> None:
        super().__init__()
        self.layer, self.out = nn.Recurrent(cell), nn.Linear(cell.hidden_size, outputs)
        self.double()

    def forward(self, x: Any) -> Any:
        return self.out(self.layer(x)[0])


def test_groups() -> None:
    H, inputs = 4, 3
    each = {
        nn.RNNCell: inputs + H + 1,
        nn.LSTMCell: 4 * (inputs + H + 1),
        nn.GRUCell: 3 * (inputs + H + 1),
    }
    for cell, size in each.items():
        model = Tagger(cell(inputs, H))
        assert learn.EKF(model).sizes == [H * size + 2 * (H + 1)]
        assert learn.EKF(model, groups="layer").sizes == [H * size, 2 * (H + 1)]
        assert learn.EKF(model, groups="node").sizes == [size] * H + [H + 1] * 2
    params = list(model.parameters())
    assert learn.EKF(params, groups="layer").sizes == [p.numel() for p in params]
    model.out.weight.requires_grad_(False)
    assert learn.EKF(model, groups="layer").sizes == [H * size, 2]


def test_decoupled_is_global_without_the_blocks_between_groups() -> None:
    """One step of each from the same P: the same K; P differs by what is left out."""
    changes = []
    for groups in ("global", "layer", "node"):
        mg.manual_seed(3)
        model = Tagger(nn.GRUCell(2, 3))
        before = [np.array(p) for p in model.parameters()]
        ekf = learn.EKF(model, r=0.5, groups=groups)
        ekf.step(model(mg.randn(4, 1, 2, dtype="float64"))[-1], np.ones((1, 2)))
        changes.append(np.concatenate(
            [(np.asarray(p) - b).ravel() for p, b in zip(model.parameters(), before)]))  # fmt: skip
    np.testing.assert_allclose(changes[0], changes[1], atol=1e-12)
    np.testing.assert_allclose(changes[0], changes[2], atol=1e-12)


# ---- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", ["global", "node"])
@pytest.mark.parametrize("by", ["bptt", "rtrl"])
def test_it_learns_a_recurrent_task(groups: str, by: str) -> None:
    """y_t = x_{t-1}, by an Elman network of 6 units, in two passes over 150 steps."""
    mg.manual_seed(0)
    model = Tagger(nn.RNNCell(1, 6), outputs=1)
    x = mg.rand(151, 1, 1, dtype="float64") * 2 - 1
    target = x[:-1]
    q = learn.annealed(1e-2, 1e-5, 300)
    ekf = learn.EKF(model, r=0.1, q=q, p0=1.0, groups=groups)
    losses = []
    for _ in range(2):
        rtrl = learn.RTRL(model.layer.cell)
        for t in range(1, 151):
            h = rtrl.step(x[t])
            if by == "rtrl":
                losses.append(ekf.step(model.out(h), target[t - 1], rtrl.jacobian))
            else:
                y = model(x[max(0, t - 3) : t + 1])[-1]  # a window of four steps
                losses.append(ekf.step(y, target[t - 1]))
    assert np.mean(losses[-100:]) < np.mean(losses[:50]) / 5
    low, high = ekf.eigenvalues()
    assert 0 < low <= high


def test_the_covariance_stays_positive_definite() -> None:
    """The same few directions seen 1500 times, with noise 1e9 times below p0."""
    rng = np.random.default_rng(0)
    model = nn.Linear(20, 1, dtype="float64")
    ekf = learn.EKF(model, r=1e-6, q=1e-8, p0=1e3)
    rows = rng.standard_normal((3, 20))
    for t in range(1500):
        x = mg.from_numpy(rows[t % 3] + 1e-3 * rng.standard_normal(20))
        ekf.step(model(x), [0.5])
    (P,) = ekf.P
    assert (P == P.T).all()
    low, high = ekf.eigenvalues()
    assert 0 < low < high / 100
    np.linalg.cholesky(P)


def test_a_covariance_that_rounding_used_up_is_noticed() -> None:
    rng = np.random.default_rng(0)
    model = nn.Linear(20, 1)
    ekf = learn.EKF(model, r=1e-9, p0=1e4, dtype="float32")
    before = np.array(model.weight)

    def observe() -> None:
        for _ in range(2000):
            before[...] = np.array(model.weight)
            ekf.step(model(mg.from_numpy(rng.standard_normal(20).astype("float32"))), [0.5])

    with pytest.raises(ArithmeticError, match="float64"):
        observe()
    assert (np.array(model.weight) == before).all()


def test_a_filter_goes_on_from_its_state() -> None:
    def observe(model: Any, ekf: Any, ts: Any) -> None:
        rng = np.random.default_rng(2)
        X, Y = rng.standard_normal((20, 3, 1, 2)), rng.standard_normal((20, 1, 2))
        for t in ts:
            ekf.step(model(mg.from_numpy(X[t]))[-1], Y[t])

    options: dict[str, Any] = {"q": learn.annealed(1e-2, 1e-4, 20), "groups": "node"}
    mg.manual_seed(5)
    one = Tagger(nn.LSTMCell(2, 3))
    ekf = learn.EKF(one, **options)
    observe(one, ekf, range(10))
    two = Tagger(nn.LSTMCell(2, 3))
    two.load_state_dict(one.state_dict())
    again = learn.EKF(two, **options)
    again.load_state_dict(ekf.state_dict())
    observe(one, ekf, range(10, 20))
    observe(two, again, range(10, 20))
    assert again.t == 20
    for p, r in zip(one.parameters(), two.parameters()):
        assert np.array(p).tobytes() == np.array(r).tobytes()
    with pytest.raises(ValueError, match="groups of"):
        learn.EKF(two).load_state_dict(ekf.state_dict())


def test_schedules() -> None:
    q = learn.annealed(1.0, 1e-4, 4)
    np.testing.assert_allclose([q(t) for t in (0, 1, 4, 9)], [1, 0.1, 1e-4, 1e-4])
    model = nn.Linear(1, 1, bias=False, dtype="float64")
    seen: list[int] = []
    ekf = learn.EKF(model, r=lambda t: float(seen.append(t) or 1), q=0.25, p0=1.0)
    for _ in range(2):
        ekf.step(model(mg.zeros(1, dtype="float64")), [0.0])
    assert seen == [0, 1]
    assert ekf.P[0] == [[1.5]]  # an observation that says nothing: the process noise remains


def test_errors_say_what_to_do() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="global"):
        learn.EKF(model, groups="gate")
    with pytest.raises(ValueError, match="the model itself"):
        learn.EKF(list(model.parameters()), groups="node")
    with pytest.raises(ValueError, match="no parameters"):
        learn.EKF([])
    with pytest.raises(ValueError, match="p0=0"):
        learn.EKF(model, p0=0)
    with pytest.raises(ValueError, match="above 0"):
        learn.annealed(1, 0, 5)
    ekf = learn.EKF(model, r=-1)
    with pytest.raises(ValueError, match=r"outputs \[2\], targets \[1\]"):
        ekf.step(model(mg.zeros(2)), [1.0])
    with pytest.raises(ValueError, match="r above 0"):
        ekf.step(model(mg.zeros(2)), [1.0, 1.0])
    ekf.r = 1.0
    before = np.array(model.weight)
    with pytest.raises(ValueError, match="not finite"):
        ekf.step(model(mg.zeros(2)), [1.0, np.nan])
    assert (np.array(model.weight) == before).all()
