"""Back-propagation through time in its parts: each equals what autograd gives, or a derivation."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from cell_table import KINDS, Kind, every_kind
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import learn, nn


def squares(t: int, y: Any) -> Any:
    """A loss of its own at each step but every third."""
    return None if t % 3 == 2 else ((y - 0.1 * t) ** 2).sum()


class Linear(nn.Cell):
    """h' = x W + h U + b, a cell of one's own."""

    def step(self, z: Any, state: Any) -> Any:
        h = z + state[0] @ self.U
        return h, (h,)


def with_copies(cell: Any, x: Any, name: str) -> Any:
    """Terms [T, T, …] by brute force: a copy of the parameter for each step."""
    T = x.shape[0]
    copies = [getattr(cell, name).detach().clone().requires_grad_() for _ in range(T)]
    state, losses = cell.initial(x.shape[1]), []
    for t in range(T):
        twin = copy.copy(cell)
        vars(twin)[name] = copies[t]
        y, state = twin.advance(twin.project(x[t]), state)
        losses.append(squares(t, y))
    rows = []
    for loss in losses:
        found = [None] * T
        if loss is not None:
            found = mg.grad(loss, copies, retain_graph=True, allow_unused=True)
        rows.append([np.zeros(copies[0].shape) if g is None else np.array(g) for g in found])
    return np.array(rows)


@every_kind
def test_terms(kind: Kind) -> None:
    """B1: the (t, k) terms are those of a weight with a copy for each step, and sum up to autograd's."""
    cell = kind.make(2, 3)
    x = mg.randn(5, 2, 2, dtype="float64")
    parts = learn.BPTT(cell, x, squares)
    assert parts.check() < 1e-12
    y, _ = nn.Recurrent(cell)(x)
    losses = [0 if (loss := squares(t, y[t])) is None else loss.item() for t in range(5)]
    np.testing.assert_allclose(parts.losses, losses, rtol=1e-12)
    for name, p in cell.named_parameters():
        terms = parts.terms(name)
        assert terms.shape == (5, 5, *p.shape)
        np.testing.assert_allclose(terms, with_copies(cell, x, name), rtol=1e-9, atol=1e-12)


