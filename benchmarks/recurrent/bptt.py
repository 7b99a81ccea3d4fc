"""Back-propagation through time by hand: equations for NumPy and JAX, and NumPy's loop.

A cell is a pair of functions of one time step; `xp` is numpy or jax.numpy, U is PyTorch's weight_hh:

    forward(xp, z, state, U, c) -> state after, what backward needs      z = W x + b
    backward(xp, kept, dh, dc, U) -> dz, da, dh, dc before               a = U h

The first of the state is h.  Weight gradients are one product for the whole sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

import numpy as np

from .cases import Case


class Cell(NamedTuple):
    """A step there and a step back; how many states."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    states: int


def sigmoid(xp: Any, x: Any) -> Any:
    """By tanh, which does not overflow."""
    return 0.5 * xp.tanh(0.5 * x) + 0.5


def rnn_forward(xp: Any, z: Any, state: Any, U: Any, _: Any) -> Any:
    """h' = tanh(z + U h)"""
    h = xp.tanh(z + state[0] @ U.T)
    return (h,), (h,)


def rnn_backward(xp: Any, kept: Any, dh: Any, dc: Any, U: Any) -> Any:  # noqa: ARG001
    """Its derivative."""
    dz = dh * (1 - kept[0] ** 2)
    return dz, dz, dz @ U, dc


def lstm_forward(xp: Any, z: Any, state: Any, U: Any, _: Any) -> Any:
    """i, f, o = σ(z + U h);  g = tanh(z + U h);  c' = f ∘ c + i ∘ g;  h' = o ∘ tanh(c')"""
    h, c = state
    a, n = z + h @ U.T, h.shape[-1]
    i_f, g, o = sigmoid(xp, a[:, : 2 * n]), xp.tanh(a[:, 2 * n : 3 * n]), sigmoid(xp, a[:, 3 * n :])
    after = i_f[:, n:] * c + i_f[:, :n] * g
    t = xp.tanh(after)
    return (o * t, after), (i_f, g, o, c, t)


def lstm_backward(xp: Any, kept: Any, dh: Any, dc: Any, U: Any) -> Any:
    """Its derivative."""
    i_f, g, o, c, t = kept
    n = g.shape[-1]
    i, f = i_f[:, :n], i_f[:, n:]
    dc = dc + dh * o * (1 - t * t)
    parts = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o)]
    dz = xp.concatenate(parts, -1)
    return dz, dz, dz @ U, dc * f


def gru_forward(xp: Any, z: Any, state: Any, U: Any, c: Any) -> Any:
    """r, u = σ(z + U h);  n = tanh(z + r ∘ (U h + c));  h' = (1 - u) ∘ n + u ∘ h"""
    (h,) = state
    a, n = h @ U.T, h.shape[-1]
    ru = sigmoid(xp, z[:, : 2 * n] + a[:, : 2 * n])
    past = a[:, 2 * n :] + c
    new = xp.tanh(z[:, 2 * n :] + ru[:, :n] * past)
    return (new + ru[:, n:] * (h - new),), (ru, past, new, h)


def gru_backward(xp: Any, kept: Any, dh: Any, dc: Any, U: Any) -> Any:
    """Its derivative."""
    ru, past, new, h = kept
    n = h.shape[-1]
    r, u = ru[:, :n], ru[:, n:]
    dn = dh * (1 - u) * (1 - new * new)
    dr, du = dn * past * r * (1 - r), dh * (h - new) * u * (1 - u)
    da = xp.concatenate([dr, du, dn * r], -1)
    return xp.concatenate([dr, du, dn], -1), da, dh * u + da @ U, dc


CELLS = {
    "RNN": Cell(rnn_forward, rnn_backward, 1),
    "LSTM": Cell(lstm_forward, lstm_backward, 2),
    "GRU": Cell(gru_forward, gru_backward, 1),
}


def scan(f: Any, carry: Any, xs: Sequence[Any], reverse: bool = False) -> tuple[Any, Sequence[Any]]:
    """carry, out[t] = f(carry, (x[t], …)) for every t: jax.lax.scan for NumPy."""
    outs: tuple[Any, ...] = ()
    for t in reversed(range(len(xs[0]))) if reverse else range(len(xs[0])):
        carry, each = f(carry, tuple(x[t] for x in xs))
        if not outs:
            outs = tuple(np.empty((len(xs[0]), *e.shape), e.dtype) for e in each)
        for out, e in zip(outs, each):
            out[t] = e
    return carry, outs


def step(xp: Any, scan: Any, case: Case, w: dict[str, Any], x: Any, dy: Any) -> dict[str, Any]:
    """y and the gradients of the weights: forward and backward of the whole net."""
    cell, size = CELLS[case.cell], case.H
    zero = xp.zeros((case.B, size), x.dtype)
    done = []  # per layer: its input; per direction: h of each step, and what backward needs
    for i in range(case.layers):
        passes = case.passes()[i * case.directions : (i + 1) * case.directions]
        runs = []
        for suffix, width in passes:
            U, second = w["weight_hh" + suffix], w["bias_hh" + suffix]
            gru = case.cell == "GRU"  # the candidate's second bias stays inside
            bias = w["bias_ih" + suffix] + (
                xp.concatenate([second[: 2 * size], zero[0]]) if gru else second
            )
            z = (x.reshape(-1, width) @ w["weight_ih" + suffix].T + bias).reshape(
                case.T, case.B, -1
            )

            def forward(state: Any, zs: Any, U: Any = U, c: Any = second[2 * size :]) -> Any:
                state, kept = cell.forward(xp, zs[0], state, U, c)
                return state, (state[0], *kept)

            _, (hs, *kept) = scan(forward, (zero,) * cell.states, (z,), reverse="reverse" in suffix)
            runs.append((suffix, hs, kept))
        done.append((x, runs))
        x = xp.concatenate([hs for _, hs, _ in runs], -1) if len(runs) > 1 else runs[0][1]
    results = {"y": x}
    for i, (x, runs) in reversed(list(enumerate(done))):
        dx: Any = 0
        for k, (suffix, hs, kept) in enumerate(runs):
            U, back = w["weight_hh" + suffix], "reverse" in suffix

            def backward(carry: Any, each: Any, U: Any = U) -> Any:
                dz, da, dh, dc = cell.backward(xp, each[1:], each[0] + carry[0], carry[1], U)
                return (dh, dc), (dz, da) if case.cell == "GRU" else (dz,)

            dh = dy[..., k * size : (k + 1) * size]
            _, grads = scan(backward, (zero, zero), (dh, *kept), reverse=not back)
            dz, da = grads[0].reshape(-1, len(U)), grads[-1].reshape(-1, len(U))
            early, late = slice(0, -case.B), slice(case.B, None)  # rows: before the last step, …
            after, before = (early, late) if back else (late, early)
            results["weight_ih" + suffix] = dz.T @ x.reshape(len(dz), -1)
            results["weight_hh" + suffix] = da[after].T @ hs.reshape(-1, size)[before]
            results["bias_ih" + suffix], results["bias_hh" + suffix] = dz.sum(0), da.sum(0)
            if i:
                dx = dx + (dz @ w["weight_ih" + suffix]).reshape(x.shape)
        dy = dx
    return results


class Step:
    """A training step in NumPy."""

    def __init__(self, case: Case) -> None:
        self.given = (case, case.weights(), *case.data())

    def results(self) -> dict[str, Any]:
        """y and the gradients."""
        return step(np, scan, *self.given)

    __call__ = results
