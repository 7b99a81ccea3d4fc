"""Forward and backward of recurrent layers: the main table."""

from __future__ import annotations

from typing import Any

import minigrad

from .. import char_model, engines, peak
from ..engines import numpy_obeys, torch
from ..harness import OURS, Bench, Row
from . import bptt
from .cases import Case, same
from .libraries import Step, translated
from .workers import JAX, KEPT, worker

# (T, B, I, H, layers, bidirectional) and the targets of issue 3 for 1 and 2 threads
OVERHEAD = ((50, 1, 32, 32, 1),)
SMALL = ((50, 16, 64, 64, 1),)
MIDDLE = (
    (100, 32, 64, 128, 1),
    (100, 32, 128, 128, 2),
    (100, 32, 128, 128, 2, True),
    (100, 32, 128, 256, 2),
)
LARGE = ((35, 20, 650, 650, 2), (100, 64, 256, 512, 1), (100, 64, 512, 1024, 1))
TARGETS = {
    "LSTM": (
        (OVERHEAD, (0.10, 0.10)),
        (SMALL, (0.60, 0.40)),
        (MIDDLE, (0.78, 0.60)),
        (LARGE, (0.72, 0.65)),
    ),
    "GRU": (
        (OVERHEAD, (0.010, 0.010)),
        (SMALL, (0.14, 0.08)),
        (MIDDLE, (0.50, 0.36)),
        (LARGE, (0.60, 0.52)),
    ),
    "RNN": ((OVERHEAD, (0.015, 0.015)), (SMALL, (0.15, 0.10)), (MIDDLE, (0.60, 0.42))),
}
ADAM = {"LSTM": 0.055, "GRU": 0.011, "RNN": 0.016}
QUICK = (*OVERHEAD, *MIDDLE[:1])
AHEAD = 1.0  # of every other peer
LARGEST = {JAX: 30e9, "numpy": 60e9}  # flops; they take seconds per call beyond
PEAK = "FMA peak"
SHARE = 0.8  # of the FMA peak: LSTM and GRU, one thread, H from 128 to 512


def with_share(bench: Bench, case: Case, row: Row, target: bool = True) -> None:
    """Add the time that the products take at the peak, and a target for it where there is one."""
    facts = bench.facts
    if "fma_peak_gflops_per_core" not in facts:
        facts["fma_peak_gflops_per_core"] = {d: peak.gflops(d) for d in ("float32", "float64")}
    top = facts["fma_peak_gflops_per_core"]["float32"]
    if not top:
        return  # no C compiler
    bound = 1e-9 * case.flops() / (top * row.threads)
    row.times[PEAK] = [bound]
    row.extra["% of peak"] = 100 * bound / min(row.times[OURS])
    if target and case.cell != "RNN" and row.threads == 1 and 128 <= case.H <= 512:
        row.targets[PEAK] = 1 / SHARE


def compared(bench: Bench, case: Case, threads: int, target: float, optimize: bool = False) -> Row:
    """A row: check that the engines agree, then time them."""
    name = f"{case}" + ", clip, Adam" * optimize
    bench.progress(name, threads)
    engines.set_threads(threads)
    calls: dict[str, Any] = {
        OURS: Step(minigrad, case, optimize),
        "torch": Step(torch, case, optimize),
    }
    targets = {"torch": target}
    if (kept := worker(KEPT, threads)) is not None:
        calls[KEPT] = kept.build(case, optimize)
    wanted = {name for name, most in LARGEST.items() if case.flops() < most and not optimize}
    if JAX in wanted and (jax := worker(JAX, threads)) is not None:
        calls[JAX], targets[JAX] = jax.build(case), AHEAD
    if "numpy" in wanted and numpy_obeys:
        calls["numpy"], targets["numpy"] = bptt.Step(case), AHEAD
    if threads == bench.threads[0]:
        ours = calls[OURS].results()
        for engine, call in calls.items():
            if engine not in (OURS, KEPT):
                same(ours, translated(case, call.results()), f"{name}, {OURS} and {engine}")
    row = bench.measure(name, calls, threads, targets)
    bench.doubt(row)
    return row


def run(bench: Bench, cell: str) -> None:
    """Time against torch, torch with memory kept, JAX, NumPy and the FMA peak."""
    for sizes, targets in TARGETS[cell]:
        for size in sizes:
            case = Case(cell, *size)
            if not bench.wants(str(case)) or (bench.quick and size not in QUICK):
                continue
            for threads in bench.threads:
                target = targets[min(threads, 2) - 1]
                row = compared(bench, case, threads, target)
                with_share(bench, case, row)


def run_char(bench: Bench) -> None:
    """A character model, from characters to the step of Adam."""
    sizes, targets = char_model.Sizes(T=100, B=32, embedding=256, layers=2), (0.85, 0.60)
    if not bench.wants(str(sizes)):
        return
    for threads in bench.threads:
        engines.set_threads(threads)
        calls: dict[str, Any] = {
            OURS: char_model.Step(minigrad, sizes),
            "torch": char_model.Step(torch, sizes),
        }
        same(calls[OURS].results(), calls["torch"].results(), f"{sizes}, {OURS} and torch")
        if (kept := worker(KEPT, threads)) is not None:
            calls[KEPT] = kept.build(sizes, True)
        target = targets[min(threads, 2) - 1]
        row = bench.measure(str(sizes), calls, threads, {"torch": target})
        bench.doubt(row)
        row.extra["characters/s"] = sizes.B * sizes.T / min(row.times[OURS])


def run_adam(bench: Bench) -> None:
    """The same with clipping and a step of Adam, where they weigh most."""
    for cell, target in ADAM.items():
        case = Case(cell, *OVERHEAD[0])
        if bench.wants(str(case)):
            for threads in bench.threads:
                compared(bench, case, threads, target, optimize=True)
