"""Sparse products and reservoirs: C against NumPy, the cell against both, the laws."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import oracles_echo
import pytest
from cell_table import leaf, same, weighted
from draw import Draw, seeded
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import core, nn
from minigrad._core import ffi, lib
from minigrad.check import gradcheck
from minigrad.nn.spectral import BASIS, largest_eigenvalue
from minigrad.ops.sparse import spmm

SIZES = (1, 2, 3, 7, 8, 15, 16, 17, 33, 65)
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}


def pattern_of(mask: Any) -> core.Pattern:
    first = np.concatenate([[0], np.cumsum(mask.sum(1))])
    return core.Pattern(first, np.nonzero(mask)[1], mask.shape)


def sparse(draw: Draw, rows: int, columns: int, dtype: str) -> tuple[Any, core.Pattern, Any]:
    """(dense A, its pattern, its values): some rows are empty, some lengths differ."""
    mask = draw.rng.random((rows, columns)) < draw.choice(0.0, 0.1, 0.5, 1.0)
    mask[draw.rng.random(rows) < 0.2] = False
    A = np.where(mask, draw.normal(rows, columns) / np.sqrt(columns), 0).astype(dtype)
    return A, pattern_of(mask), mg.from_numpy(A[mask])


def cell_of(draw: Draw, inputs: int, units: int, dtype: str = "float64", **options: Any) -> Any:
    """A cell with an arbitrary matrix."""
    U, _, _ = sparse(draw, units, units, "float64")
    return nn.EchoStateCell(
        inputs, units, weights=U, leak=draw.choice(1.0, 0.3), dtype=dtype,
        seed=draw.pick(0, 99), bias_scale=draw.choice(0.0, 0.5), **options,
    )  # fmt: skip


def oracle(cell: Any, x: Any, h0: Any) -> Any:
    b = None if cell.b is None else cell.b.numpy().astype(float)
    U = cell.dense().astype(float)
    return oracles_echo.reservoir(
        x, cell.W.numpy().astype(float), U, b, h0, cell.leak, cell.nonlinearity
    )


# ---- products --------------------------------------------------------------------------------


@given(data=st.data())
def test_spmm(isa: str, dtype: str, data: Any) -> None:
    del isa
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    rows, columns, n = draw.choice(*SIZES), draw.choice(*SIZES), draw.choice(0, 1, 2, 5, 16, 17, 40)
    A, pattern, values = sparse(draw, rows, columns, dtype)
    x = draw.normal(n, columns).astype(dtype)
    y = spmm(values, mg.from_numpy(draw.laid_out(x)), pattern)
    np.testing.assert_allclose(
        y.numpy(), x.astype(float) @ A.T.astype(float), atol=10 * TOLERANCE[dtype]
    )


def test_spmm_of_more_dimensions_and_of_none() -> None:
    A, pattern, values = sparse(seeded(1), 5, 7, "float64")
    x = mg.randn(2, 3, 7, dtype="float64")
    np.testing.assert_allclose(spmm(values, x, pattern).numpy(), x.numpy() @ A.T, atol=1e-12)
    np.testing.assert_allclose(spmm(values, x[0, 0], pattern).numpy(), x[0, 0].numpy() @ A.T)
    with pytest.raises(ValueError, match=r"spmm: x \[2, 3\]: \[\.\.\., 7\] is needed"):
        spmm(values, mg.zeros(2, 3, dtype="float64"), pattern)
    with pytest.raises(ValueError, match="values"):
        spmm(values[1:], x, pattern)
    with pytest.raises(TypeError, match="one floating type"):
        spmm(values, x.float(), pattern)


def test_pattern_refuses_what_would_harm_memory() -> None:
    good = core.Pattern([0, 1, 3], [2, 0, 1], (2, 3))
    assert good.rows.tolist() == [0, 1, 1]
    other, order = good.transposed
    assert (other.first.tolist(), other.index.tolist(), order.tolist()) == (
        [0, 1, 2, 3], [1, 1, 0], [1, 2, 0],
    )  # fmt: skip
    for first in ([0, 1], [0, 2, 1], [1, 1, 3], [0, 1, 4]):
        with pytest.raises(ValueError, match="must have 3 numbers that ascend"):
            core.Pattern(first, [2, 0, 1], (2, 3))
    for index in ([2, 1, 0], [2, 0, 0], [3, 0, 1], [-1, 0, 1]):
        with pytest.raises(ValueError, match="columns must ascend"):
            core.Pattern([0, 1, 3], index, (2, 3))
    with pytest.raises(ValueError, match="integers"):
        core.Pattern([0, 1, 3], [2.0, 0, 1], (2, 3))


def test_the_door_refuses_what_is_no_reservoir() -> None:
    good = [core.F64, -1, 1, 1, 1, 1, 0]
    for place, value in ((0, 7), (1, core.MAP["exp"]), (2, 0), (3, 0), (4, 0), (5, 0)):
        form = [*good[:place], value, *good[place + 1 :]]
        assert (
            lib.mg_reservoir(form, [ffi.NULL] * 8, ffi.NULL, ffi.NULL, 1.0, ffi.NULL)
            == lib.MG_BAD_OP
        )
    with pytest.raises(ValueError, match=r"\[2, 900000\]: a square one"):
        core.Reservoir(core.Pattern([0, 1, 2], [500000, 800000], (2, 900000)), "tanh", 1.0)


# ---- all steps in C --------------------------------------------------------------------------


@given(data=st.data())
def test_reservoir(isa: str, dtype: str, data: Any) -> None:
    """Over sizes, functions, batches, few and many inputs and steps, directions, initial states."""
    del isa
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    f = draw.choice(*core.sparse.FUNCTIONS)
    steps, n, inputs = draw.choice(1, 3, 4, 9), draw.choice(1, 2, 5, 17, 33), draw.choice(1, 4, 5)
    cell = cell_of(draw, inputs, draw.choice(*SIZES), dtype, nonlinearity=f)
    x = draw.normal(steps, n, inputs).astype(dtype)
    h0 = draw.normal(n, cell.hidden_size).astype(dtype) * draw.choice(0, 1)
    reverse = draw.flag()
    want = oracle(cell, x[::-1] if reverse else x, h0.astype(float))
    layer = nn.Recurrent(cell, reverse=reverse, fused=True)
    y, (h,) = layer(mg.from_numpy(x), (mg.from_numpy(h0),) if h0.any() else None)
    bound = TOLERANCE[dtype] * (10 + abs(want).max(initial=0))
    np.testing.assert_allclose(y.numpy(), want[::-1] if reverse else want, rtol=0, atol=bound)
    np.testing.assert_allclose(h.numpy(), want[-1], rtol=0, atol=bound)


def test_many_units_and_steps(dtype: str) -> None:
    """Indices of 32 bits; several blocks of steps."""
    draw = seeded(5)
    for units, steps in ((70_000, 5), (300, 700)):
        cell = nn.EchoStateCell(
            1, units, weights=None if units < 1000 else _band(units), seed=1, dtype=dtype
        )
        x = draw.normal(steps, 1, 1).astype(dtype)
        y, _ = nn.Recurrent(cell, fused=True)(mg.from_numpy(x))
        h = np.zeros((1, units))
        W, b = (a.numpy().astype(float) for a in (cell.W, cell.b))
        values, pattern = cell.U.double(), cell.pattern
        for t in range(steps):
            h = np.tanh(x[t] @ W + b + spmm(values, mg.from_numpy(h), pattern).numpy())
            np.testing.assert_allclose(y[t].numpy(), h, atol=100 * TOLERANCE[dtype])


def _band(units: int) -> Any:
    """A reservoir of many units as (first, index, values)."""
    index = np.sort(np.arange(units)[:, None] * 7 % units + np.array([0, 1]), 1) % units
    return np.arange(0, 2 * units + 1, 2), np.sort(index, 1).ravel(), np.full(2 * units, 0.4)


def test_units_hear_no_padding_of_slices() -> None:
    """A unit that is infinite does not reach units that do not hear it."""
    U = np.zeros((20, 20))
    U[0, 1], U[:5, 7] = 1.0, 1.0
    cell = nn.EchoStateCell(
        1, 20, weights=U, nonlinearity="identity", bias_scale=0, dtype="float64"
    )
    h0 = np.zeros((1, 20))
    h0[0, 9] = np.inf
    y, _ = nn.Recurrent(cell, fused=True)(mg.zeros(6, 1, 1, dtype="float64"), (mg.from_numpy(h0),))
    assert np.isfinite(y.numpy()).all()


@pytest.mark.usefixtures("machine")
def test_threads_give_the_same_bits() -> None:
    for units, n, heard in ((3000, 1, 40), (40, 70, 10), (300, 1, 10)):
        cell = (
            nn.EchoStateCell(
                2, units, weights=None, spectral_radius=None, connectivity=heard / units, seed=1
            )
            if units < 1000
            else _large(units, heard)
        )
        x, results = mg.randn(6, n, 2), []
        for threads in (1, 2, 3):
            core.set_num_threads(threads)
            results.append(nn.Recurrent(cell, fused=True)(x))
        for other in results[1:]:
            same(results[0], other, tolerance=0)


def _large(units: int, heard: int) -> Any:
    rng = np.random.default_rng(0)
    index = np.concatenate([np.sort(rng.choice(units, heard, replace=False)) for _ in range(units)])
    return nn.EchoStateCell(
        2, units, weights=(np.arange(units + 1) * heard, index, rng.uniform(-0.1, 0.1, index.size))
    )


# ---- the cell --------------------------------------------------------------------------------


@given(data=st.data())
def test_fused_is_readable(data: Any) -> None:
    """Outputs, states and the gradients of input and initial state; with lengths, both directions."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    cells = [cell_of(draw, 3, draw.choice(*SIZES[:7])) for _ in range(2)]
    steps, n = draw.pick(1, 6), draw.pick(1, 4)
    x = leaf(draw.normal(steps, n, 3))
    lengths = draw.choice(None, draw.rng.integers(0, steps + 1, n))
    h = [leaf(draw.normal(n, c.hidden_size)) for c in cells]
    results = []
    for fused in (True, False):
        layer = nn.Bidirectional(*cells, fused=fused)
        y, state = layer(x, tuple((s,) for s in h), lengths)
        results.append((y, state, mg.grad(weighted((y, state)), [x, *h])))
    same(*results)


