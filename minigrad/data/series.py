"""Time series that recurrent networks are tried on."""

from __future__ import annotations

from typing import Any

import numpy as np


def _rng(seed: int) -> Any:
    return np.random.Generator(np.random.PCG64(seed))


def mackey_glass(
    steps: int,
    tau: float = 17.0,
    seed: int | None = None,
    sample: float = 1.0,
    dt: float = 0.1,
    discard: float = 1000.0,
    beta: float = 0.2,
    gamma: float = 0.1,
    n: float = 10.0,
) -> Any:
    """x' = β x(t - τ) / (1 + x(t - τ)ⁿ) - γ x(t), every `sample` units of time: float64 [steps].

    Integrated by the classical Runge-Kutta method with steps of dt, of which τ and `sample` are whole
    multiples; x(t - τ) between two steps is interpolated by the cubic through their values and
    derivatives, so that the error is of fourth order.  The history before t = 0 is 1.2, with `seed` from
    U(0.5, 1.5) instead; the first `discard` units of time are dropped.  ValueError where dt does not
    divide.  Mildly chaotic for τ = 17, wildly for τ = 30.

    M. Mackey and L. Glass, Oscillation and Chaos in Physiological Control Systems, Science 197, 1977.

    >>> from minigrad.data import mackey_glass
    >>> mackey_glass(3).round(4).tolist() == mackey_glass(5)[:3].round(4).tolist()
    True
    """
    delay, every, skipped = (round(a / dt) for a in (tau, sample, discard))
    if delay < 1 or every < 1 or max(abs(delay * dt - tau), abs(every * dt - sample)) > 1e-9:
        raise ValueError(
            f"mackey_glass: tau={tau} and sample={sample} must be whole multiples of dt={dt}"
        )
    start = 1.2 if seed is None else _rng(seed).uniform(0.5, 1.5)
    total = skipped + every * max(steps - 1, 0) + 1

    def slope(x: float, delayed: float) -> float:
        return beta * delayed / (1.0 + delayed**n) - gamma * x

    xs = [start] * (delay + 1)  # x at -τ … 0
    ds = [0.0] * (delay + 1)  # their derivatives
    ds[-1] = slope(start, start)
    for k in range(total - 1):
        x, a, b = xs[-1], xs[k], xs[k + 1]
        # Hermite's cubic at the middle; before 0 the history stands still, whatever x does from then on
        half = start if k < delay else (a + b) / 2 + (ds[k] - ds[k + 1]) * dt / 8
        k1 = slope(x, a)
        k2 = slope(x + dt / 2 * k1, half)
        k3 = slope(x + dt / 2 * k2, half)
        k4 = slope(x + dt * k3, b)
        xs.append(x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        ds.append(slope(xs[-1], b))
    return np.array(xs[delay + skipped :: every][:steps])


def narma10(steps: int, seed: int = 0, discard: int = 100) -> tuple[Any, Any]:
    """y(t+1) = 0.3 y(t) + 0.05 y(t) Σ_{i<10} y(t-i) + 1.5 u(t-9) u(t) + 0.1, u from U(0, 0.5).

    (u, y), float64 [steps, 1] each, where y[t] follows on u[t]: it is the y(t+1) of the equation.  The
    first `discard` steps are dropped.  Where the series grows beyond bounds, as for few of all inputs it
    does, it is drawn again, from the next numbers of the same seed.

    A. Atiya and A. Parlos, New Results on Recurrent Network Training, IEEE Transactions on Neural
    Networks 11, 2000.

    >>> from minigrad.data import narma10
    >>> u, y = narma10(2000, seed=1)
    >>> u.shape, y.shape, bool(0.1 < y.mean() < 0.6)
    ((2000, 1), (2000, 1), True)
    """
    rng = _rng(seed)
    while True:
        u = rng.uniform(0, 0.5, steps + discard)
        y = np.zeros(steps + discard + 1)
        for t in range(steps + discard):
            past = y[max(0, t - 9) : t + 1].sum()
            far = u[t - 9] if t >= 9 else 0.0
            y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * past + 1.5 * far * u[t] + 0.1
            if not y[t + 1] < 10:
                break
        else:
            return u[discard:, None], y[discard + 1 :, None]
