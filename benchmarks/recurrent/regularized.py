"""Regularised layers beside the plain ones, and beside the same step by step."""

from __future__ import annotations

from typing import Any

from .. import engines
from ..harness import OURS, Bench
from .cases import Case
from .variants import PLAIN, SIZES, Step

READABLE = "step by step"
OPTIONS: dict[str, dict[str, Any]] = {
    "layer_norm": {"layer_norm": True},
    "recurrent_dropout": {"recurrent_dropout": 0.3},
    "zoneout": {"zoneout": 0.1},
    "weight_drop": {"weight_drop": 0.5},
}
ALL = {name: value for options in OPTIONS.values() for name, value in options.items()}
#: option ÷ plain; numbers are drawn by one thread, which weighs more beside two
MOST = {"layer_norm": 1.45, "zoneout": 1.35, "all of them": 1.85}
OTHERS = 1.1
AHEAD = 0.8  # of the step-by-step layer


def run(bench: Bench) -> None:
    """Forward and backward with each option; tests/test_regularized*.py compare what they give."""
    for cell in ("LSTM", "GRU"):
        for size in SIZES[:1] if bench.quick else SIZES:
            case = Case(cell, 100, 32, size, size)
            for option, options in {**OPTIONS, "all of them": ALL}.items():
                name = f"{case}, {option}"
                if not bench.wants(name):
                    continue
                for threads in bench.threads:
                    engines.set_threads(threads)
                    calls = {
                        OURS: Step(case, **options),
                        PLAIN: Step(case),
                        READABLE: Step(case, fused=False, **options),
                    }
                    most = {PLAIN: MOST.get(option, OTHERS), READABLE: AHEAD}
                    bench.measure(name, calls, threads, most)
