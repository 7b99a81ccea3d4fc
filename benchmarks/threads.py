"""Two threads against one: on this machine as it is, and while other processes occupy the cores."""

from __future__ import annotations

import operator
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable

import minigrad

from . import engines
from .char_model import steps
from .engines import random, torch, triple
from .harness import Bench, Budget, Calls, Row, compare

CONTENDED = 1.5  # target of issue 2: two threads ÷ one when others occupy both cores
ALONE = "1 thread"
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
        for name in ("add", "exp"):
            more, More = ((x,), (X,)) if name == "add" else ((), ())
            cases[f"{name} {n:.0e}".replace("e+0", "e")] = {
                "minigrad": partial(getattr(minigrad, name), x, *more),
                "torch": partial(getattr(torch, name), X, *More),
            }
    return cases


def with_threads(n: int, call: Callable[[], Any]) -> Callable[[], Any]:
    """`call`, with n threads when it is called (the switch is timed with it: below 1 µs)."""

    def switched() -> Any:
        engines.set_threads(n)
        return call()

    return switched


def two_against_one(bench: Bench, cases: dict[str, Calls], budget: Budget, **options: Any) -> None:
    """A row per case: minigrad and torch with two threads and with one."""
    for case, libraries in cases.items():
        bench.progress(case, 2)
        named = {
            "minigrad": with_threads(2, libraries["minigrad"]),
            ALONE: with_threads(1, libraries["minigrad"]),
            "torch": with_threads(2, libraries["torch"]),
            "torch 1 thread": with_threads(1, libraries["torch"]),
        }
        row = Row(bench.part, case, 2, compare(named, budget, threads=2), **options)
        peers = row.times["torch"], row.times["torch 1 thread"]
        middle = len(peers[0]) // 2
        row.extra["torch 2 ÷ 1"] = sorted(peers[0])[middle] / sorted(peers[1])[middle]
        bench.rows.append(row)


def run(bench: Bench) -> None:
    """minigrad's two threads against its one, and the same ratio of torch; no target."""
    if (os.cpu_count() or 1) < 2:
        return
    libraries = {**workloads(), "LSTM training step": steps()}
    two_against_one(bench, libraries, bench.budget, judged=(ALONE,))


def run_contended(bench: Bench) -> None:
    """The same while a process per core computes: medians count, a minimum is a lucky slice."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if (cores or 1) < 2:
        return
    with burning(cores or 1):
        options = {"target": CONTENDED, "judged": (ALONE,), "by_minimum": False}
        budget = LONG_QUICK if bench.quick else LONG
        two_against_one(bench, workloads(), budget, **options)
