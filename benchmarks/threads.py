"""Two threads against one: on this machine as it is, and while other processes occupy the cores."""

from __future__ import annotations

import operator
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import minigrad

from . import engines
from .char_model import steps
from .engines import random, torch, triple
from .harness import OURS, Bench, Budget, Calls, Row, compare, elements

CONTENDED = 1.5  # target of issue 2: two threads ÷ one when others occupy both cores
ONE = "one thread"
# A share of the processor is dealt out in slices of some milliseconds: samples span many of them.
LONG, LONG_QUICK = Budget(40e-3, 15, 5.0), Budget(20e-3, 7, 1.0)

BURN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(10**6))"


@contextmanager
def burning(processes: int) -> Iterator[None]:
    """That many other processes that compute without end (they end with this one, too)."""
    running = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def workloads() -> dict[str, Calls]:
    """By case, the same work in minigrad and in torch."""
    cases: dict[str, Calls] = {}
    for n in (128, 512):
        a, A, _ = triple(random(n, n))
        cases[f"matmul {n}x{n}"] = {
            "minigrad": partial(operator.matmul, a, a),
            "torch": partial(operator.matmul, A, A),
        }
    for n in (10**5, 10**6):
        x, X, _ = triple(random(n))
        cases[f"add {elements(n)}"] = {
            "minigrad": partial(minigrad.add, x, x),
            "torch": partial(torch.add, X, X),
        }
        cases[f"exp {elements(n)}"] = {
            "minigrad": partial(minigrad.exp, x),
            "torch": partial(torch.exp, X),
        }
    return cases


def two_against_one(bench: Bench, cases: dict[str, Calls], budget: Budget, **options: Any) -> None:
    """A row per case: minigrad with two threads and with one; the same ratio of torch."""
    number = {OURS: 2, ONE: 1, "torch": 2, "torch, one": 1}
    for case, libraries in cases.items():
        bench.progress(case, 2)
        calls = {name: libraries["torch" if "torch" in name else OURS] for name in number}
        times = compare(calls, budget, 2, prepare=lambda name: engines.set_threads(number[name]))
        row = Row(bench.part, case, 2, {OURS: times[OURS], ONE: times[ONE]}, **options)
        for word, of in (("minimum", min), ("median", statistics.median)):
            row.extra[f"torch 2 ÷ 1, {word}"] = of(times["torch"]) / of(times["torch, one"])
        bench.rows.append(row)


def run(bench: Bench) -> None:
    """minigrad's two threads against its one, and the same ratio of torch; no target."""
    if (os.cpu_count() or 1) < 2:
        return
    libraries = {**workloads(), "LSTM training step": steps()}
    two_against_one(bench, libraries, bench.budget)


def run_contended(bench: Bench) -> None:
    """The same while a process per core computes: medians count, a minimum is a lucky slice."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if (cores or 1) < 2:
        return
    with burning(cores or 1):
        options = {"targets": {ONE: CONTENDED}, "by_minimum": False}
        budget = LONG_QUICK if bench.quick else LONG
        two_against_one(bench, workloads(), budget, **options)
