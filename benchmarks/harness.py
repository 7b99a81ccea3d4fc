"""Timing: engines in alternating rounds, and the rows that come of it."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from timeit import Timer
from typing import Any, Callable

import numpy as np

from . import engines

OURS = "minigrad"
DOUBT = "torch ÷ its one thread"

Calls = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True)
class Budget:
    """A sample lasts `sample` seconds or one call; `rounds` of them, fewer (5) after `seconds`."""

    sample: float
    rounds: int
    seconds: float


FULL = Budget(sample=2e-3, rounds=21, seconds=1.0)
QUICK = Budget(sample=1e-3, rounds=7, seconds=0.3)
FEWEST_ROUNDS = 5
SLOW, FEWEST_SLOW_ROUNDS = 0.1, 3  # a call of so many seconds sets its own caches and clock


def elements(n: int) -> str:
    """10⁵ as "1e5"."""
    return f"{n:.0e}".replace("e+0", "e")


def settle(longest: float = 0.05) -> None:
    """Sleep until the threads of the engine that ran last stop spinning.

    Here PyTorch's spin for 5 ms after a call, OpenBLAS's for 20 ms: the next engine would share its
    cores with them.
    """
    end = time.perf_counter() + longest
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(1e-3)
        if time.process_time() - before < 0.3e-3:
            return


def repetitions(timer: Timer, sample: float) -> tuple[int, bool]:
    """How many calls last `sample` seconds; whether a single one is slow."""
    n = 1
    while (t := timer.timeit(n)) < sample / 4:
        n *= 4
    return max(1, round(n * sample / t)), t / n > SLOW


def compare(
    calls: Calls,
    budget: Budget,
    threads: int = 1,
    prepare: Callable[[str], Any] | None = None,
) -> dict[str, list[float]]:
    """Seconds per call of each engine, one number per round: A, B, C; C, B, A; A, B, C …

    An untimed call of its own precedes every sample, unless it is a slow one, so that no engine pays
    for the caches and the clock that the one before has left.  `prepare`, too, is called before, with
    the engine's name.  A call that is made in another process has a `timeit` of its own.
    """
    # Timer switches Python's collector off
    timers: dict[str, Any] = {n: c if hasattr(c, "timeit") else Timer(c) for n, c in calls.items()}
    numbers, slow = {}, {}
    for name, timer in timers.items():
        if prepare:
            prepare(name)
        numbers[name], slow[name] = repetitions(timer, budget.sample)
    times: dict[str, list[float]] = {name: [] for name in calls}
    order, end = list(calls), time.perf_counter() + budget.seconds
    fewest = FEWEST_SLOW_ROUNDS if any(slow.values()) else FEWEST_ROUNDS
    for done in range(budget.rounds):
        if done >= fewest and time.perf_counter() > end:
            break
        for name in order:
            if threads > 1:
                settle()
            if prepare:
                prepare(name)
            if not slow[name]:
                calls[name]()
            times[name].append(timers[name].timeit(numbers[name]) / numbers[name])
        order.reverse()
    return times


def agree(calls: Calls, case: str, tolerance: float = 1e-3) -> None:
    """AssertionError unless all calls return the same numbers: the time of wrong ones is void."""
    results = {name: np.asarray(call()) for name, call in calls.items()}
    expected = results[OURS]
    for name, result in results.items():
        np.testing.assert_allclose(
            expected, result, rtol=tolerance, atol=tolerance, err_msg=f"{case}: {OURS} and {name}"
        )


@dataclass
class Row:
    """A case: what a call of minigrad and of its peers takes.

    A target is the largest ratio minigrad ÷ peer that is allowed.
    """

    part: str
    case: str
    threads: int
    times: dict[str, list[float]]
    targets: dict[str, float] = field(default_factory=dict)
    by_minimum: bool = True
    unit: str = "s"
    extra: dict[str, float] = field(default_factory=dict)

    def ratios(self, peer: str) -> tuple[float, float]:
        """minigrad ÷ peer, of the minima and of the medians."""
        ours, theirs = self.times[OURS], self.times[peer]
        return min(ours) / min(theirs), statistics.median(ours) / statistics.median(theirs)

    @property
    def peers(self) -> list[str]:
        """The engines beside minigrad."""
        return [name for name in self.times if name != OURS]

    def verdicts(self) -> dict[str, str]:
        """For each target whether it is met: by minima and medians alike, or by one ("unclear")."""
        found = {}
        for peer, target in self.targets.items():
            met = [ratio <= target for ratio in self.ratios(peer)[0 if self.by_minimum else 1 :]]
            found[peer] = "met" if all(met) else "unclear" if any(met) else "MISSED"
        return found


@dataclass
class Bench:
    """What a part gets: settings, and `measure`, which appends a row."""

    threads: list[int]
    quick: bool
    budget: Budget
    only: str = ""  # a part of the names of cases
    rows: list[Row] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    part: str = ""
    started: float = field(default_factory=time.perf_counter)

    def progress(self, case: str, threads: int) -> None:
        """One line on standard error that the next one overwrites."""
        if sys.stderr.isatty():
            seconds = time.perf_counter() - self.started
            text = f"{seconds:4.0f} s  {self.part}: {case}, {threads} thread(s)"
            print(f"\r{text[:78]:78}", end="", file=sys.stderr, flush=True)

    def wants(self, case: str) -> bool:
        """Whether the command line asks for this case."""
        return self.only in case

    def doubt(self, row: Row, most: float = 2.0) -> None:
        """Do not judge a row in which PyTorch's threads wait for a core that another process has.

        Its barriers then take up to a thousand times as long, and whatever is beside it looks fast.
        """
        alone = [r for r in self.rows if (r.part, r.case, r.threads) == (row.part, row.case, 1)]
        if row.threads == 1 or not alone:
            return
        name = next(name for name in row.times if name.startswith("torch"))
        ratio = min(row.times[name]) / min(alone[-1].times[name])
        if ratio > most:
            row.targets = {}
            row.extra[f"{DOUBT} (not judged)"] = ratio

    def measure(
        self,
        case: str,
        calls: Calls,
        threads: int = 1,
        targets: dict[str, float] | None = None,
        check: bool = False,
    ) -> Row:
        """Time the engines with that many threads each and keep the row."""
        self.progress(case, threads)
        engines.set_threads(threads)
        if check:
            agree(calls, case)
        times = compare(calls, self.budget, threads)
        row = Row(self.part, case, threads, times, targets or {})
        self.rows.append(row)
        return row