def test_gradients_by_finite_differences() -> None:
    draw = seeded(3)
    cell = cell_of(draw, 2, 5)
    for fused in (True, False):
        layer = nn.Recurrent(cell, fused=fused)
        x, h = leaf(draw.normal(3, 2, 2)), leaf(draw.normal(2, 5))
        assert gradcheck(lambda x, h, layer=layer: layer(x, (h,))[0], (x, h))
        (dx,) = mg.grad(weighted(layer(x, (h,))), x, create_graph=True)
        assert mg.grad((dx * dx).sum(), x)[0].shape == x.shape


def test_with_leak_1_it_is_elman_without_gradient() -> None:
    draw = seeded(4)
    echo = nn.EchoStateCell(3, 6, spectral_radius=0.7, connectivity=0.5, seed=1, dtype="float64")
    elman = nn.RNNCell(3, 6, dtype="float64")
    elman.load_state_dict({"W": echo.W, "U": echo.dense(), "b": echo.b})
    x = leaf(draw.normal(5, 2, 3))
    results = []
    for cell in (echo, elman):
        y, state = nn.Recurrent(cell)(x)
        results.append((y, state, mg.grad(weighted((y, state)), x)))
    same(*results)
    assert list(echo.parameters()) == []


def test_batches_and_cuts_change_nothing() -> None:
    """N sequences are N batches of 1; T₁ + T₂ steps are T₁, then T₂."""
    draw = seeded(6)
    cell = cell_of(draw, 2, 33)
    layer, x = nn.Recurrent(cell), mg.from_numpy(draw.normal(9, 5, 2))
    y, (h,) = layer(x)
    for i in range(5):
        one, (last,) = layer(x[:, i : i + 1])
        same((y[:, i : i + 1], h[i : i + 1]), (one, last))
    first, state = layer(x[:4])
    second, state = layer(x[4:], state)
    same((y, h), (mg.cat([first, second]), state))
    step = cell(x[0])
    same(step, y[0])


