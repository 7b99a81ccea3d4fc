"""Truncated BPTT: what is cut off, what is not, and what a forgotten detach says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cell_table import Kind, every_kind, flat
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import learn, nn


def terms(layer: Any, x: Any, weights: Any) -> Any:
    """The gradient of the loss of step t through the use of U in step k: [t][k], by brute force."""
    cell = layer.cell
    T = x.shape[0]
    copies = [cell.U.detach().clone().requires_grad_() for _ in range(T)]
    state, z = cell.initial(x.shape[1]), cell.project(x)
    losses = []
    for t in range(T):
        twin = type(cell).__new__(type(cell))
        vars(twin).update(vars(cell))
        vars(twin)["U"] = copies[t]
        h, state = twin.step(z[t], state)
        losses.append((h * weights[t]).sum())
    return [
        [np.array(g) if g is not None else 0.0 for g in mg.grad(
            loss, copies, retain_graph=True, allow_unused=True)] for loss in losses
    ]  # fmt: skip


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9))
def test_exactly_the_far_terms_are_cut_off(steps: int, k1: int, more: int) -> None:
    k2 = k1 + more
    layer = nn.Recurrent(nn.RNNCell(2, 3, dtype="float64"))
    x, weights = mg.randn(steps, 2, 2, dtype="float64"), mg.randn(steps, 2, 3, dtype="float64")
    expected, table = np.zeros((3, 3)), terms(layer, x, weights)
    for t in range(steps):
        end = min((t // k1 + 1) * k1, steps)
        for k in range(max(end - k2, 0), t + 1):
            expected = expected + table[t][k]
    total, seen = np.zeros((3, 3)), []
    for y, window in learn.tbptt(layer, x, k1, k2):
        (g,) = mg.grad((y * weights[window]).sum(), layer.cell.U)
        total += np.array(g)
        seen += range(window.start, window.stop)
    assert seen == list(range(steps))
    np.testing.assert_allclose(total, expected, rtol=1e-10, atol=1e-12)


@every_kind
def test_outputs_and_state_are_those_of_one_run(kind: Kind) -> None:
    layer = kind.layers(3, 4, 2)
    x = mg.randn(11, 2, 3, dtype="float64")
    y, state = layer(x)
    for k1, k2 in ((1, 1), (2, 5), (4, 4), (11, 11), (20, 30), (3, 11)):
        run = learn.tbptt(layer, x, k1, k2)
        parts = [y for y, _ in run]
        np.testing.assert_allclose(mg.cat(parts).detach(), y.detach(), rtol=1e-12, atol=1e-14)
        for a, b in zip(flat(run.state), flat(state)):
            np.testing.assert_allclose(a, b.detach(), rtol=1e-12, atol=1e-14)
            assert not a.requires_grad
        again = learn.tbptt(layer, x, 4, state=run.state)  # it goes on from there
        np.testing.assert_allclose(
            mg.cat([y for y, _ in again]).detach(),
            layer(x, state)[0].detach(),
            rtol=1e-12,
            atol=1e-14,
        )


@every_kind
def test_a_window_over_everything_is_bptt(kind: Kind) -> None:
    layer = kind.layers(3, 4)
    x = mg.randn(9, 2, 3, dtype="float64")

    def loss_of(y: Any, steps: slice) -> Any:
        del steps
        return (y * y).sum()

    for k1, k2 in ((9, 9), (3, 9), (1, 30)):
        bias = learn.truncation_bias(layer, x, loss_of, k1, k2)
        assert bias.relative_error < 1e-12
        assert bias.cosine == pytest.approx(1)
        assert max(bias.errors.values()) < 1e-12
    errors = [learn.truncation_bias(layer, x, loss_of, 1, k).relative_error for k in (1, 9)]
    assert errors[0] > 1e-6 > errors[1]


def test_one_step_back_is_no_recurrence() -> None:
    """k1 = k2 = 1: the gradient of U is that of its last use alone."""
    layer = nn.Recurrent(nn.RNNCell(2, 3, dtype="float64"))
    x = mg.randn(6, 1, 2, dtype="float64")
    bias = learn.truncation_bias(layer, x, lambda y, _: y.sum(), 1)
    assert bias.errors.keys() == {"cell.W", "cell.U", "cell.b"}
    assert bias.relative_error > 0
    assert bias.cosine < 1


def test_errors() -> None:
    layer = nn.RNN(2, 3)
    for k1, k2 in ((0, 1), (3, 2)):
        with pytest.raises(ValueError, match=f"k1={k1}, k2={k2}: 1 ≤ k1 ≤ k2"):
            learn.tbptt(layer, mg.zeros(4, 1, 2), k1, k2)
    assert list(learn.tbptt(layer, mg.zeros(0, 1, 2), 3)) == []


def test_a_forgotten_detach_names_the_remedy() -> None:
    layer = nn.LSTM(2, 3)
    y, state = layer(mg.randn(4, 1, 2))
    y.sum().backward()
    y, _ = layer(mg.randn(4, 1, 2), state)
    with pytest.raises(RuntimeError, match=r"detach\(\) it \(truncated BPTT\)"):
        y.sum().backward()
    _, state = layer(mg.randn(4, 1, 2))
    for _ in range(2):
        y, state = layer(mg.randn(4, 1, 2), learn.detached(state))
        y.sum().backward()