@every_kind
def test_products_of_jacobians(kind: Kind) -> None:
    """B2: ∂s_t/∂s_k by differentiating through the steps between; and what arrives at each step."""
    cell = kind.make(2, 3)
    x = mg.randn(4, 2, 2, dtype="float64")
    parts = learn.BPTT(cell, x, squares)
    n, k, t = parts.transition.n, 1, 3
    state = cell.initial(2)
    for j in range(k + 1):
        _, state = cell.advance(cell.project(x[j]), state)
    state = parts.transition.leaves(state)  # after step k
    before = parts.transition.reals(state)
    at = np.concatenate([s.detach() for s in before], -1)
    np.testing.assert_allclose(at, parts.states[k + 1], rtol=1e-12, atol=1e-14)
    for j in range(k + 1, t + 1):
        _, state = cell.advance(cell.project(x[j]), state)
    last = mg.cat(list(parts.transition.reals(state)), -1)
    for i in range(n):
        found = mg.grad(last[:, i].sum(), before, retain_graph=True, allow_unused=True)
        g = np.concatenate(
            [np.zeros(s.shape) if d is None else d for d, s in zip(found, before)], -1
        )
        np.testing.assert_allclose(parts.products[t, k, :, i], g, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(parts.products[2, 2, 0], np.eye(n))
    assert not parts.products[1, 2].any()
    assert (parts.norms <= parts.bound * (1 + 1e-12)).all()


def test_several_layers() -> None:
    layers = nn.LSTM(2, 3, num_layers=2, dtype="float64")
    x = mg.randn(4, 2, 2, dtype="float64")
    parts = learn.BPTT(layers, x, squares)
    assert parts.transition.n == 12
    assert parts.check() < 1e-12


def test_an_initial_state_and_no_loss() -> None:
    cell = nn.GRUCell(2, 3, dtype="float64")
    x, h = mg.randn(4, 2, 2, dtype="float64"), mg.randn(2, 3, dtype="float64")
    parts = learn.BPTT(cell, x, squares, h)
    np.testing.assert_array_equal(parts.states[0], h)
    assert parts.check() < 1e-12
    nothing = learn.BPTT(cell, x, lambda t, y: None)  # noqa: ARG005
    assert nothing.check() == 0
    assert not nothing.terms("W").any()
    with pytest.raises(ValueError, match="no parameter 'V'; there are W, U, b, Un"):
        parts.terms("V")


def test_the_check_can_fail() -> None:
    cell = nn.RNNCell(2, 3, dtype="float64")
    parts = learn.BPTT(cell, mg.randn(4, 2, 2, dtype="float64"), squares)
    parts._D[2] *= 1.01
    with pytest.raises(AssertionError, match="the terms and autograd differ by"):
        parts.check()


@given(st.floats(0.1, 1.5), st.integers(0, 99))
def test_the_bound(scale: float, seed: int) -> None:
    """B3: ‖∂h_t/∂h_k‖ ≤ (β_W β_h)^(t-k), with equality for a linear cell with an orthogonal U."""
    mg.manual_seed(seed)
    cell = nn.RNNCell(2, 4, dtype="float64")
    nn.init.orthogonal_(cell.U, gain=scale)
    assert learn.elman_bound(cell) == pytest.approx(scale)
    x = mg.randn(8, 2, 2, dtype="float64")
    parts = learn.BPTT(cell, x, squares)
    for t in range(8):
        for k in range(t + 1):
            assert (parts.norms[t, k] <= scale ** (t - k) * (1 + 1e-9)).all()
    linear = Linear(2, 4, dtype="float64")
    linear.U = cell.U
    np.testing.assert_allclose(learn.BPTT(linear, x, squares).norms[7, 0], scale**7, rtol=1e-9)


# ---- by hand ----------------------------------------------------------------------------------------


def test_three_scalar_steps_by_hand() -> None:
    """B4: ∂L_t/∂w_x = Σ_k ∂L_t/∂o_t ∂o_t/∂s_t (Π tanh'(θ_j)) x_{t+1-k} w_s^(k-1), each term."""
    w_x, w_s, w_o, xs, ys = 0.7, 0.9, 1.3, [0.5, -1.0, 0.8], [1.0, 0.0, 1.0]
    cell = nn.RNNCell(1, 1, bias=False, dtype="float64")
    with mg.no_grad():
        cell.W.fill_(w_x)
        cell.U.fill_(w_s)
    x = mg.tensor(xs, dtype="float64").reshape(3, 1, 1)

    def loss_of(t: int, h: Any) -> Any:
        o = mg.sigmoid(w_o * h)
        return -(ys[t] * mg.log(o) + (1 - ys[t]) * mg.log(1 - o)).sum()

    parts = learn.BPTT(cell, x, loss_of)
    s = [0.0]
    for v in xs:
        s.append(math.tanh(w_x * v + w_s * s[-1]))
    for t in (1, 2, 3):
        o = 1 / (1 + math.exp(-w_o * s[t]))
        for k in range(1, t + 1):
            path = math.prod(1 - s[j] ** 2 for j in range(t + 1 - k, t + 1))
            common = (o - ys[t - 1]) * w_o * path * w_s ** (k - 1)
            at = t - 1, t - k  # our [t, k]: step k from the front
            assert abs(parts.terms("W")[at].item() - common * xs[t - k]) <= 1e-15
            assert abs(parts.terms("U")[at].item() - common * s[t - k]) <= 1e-15


@given(st.integers(0, 99))
def test_lstm_backward_by_hand(seed: int) -> None:
    """B14: the whole backward pass of an LSTM, written out, equals autograd's."""
    mg.manual_seed(seed)
    T, N, H = 4, 2, 3
    cell = nn.LSTMCell(2, H, dtype="float64")
    x, weights = mg.randn(T, N, 2, dtype="float64"), mg.randn(T, N, H, dtype="float64").numpy()
    W, U, b = (np.array(p.detach()) for p in (cell.W, cell.U, cell.b))

    def sigma(v: Any) -> Any:
        return 1 / (1 + np.exp(-v))

    hs, cs, kept = [np.zeros((N, H))], [np.zeros((N, H))], []
    for x_t in x.numpy():
        i, f, g, o = np.split(x_t @ W + hs[-1] @ U + b, 4, 1)
        i, f, g, o = sigma(i), sigma(f), np.tanh(g), sigma(o)
        cs.append(f * cs[-1] + i * g)
        hs.append(o * np.tanh(cs[-1]))
        kept.append((i, f, g, o))
    dW, dU, db, dh, dc = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b), 0.0, 0.0
    for t in reversed(range(T)):
        i, f, g, o = kept[t]
        tanh_c = np.tanh(cs[t + 1])
        dh = dh + weights[t]
        do = dh * tanh_c * o * (1 - o)
        dc = dc + dh * o * (1 - tanh_c**2)
        df, di, dg = dc * cs[t] * f * (1 - f), dc * g * i * (1 - i), dc * i * (1 - g**2)
        dz = np.concatenate([di, df, dg, do], 1)
        dW, dU, db = dW + x.numpy()[t].T @ dz, dU + hs[t].T @ dz, db + dz.sum(0)
        dh, dc = dz @ U.T, dc * f
    y, _ = nn.Recurrent(cell)(x)
    found = mg.grad((y * mg.from_numpy(weights)).sum(), [cell.W, cell.U, cell.b])
    for g, wanted in zip(found, (dW, dU, db)):
        np.testing.assert_allclose(g, wanted, rtol=1e-10, atol=1e-13)


# ---- which way ----------------------------------------------------------------------------------------


