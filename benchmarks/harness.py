"""Timing: engines in alternating rounds, and the rows that come of it."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from timeit import Timer
from typing import Any, Callable

import numpy as np

from . import engines

OURS = "minigrad"

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


def repetitions(timer: Timer, sample: float) -> int:
    """How many calls last `sample` seconds."""
    n = 1
    while (t := timer.timeit(n)) < sample / 4:
        n *= 4
    return max(1, round(n * sample / t))


def compare(
    calls: Calls,
    budget: Budget,
    threads: int = 1,
    prepare: Callable[[str], Any] | None = None,
) -> dict[str, list[float]]:
    """Seconds per call of each engine, one number per round: A, B, C; C, B, A; A, B, C …

    An untimed call of its own precedes every sample, so that no engine pays for the caches and the
    clock that the one before has left.  `prepare`, too, is called before, with the engine's name.
    """
    timers = {name: Timer(call) for name, call in calls.items()}  # switches Python's collector off
    numbers = {}
    for name, timer in timers.items():
        if prepare:
            prepare(name)
        numbers[name] = repetitions(timer, budget.sample)
    times: dict[str, list[float]] = {name: [] for name in calls}
    order, end = list(calls), time.perf_counter() + budget.seconds
    for done in range(budget.rounds):
        if done >= FEWEST_ROUNDS and time.perf_counter() > end:
            break
        for name in order:
            if threads > 1:
                settle()
            if prepare:
                prepare(name)
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
    """A case: seconds per call of minigrad and its peers; the target is for the `judged` ones."""

    part: str
    case: str
    threads: int
    times: dict[str, list[float]]
    target: float | None = None
    judged: Sequence[str] = ()
    by_minimum: bool = True
    extra: dict[str, float] = field(default_factory=dict)

    def ratios(self, peer: str) -> tuple[float, float]:
        """minigrad ÷ peer, of the minima and of the medians."""
        ours, theirs = self.times[OURS], self.times[peer]
        return min(ours) / min(theirs), statistics.median(ours) / statistics.median(theirs)

    @property
    def peers(self) -> list[str]:
        """The engines beside minigrad."""
        return [name for name in self.times if name != OURS]

    @property
    def verdict(self) -> str:
        """Whether the target is met: by minima and medians alike, or by one of them ("unclear").

        "" without a target.
        """
        if self.target is None:
            return ""
        pairs = [self.ratios(peer) for peer in self.judged]
        worst = [max(column) for column in zip(*pairs)][0 if self.by_minimum else 1 :]
        met = [ratio <= self.target for ratio in worst]
        return "met" if all(met) else "unclear" if any(met) else "MISSED"


@dataclass
class Bench:
    """What a part gets: settings, and `measure`, which appends a row."""

    threads: list[int]
    quick: bool
    budget: Budget
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

    def measure(
        self,
        case: str,
        calls: Calls,
        threads: int = 1,
        target: float | None = None,
        judged: Sequence[str] = (),
        check: bool = False,
    ) -> Row:
        """Time the engines with that many threads each and keep the row."""
        self.progress(case, threads)
        engines.set_threads(threads)
        if check:
            agree(calls, case)
        row = Row(
            self.part, case, threads, compare(calls, self.budget, threads), target, tuple(judged)
        )
        self.rows.append(row)
        return row
