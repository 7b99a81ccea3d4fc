"""Long sequences: time, time per step, memory; and sequences of different lengths."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import minigrad

from .. import engines
from ..engines import torch
from ..harness import OURS, Bench, Row
from . import layers
from .cases import Case, same
from .libraries import Step, translated
from .workers import KEPT, worker

SIZES = {"B": 16, "I": 128, "H": 128}
TARGETS = {1_000: 0.32, 10_000: 0.38}  # T: of issue 3, one thread
FLAT = 1.1  # time per step at the largest T ÷ that at the smallest
LONGEST = max(TARGETS)
MEMORY = 0.5
PADDED, PACKED = 0.65, 0.15  # minigrad with lengths ÷ minigrad without, ÷ torch's packed sequence
STATUS = Path("/proc/self/status")


def run(bench: Bench) -> None:
    """Time against torch; the time per step of the longest against that of the shortest."""
    per_step = {}
    for T, target in TARGETS.items():
        case = Case("LSTM", T, **SIZES)
        if not bench.wants(str(case)) or (bench.quick and T == LONGEST):
            continue
        engines.set_threads(1)
        calls: dict[str, Any] = {OURS: Step(minigrad, case), "torch": Step(torch, case)}
        expected = translated(case, calls["torch"].results())
        same(calls[OURS].results(), expected, f"{case}, {OURS} and torch")
        if (kept := worker(KEPT, 1)) is not None:
            calls[KEPT] = kept.build(case, False)
        row = bench.measure(str(case), calls, 1, {"torch": target})
        layers.with_share(bench, case, row, target=False)
        per_step[T] = [t / T for t in row.times[OURS]]
    if len(per_step) == len(TARGETS):
        (short, first), (long, last) = sorted(per_step.items())
        times = {OURS: last, f"at T={short}": first}
        row = Row(bench.part, f"one time step at T={long}", 1, times, {f"at T={short}": FLAT})
        bench.rows.append(row)


def rss(key: str) -> float:
    """MiB: VmRSS, resident now; VmHWM, the most so far."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def peak_of_steps(engine: str) -> float:
    """In a process of its own: MiB that two training steps take above what was there before."""
    engines.set_threads(1)
    step = Step(minigrad if engine == OURS else torch, Case("LSTM", LONGEST, **SIZES))
    start = rss("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again
    step()
    step()  # the second one on top of what the first has left
    return rss("VmHWM") - start


def run_memory(bench: Bench) -> None:
    """Peak memory above the start.  (getrusage's ru_maxrss would begin with that of the parent.)"""
    case = f"{Case('LSTM', LONGEST, **SIZES)}: peak memory above start"
    if not STATUS.exists() or bench.quick or not bench.wants(case):
        return
    env = {**os.environ, "MINIGRAD_ISA": minigrad.core.isa()}
    root = str(Path(__file__).parents[2])
    found = {}
    for engine in (OURS, "torch"):
        bench.progress(f"{case}, {engine}", 1)
        command = [sys.executable, "-m", __name__, engine]
        done = subprocess.run(
            command, check=True, env=env, cwd=root, stdout=subprocess.PIPE, text=True
        )
        found[engine] = [float(done.stdout)]
    bench.rows.append(Row(bench.part, case, 1, found, {"torch": MEMORY}, unit="MiB"))


def run_lengths(bench: Bench) -> None:
    """Lengths uniform in [T/10, T]: against minigrad without lengths, and torch's packed sequence.

    And against a mask with as many valid steps, anywhere.
    """
    case = Case("LSTM", 100, 32, 64, 128)
    name = f"{case}, lengths {case.T // 10} … {case.T}"
    if not bench.wants(name):
        return
    rng = np.random.default_rng(2)
    lengths = rng.integers(case.T // 10, case.T + 1, size=case.B)
    mask = rng.permuted(np.arange(case.T)[:, None] < lengths, axis=0)
    for threads in bench.threads:
        engines.set_threads(threads)
        calls: dict[str, Any] = {
            OURS: Step(minigrad, case, lengths=lengths),
            "minigrad, padded": Step(minigrad, case),
            "minigrad, mask": Step(minigrad, case, mask=mask),
            "torch, packed": Step(torch, case, lengths=lengths),
            "torch, padded": Step(torch, case),
        }
        expected = translated(case, calls["torch, packed"].results())
        same(calls[OURS].results(), expected, f"{name}, {OURS} and torch")
        targets = {"minigrad, padded": PADDED, "torch, packed": PACKED}
        row = bench.measure(name, calls, threads, targets)
        bench.doubt(row)
        row.extra["% of steps valid"] = 100 * float(lengths.mean()) / case.T


if __name__ == "__main__":
    print(peak_of_steps(sys.argv[1]))
