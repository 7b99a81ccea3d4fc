"""Variants of the LSTM beside the plain one: what the kernels make of them."""

from __future__ import annotations

from typing import Any

import minigrad
from minigrad import nn

from .. import engines
from ..harness import OURS, Bench
from .cases import Case

PLAIN = "plain"
VARIANTS: dict[str, dict[str, Any]] = {
    "peephole": {"peephole": "diagonal"},
    "coupled, i = 1 - f": {"coupled": "input"},
    "coupled, f = 1 - i, peephole": {"coupled": "forget", "peephole": "diagonal"},
}
SIZES = (128, 256)  # I = H
MOST = 1.15  # variant ÷ plain


class Step:
    """Forward and backward of the whole sequence, seeded with dy; x needs no gradient."""

    def __init__(self, case: Case, fused: bool = True, **options: Any) -> None:
        self.layer = getattr(nn, case.cell)(case.I, case.H, fused=fused, **options)
        self.parameters = list(self.layer.parameters())
        self.x, self.dy = map(minigrad.tensor, case.data())

    def __call__(self) -> None:
        """What is timed."""
        for p in self.parameters:
            p.grad = None
        y, _ = self.layer(self.x)
        y.backward(self.dy)


def run(bench: Bench) -> None:
    """Time of the variants against the plain LSTM of the same size; tests/test_lstm.py compares them."""
    for size in SIZES[:1] if bench.quick else SIZES:
        case = Case("LSTM", 100, 32, size, size)
        for variant, options in VARIANTS.items():
            name = f"{case}, {variant}"
            if not bench.wants(name):
                continue
            for threads in bench.threads:
                engines.set_threads(threads)
                calls = {OURS: Step(case, **options), PLAIN: Step(case)}
                bench.measure(name, calls, threads, {PLAIN: MOST})