def test_state_dict_copy_and_pickle_keep_the_reservoir() -> None:
    a, b = (nn.EchoStateCell(2, 30, connectivity=0.1, seed=s) for s in (1, 2))
    x = mg.randn(4, 3, 2)
    before = nn.Recurrent(b)(x)[0]
    b.load_state_dict(a.state_dict())
    same(nn.Recurrent(a)(x)[0], nn.Recurrent(b)(x)[0], 0)
    same(nn.Recurrent(a, fused=False)(x)[0], nn.Recurrent(b, fused=False)(x)[0], 0)
    assert not np.allclose(before.numpy(), nn.Recurrent(b)(x)[0].numpy())
    same(nn.Recurrent(copy.deepcopy(a))(x)[0], nn.Recurrent(a)(x)[0], 0)
    assert nn.Recurrent(a.double())(x.double())[0].dtype == np.float64


def test_noise_is_for_training_mode_alone() -> None:
    cell = nn.EchoStateCell(1, 20, noise=0.1, seed=1)
    layer, x = nn.Recurrent(cell), mg.zeros(300, 1, 1)
    layer.eval()
    quiet, _ = layer(x)
    same(quiet, layer(x)[0], 0)
    layer.train()
    mg.manual_seed(0)
    with mg.no_grad():
        fused, _ = layer(x)
    mg.manual_seed(0)
    readable, _ = layer.unroll(x, None, None)
    same(fused, readable, 1e-5)
    assert 0.02 < (fused - quiet).numpy().std() < 0.3
    assert mg.grad(layer(x.requires_grad_())[0].sum(), x)[0].shape == x.shape  # step by step
    with pytest.raises(ValueError, match="step by step"):
        nn.Recurrent(cell, fused=True)(x)


