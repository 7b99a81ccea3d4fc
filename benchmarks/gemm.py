"""Matrix products C = A B, [m, k] · [k, n], as `a @ b`."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import partial

import numpy as np

from minigrad import core

from . import peak
from .engines import numpy_obeys, random, torch, triple
from .harness import Bench

SQUARES = (32, 64, 100, 128, 256, 512, 1024)
BATCHES = (1, 8, 32, 64)
HIDDEN = (64, 128, 256, 512, 1024)
FEWER = {64, 256, 512}  # of SQUARES and of HIDDEN, with --quick
FEWER_BATCHES = {1, 32}

AHEAD, FLOAT32, FLOAT64 = 1.0, 1.05, 1.15  # the targets of issue 2


def cases(quick: bool) -> Iterator[tuple[str, int, int, int, float]]:
    """dtype, m, k, n, target"""
    squares = [n for n in SQUARES if not quick or n in FEWER]
    for n in squares:
        yield "float32", n, n, n, AHEAD if n < 128 else FLOAT32
    for b in BATCHES:
        for h in HIDDEN:
            if not quick or (h in FEWER and b in FEWER_BATCHES):
                yield "float32", b, h, 4 * h, AHEAD if h < 128 or h >= 512 else FLOAT32
    for n in squares:
        yield "float64", n, n, n, FLOAT64


def run(bench: Bench) -> None:
    """Time against torch's `a @ b` and its mm(out=); the target is for both."""
    peaks = {dtype: peak.gflops(dtype) for dtype in ("float32", "float64")}
    bench.facts["fma_peak_gflops_per_core"] = peaks
    for threads in bench.threads:
        for dtype, m, k, n, target in cases(bench.quick):
            a, A, a_ = triple(random(m, k, dtype=np.dtype(dtype), seed=1))
            b, B, b_ = triple(random(k, n, dtype=np.dtype(dtype), seed=2))
            calls = {
                "minigrad": partial(operator.matmul, a, b),
                "torch": partial(operator.matmul, A, B),
                "torch out=": partial(torch.mm, A, B, out=torch.empty(m, n, dtype=A.dtype)),
            }
            if m * k * n < 128**3:
                calls["core.gemm"] = partial(core.gemm, a, b)  # what the tape adds
            if numpy_obeys:
                calls["numpy"] = partial(operator.matmul, a_, b_)
            case = f"{dtype} {m}x{k} · {k}x{n}"
            targets = {"torch": target, "torch out=": target}
            row = bench.measure(case, calls, threads, targets, check=True)
            row.extra["GFLOP/s"] = 2e-9 * m * k * n / min(row.times["minigrad"])
            if top := peaks[dtype]:
                row.extra["% of peak"] = 100 * row.extra["GFLOP/s"] / (top * threads)
