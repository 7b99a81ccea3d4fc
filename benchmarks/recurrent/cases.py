"""What is timed: sizes, weights and data, the same numbers for every engine and in every process."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


@dataclass(frozen=True)
class Case:
    """A recurrent net that reads T steps of a batch B of I numbers, and the loss Σ y ∘ dy."""

    cell: str
    T: int
    B: int
    I: int  # noqa: E741
    H: int
    layers: int = 1
    bidirectional: bool = False

    def __str__(self) -> str:
        sizes = f"{self.cell} {self.T},{self.B},{self.I},{self.H},{self.layers}"
        return sizes + " bidirectional" * self.bidirectional

    @property
    def directions(self) -> int:
        """1 or 2"""
        return 1 + self.bidirectional

    def passes(self) -> list[tuple[str, int]]:
        """(suffix of PyTorch's names, width of the input) of every layer and direction."""
        widths = [self.I] + [self.directions * self.H] * (self.layers - 1)
        suffixes = ["", "_reverse"][: self.directions]
        return [(f"_l{i}{back}", width) for i, width in enumerate(widths) for back in suffixes]

    def weights(self) -> dict[str, Any]:
        """Uniform in ±1/√H, by PyTorch's names and in its layout."""
        draw, bound = np.random.default_rng(0), 1 / math.sqrt(self.H)
        rows = GATES[self.cell] * self.H
        return {
            name + suffix: draw.uniform(-bound, bound, shape).astype(np.float32)
            for suffix, width in self.passes()
            for name, shape in (
                ("weight_ih", (rows, width)),
                ("weight_hh", (rows, self.H)),
                ("bias_ih", (rows,)),
                ("bias_hh", (rows,)),
            )
        }

    def data(self) -> tuple[Any, Any]:
        """x [T, B, I] and dy [T, B, D H]."""
        draw = np.random.default_rng(1)
        x = draw.standard_normal((self.T, self.B, self.I), np.float32)
        return x, draw.standard_normal((self.T, self.B, self.directions * self.H), np.float32)

    def flops(self) -> float:
        """Of the matrix products that forward and backward need; the first layer's dx is not needed."""
        total = 0
        for i, (_, width) in enumerate(self.passes()):
            forward = width + self.H  # x W, h U
            backward = (
                width + self.H + self.H + (width if i >= self.directions else 0)
            )  # dW, dU; dh, dx
            total += 2 * self.T * self.B * GATES[self.cell] * self.H * (forward + backward)
        return total


def same(
    found: dict[str, Any], expected: dict[str, Any], what: str, tolerance: float = 1e-4
) -> None:
    """AssertionError unless the arrays agree, measured by the largest number in each."""
    assert found.keys() == expected.keys(), (what, sorted(found), sorted(expected))
    for name, value in expected.items():
        scale = float(np.abs(value).max())
        np.testing.assert_allclose(
            found[name], value, rtol=0, atol=tolerance * scale, err_msg=f"{what}: {name}"
        )
