"""NumPy transcriptions of the equations of echo state networks."""

from __future__ import annotations

from typing import Any

import numpy as np

FUNCTIONS: dict[str, Any] = {
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "relu": lambda z: np.maximum(z, 0),
    "identity": lambda z: z,
}


def reservoir(
    x: Any, W: Any, U: Any, b: Any, h: Any, leak: float, f: str = "tanh", noise: Any = None
) -> Any:
    """h of every step [T, N, H]: h' = (1 - leak) h + leak f(x W + b + noise + h U)."""
    rows = []
    for t in range(len(x)):
        z = x[t] @ W + h @ U + (0 if b is None else b) + (0 if noise is None else noise[t])
        h = (1 - leak) * h + leak * FUNCTIONS[f](z)
        rows.append(h)
    return np.array(rows).reshape(len(x), *h.shape)


def ridge(X: Any, Y: Any, alpha: float, bias: bool = True) -> Any:
    """(W, b) by least squares with √alpha rows below the data, which hold W small and not b."""
    k = X.shape[1]
    ones = np.ones((len(X), 1)) if bias else np.zeros((len(X), 0))
    below = np.concatenate([np.sqrt(alpha) * np.eye(k), np.zeros((k, ones.shape[1]))], 1)
    system = np.concatenate([np.concatenate([X, ones], 1), below])
    wanted = np.concatenate([Y, np.zeros((k, Y.shape[1]))])
    solution = np.linalg.lstsq(system, wanted, rcond=None)[0]
    return solution[:k], solution[k] if bias else np.zeros(Y.shape[1])


def mackey_glass(steps: int, tau: int, start: float, h: float) -> Any:
    """The series at 0, 1, 2 …, by Heun's method with tiny steps h: nothing is interpolated."""

    def slope(x: float, delayed: float) -> float:
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

    delay = round(tau / h)
    table = [start] * (delay + 1)
    for k in range(round((steps - 1) / h)):
        x = table[-1]
        first = slope(x, table[k])
        second = slope(x + h * first, table[k + 1])
        table.append(x + h / 2 * (first + second))
    return np.array(table[delay :: round(1 / h)][:steps])
