"""A Kalman filter's covariance between two observations, of one group of n weights and of many."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from minigrad import core

from .engines import numpy_obeys, random, torch
from .harness import Bench

#: groups, weights in each, outputs: GEKF of a small and of a larger network, DEKF by node
CASES = ((1, 100, 1), (1, 300, 4), (1, 1000, 1), (1, 1000, 7), (1, 3000, 1), (64, 100, 4))
Q = 1e-7


def engines(groups: int, n: int, m: int, dtype: str) -> dict[str, Callable[[], Any]]:
    """P ← P - Vᵀ V + q I and H P, each group with its own P; all return H P of the last group."""
    sizes = [n] * groups
    V, H = 1e-4 * random(m, groups * n, dtype=dtype), random(m, groups * n, dtype=dtype, seed=1)
    P = np.tile(np.eye(n, dtype=dtype).ravel(), groups)
    flat, v, h = (core.from_numpy(a.copy()) for a in (P, V, H))

    def ours() -> Any:
        return core.covariance(flat, sizes, v, [Q] * groups, h)[0]

    blocks = [np.eye(n, dtype=dtype) for _ in sizes]

    def numpy() -> Any:
        found = np.empty_like(H)
        for g in range(groups):
            part, block = slice(g * n, (g + 1) * n), blocks[g]
            np.subtract(block, V[:, part].T @ V[:, part], out=block)
            block.flat[:: n + 1] += Q
            found[:, part] = H[:, part] @ block
        return found

    tensors = [torch.eye(n, dtype=getattr(torch, dtype)) for _ in sizes]
    V_, H_ = torch.tensor(V), torch.tensor(H)

    def pytorch() -> Any:
        found = torch.empty_like(H_)
        for g, block in enumerate(tensors):
            part = slice(g * n, (g + 1) * n)
            block.addmm_(V_[:, part].T, V_[:, part], alpha=-1)
            block.diagonal().add_(Q)
            found[:, part] = H_[:, part] @ block
        return found

    calls: dict[str, Callable[[], Any]] = {"minigrad": ours, "torch": pytorch}
    if numpy_obeys:
        calls["numpy"] = numpy
    return calls


def run(bench: Bench) -> None:
    """Time against NumPy's and PyTorch's products, in place."""
    for threads in bench.threads:
        for dtype in ("float64", "float32"):
            for groups, n, m in CASES[1::2] if bench.quick else CASES:
                case = f"{dtype} {groups} x {n} weights, {m} outputs"
                calls = engines(groups, n, m, dtype)
                bench.measure(case, calls, threads)