def test_what_is_drawn() -> None:
    cell = nn.EchoStateCell(3, 50, 0.8, 0.1, input_scale=[0.1, 1.0, 0.0], bias_scale=0, seed=7)
    U = cell.dense()
    assert (np.count_nonzero(U, 0) == 5).all()  # each unit hears five
    W = abs(cell.W.numpy()).max(1)
    assert W[0] <= 0.1 < 0.5 < W[1] <= 1
    assert W[2] == 0
    assert cell.b is None
    again = nn.EchoStateCell(3, 50, 0.8, 0.1, input_scale=[0.1, 1.0, 0.0], bias_scale=0, seed=7)
    assert (again.dense() == U).all()
    mg.manual_seed(3)
    first = nn.EchoStateCell(3, 50).dense()
    mg.manual_seed(3)
    assert (nn.EchoStateCell(3, 50).dense() == first).all()
    for wrong, match in (
        ({"leak": 0}, "leak"), ({"leak": 1.5}, "leak"), ({"connectivity": 0}, "connectivity"),
        ({"spectral_radius": 0}, "spectral_radius"), ({"nonlinearity": "exp"}, "nonlinearity"),
        ({"noise": -1}, "noise"), ({"weights": np.zeros((3, 3))}, r"\[50, 50\] is needed"),
        ({"weights": np.eye(50, k=1), "spectral_radius": 0.9}, "in a circle"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            nn.EchoStateCell(3, 50, **wrong)


# ---- spectral radius and norm ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "heard"), [(5, 2), (100, 10), (BASIS + 1, 3), (300, 5), (400, 20)]
)
def test_spectral_radius_is_exact(units: int, heard: int) -> None:
    for seed in range(3):
        cell = nn.EchoStateCell(1, units, 0.9, heard / units, seed=seed, dtype="float64")
        values = abs(np.linalg.eigvals(cell.dense()))
        assert values.max() == pytest.approx(0.9, rel=1e-8)
        assert cell.spectral_radius() == pytest.approx(values.max(), rel=1e-8)
        assert cell.spectral_norm() == pytest.approx(np.linalg.norm(cell.dense(), 2), rel=1e-8)


def test_special_matrices() -> None:
    n, rng = 200, np.random.default_rng(0)
    rotation = np.roll(np.eye(n), 1, 0)  # all eigenvalues on the circle
    block = np.zeros((n, n))
    block[:3, :3] = [[0, -2, 0], [2, 0, 0], [0, 0, 1]]  # a pair 2 i, rank 3
    normal = rng.standard_normal((n, n))
    for A in (np.eye(n), block, normal + normal.T, np.diag(np.linspace(-1, 0.9, n))):
        found = largest_eigenvalue(lambda x, A=A: A @ x, n)
        assert abs(found) == pytest.approx(abs(np.linalg.eigvals(A)).max(), rel=1e-8)
    assert largest_eigenvalue(lambda x: 0 * x, n) == 0
    with pytest.raises(RuntimeError, match="another seed"):
        largest_eigenvalue(lambda x: rotation @ x, n, restarts=3)
