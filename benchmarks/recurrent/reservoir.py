"""The reservoir of an echo state network: all steps of one series, beside reservoirpy."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np

import minigrad

from ..harness import OURS, Bench

PEER = "reservoirpy"
UNITS, STEPS = 1000, 10_000
TARGET = 0.25  # at a connectivity of 1 %, issue 4


def _peer(units: int, connectivity: float, dtype: Any, u: Any) -> Any:
    from reservoirpy.nodes import Reservoir

    node = Reservoir(
        units, lr=0.3, sr=0.9, rc_connectivity=connectivity, input_connectivity=1.0, seed=1,
        dtype=dtype,
    )  # fmt: skip
    node.initialize(u[0])
    return node


def run(bench: Bench) -> None:
    """The same weights, input and leak: first the same states, then the time."""
    if importlib.util.find_spec(PEER) is None:
        print(f"absent: {PEER} (not installed: pip install {PEER})", file=sys.stderr)
        return
    for dtype in ("float64", "float32"):
        for connectivity in (0.01, 0.05):
            for threads in bench.threads:
                _case(bench, dtype, connectivity, threads)


def _case(bench: Bench, dtype: str, connectivity: float, threads: int) -> None:
    case = f"{UNITS} units, {connectivity:.0%}, {STEPS} steps, {dtype}"
    if not bench.wants(case):
        return
    u = np.random.default_rng(0).uniform(-1, 1, (STEPS, 1)).astype(dtype)
    node = _peer(UNITS, connectivity, dtype, u)
    A = node.W.tocsr()
    A.sort_indices()
    weights = (A.indptr, A.indices, A.data)
    cell = minigrad.nn.EchoStateCell(1, UNITS, weights=weights, leak=0.3, bias_scale=0, dtype=dtype)
    Win = np.asarray(node.Win.todense() if hasattr(node.Win, "todense") else node.Win)
    cell.W.copy_(minigrad.tensor(Win.T.astype(dtype)))
    layer, x = minigrad.nn.Recurrent(cell, fused=True), minigrad.tensor(u[:, None])

    def ours() -> Any:
        return layer(x)[0]

    def theirs() -> Any:
        node.reset()
        return node.run(u)

    tolerance = 1e-4 if dtype == "float32" else 1e-10
    difference = abs(ours().numpy()[:, 0] - theirs()).max()
    if not difference < tolerance:
        raise AssertionError(f"{case}: states differ from {PEER}'s by {difference:.1e}")
    targets = {PEER: TARGET} if connectivity == 0.01 and threads == 1 else None
    bench.measure(case, {OURS: ours, PEER: theirs}, threads, targets)