@every_kind
def test_flow_adds_up(kind: Kind) -> None:
    cell = kind.make(2, 3)
    x = mg.randn(5, 2, 2, dtype="float64", requires_grad=True)
    flow = learn.gradient_flow(cell, x, squares)
    y, _ = nn.Recurrent(cell)(x)
    total = mg.zeros((), dtype="float64")
    for t in range(5):
        loss = squares(t, y[t])
        total = total if loss is None else total + loss
    (dx,) = mg.grad(total, x)
    np.testing.assert_allclose(flow.input, np.linalg.norm(dx.numpy(), axis=-1), rtol=1e-10)
    parts = learn.BPTT(cell, x, squares)
    whole = parts.arriving.sum(0)  # [k]: ∂L/∂s_k
    np.testing.assert_allclose(
        flow.state[1:], np.linalg.norm(whole, axis=-1), rtol=1e-10, atol=1e-13
    )
    handed = sum(flow.vectors.values())  # by step t to s_{t-1}, to which its own loss comes
    delta = parts.delta[:, :, : parts.transition.n]
    if parts.delta.shape[-1] == parts.transition.n:
        np.testing.assert_allclose(handed[1:] + delta[:-1], whole[:-1], rtol=1e-9, atol=1e-12)
    for name, norms in flow.paths.items():
        np.testing.assert_allclose(norms, np.linalg.norm(flow.vectors[name], axis=-1))
    assert "direct" in flow.paths


def test_the_constant_error_path() -> None:
    """L8: with f = 1 and i = 0 the gradient of c over T steps is exactly 1, and 0 through the gates."""
    T, H = 60, 3
    cell = nn.LSTMCell(2, H, dtype="float64")
    with mg.no_grad():
        cell.U.zero_()
        cell.W.zero_()
        cell.b.copy_(mg.tensor(np.repeat([-800.0, 800.0, 0.0, 0.0], H)))
    c0 = mg.randn(1, H, dtype="float64").requires_grad_()
    for fused in (True, False):
        x, h0 = mg.randn(T, 1, 2, dtype="float64"), mg.zeros(1, H, dtype="float64")
        _, (_, c) = nn.Recurrent(cell, fused=fused)(x, (h0, c0))
        np.testing.assert_array_equal(c.detach(), c0.detach())
        (g,) = mg.grad(c.sum(), c0)
        np.testing.assert_array_equal(g, np.ones((1, H)))
    flow = learn.gradient_flow(cell, x, lambda t, y: y.sum() if t == T - 1 else None)
    assert not any(flow.paths[gate].any() for gate in "ifgo")
    carried = flow.vectors["direct"][:, 0, H:]
    np.testing.assert_array_equal(carried, np.broadcast_to(carried[-1], carried.shape))


def test_limits_of_the_forget_gate_as_flow() -> None:
    """R14, L4: what arrives along the cell state is the product of the forget gates."""
    cell = KINDS["lstm"].make(2, 3)
    with mg.no_grad():
        cell.U.zero_()  # no way but the direct one
    x = mg.randn(6, 1, 2, dtype="float64")
    with nn.trace(layer := nn.Recurrent(cell)) as record:
        layer(x)
    parts = learn.BPTT(cell, x, squares)
    for k in range(6):
        gates = np.prod(record[0]["f"].numpy()[k + 1 :, 0], axis=0)
        np.testing.assert_allclose(np.diag(parts.products[5, k, 0, 3:, 3:]), gates, rtol=1e-12)


# ---- paths --------------------------------------------------------------------------------------------


def test_count_paths() -> None:
    """L9: 1, 5, 24 paths from c_t to the forget gate's weight; 30 from h_3 (T6: S4 says 24 of y_3)."""
    weights = {
        k: mg.tensor(0.3, requires_grad=k == "xf")
        for k in ("xf", "hf", "xi", "hi", "xg", "hg", "xo", "ho")
    }
    x, h, c, counts = mg.tensor(0.7), mg.tensor(0.0), mg.tensor(0.0), []
    for _ in range(3):
        i, f, g, o = (weights["x" + k] * x + weights["h" + k] * h for k in "ifgo")
        c = mg.sigmoid(f) * c + mg.sigmoid(i) * mg.tanh(g)
        h = mg.sigmoid(o) * mg.tanh(c)
        counts.append((learn.count_paths(c, weights["xf"]), learn.count_paths(h, weights["xf"])))
    assert counts == [(1, 1), (5, 6), (24, 30)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_count_paths_in_any_graph(edges: list[tuple[int, int]]) -> None:
    """Products in a random graph: with x = 1, dy/dx counts the paths."""
    values = [mg.tensor(1.0, dtype="float64", requires_grad=True)]
    other = mg.tensor(1.0, dtype="float64", requires_grad=True)
    for a, b in edges:
        values.append(values[a % len(values)] * values[b % len(values)] * other)
    (g,) = mg.grad(values[-1], values[0], retain_graph=True)
    assert learn.count_paths(values[-1], values[0]) == g.item()
    (g,) = mg.grad(values[-1], other, allow_unused=True)
    assert learn.count_paths(values[-1], other) == (0 if g is None else g.item())


def test_count_paths_refuses() -> None:
    with pytest.raises(RuntimeError, match="nothing was recorded of the first"):
        learn.count_paths(mg.tensor(1.0), mg.tensor(1.0, requires_grad=True))
