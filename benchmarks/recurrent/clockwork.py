"""Clockwork RNNs against this library's own simple recurrent network of the same size."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import minigrad
from minigrad import nn

from .. import engines
from ..engines import torch
from ..harness import OURS, Bench
from .cases import Case, same
from .libraries import Step

FOUR, NINE = (1, 2, 4, 8), tuple(2**i for i in range(9))
# (T, B, I, H), periods, target: time ÷ that of nn.RNN, forward and backward
CASES = (
    ((256, 32, 64, 256), FOUR, 0.55),
    ((256, 32, 256, 256), FOUR, 0.55),
    ((256, 8, 64, 256), FOUR, 0.55),
    ((256, 1, 64, 256), FOUR, 0.55),
    ((256, 32, 64, 288), NINE, 0.35),
    ((256, 32, 288, 288), NINE, 0.35),
    ((256, 32, 64, 576), NINE, 0.35),
    ((256, 8, 64, 288), NINE, 0.35),
    ((256, 1, 64, 288), NINE, 0.35),
    ((256, 32, 64, 256), (3, 5, 7, 11), 0.55),  # nothing divides another
)
PEER = "nn.RNN"


class Clockwork(Step):
    """The same steps of a clockwork RNN; readable: in ops, as the equation says."""

    def __init__(self, case: Case, periods: Any, readable: bool = False) -> None:
        super().__init__(minigrad, case)
        minigrad.manual_seed(0)
        options: dict[str, Any] = {"periods": periods, "fused": not readable}
        self.layer = nn.ClockworkRNN(case.I, case.H, **options)
        self.parameters = list(self.layer.parameters())


def multiplications(case: Case, periods: Any, kept: bool) -> float:
    """Per step and sequence, forward: of active groups by what they hear.

    kept: a group's message is computed when it speaks, and kept for those who hear it
    (cextension/kernels/clockwork.inc).
    """
    sizes = [case.H // len(periods)] * len(periods)
    ends = list(accumulate(sizes))
    heard = ends if kept else [case.H - end + size for end, size in zip(ends, sizes)]
    return sum(k * (case.I + n) / p for k, n, p in zip(sizes, heard, periods))


def run(bench: Bench) -> None:
    """Time and multiplications against nn.RNN, and time against torch's."""
    for sizes, periods, target in CASES:
        case = Case("RNN", *sizes)
        name = (
            f"clockwork {case.T},{case.B},{case.I},{case.H}, periods {periods[0]} … {periods[-1]}"
        )
        if not bench.wants(name) or (bench.quick and sizes[1] != 32):
            continue
        for threads in bench.threads:
            engines.set_threads(threads)
            calls: dict[str, Any] = {
                OURS: Clockwork(case, periods),
                PEER: Step(minigrad, case),
                "torch.nn.RNN": Step(torch, case),
            }
            if threads == bench.threads[0]:
                readable = Clockwork(case, periods, readable=True).results()
                same(calls[OURS].results(), readable, f"{name}, fused and readable")
            row = bench.measure(name, calls, threads, {PEER: target})
            dense = case.H * (case.I + case.H)
            row.extra["FLOPs ÷ nn.RNN"] = multiplications(case, periods, kept=True) / dense
            row.extra["as in the paper"] = multiplications(case, periods, kept=False) / dense
