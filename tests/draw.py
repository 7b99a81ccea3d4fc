"""Random operands for the tests: shapes, memory layouts, values away from kinks.

Everything comes from one function, `pick(low, high)`, an integer with both ends included:
hypothesis supplies it where failing cases should be made small, a seeded generator where many cases
should be quick (`seeded`).  Values come from a generator whose seed was picked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Domain:
    """From where an operand's values come: [low, high] without `gap` around each of `holes`.

    Holes are the kinks of an op, where central differences straddle two slopes.
    """

    low: float = -2.0
    high: float = 2.0
    holes: tuple[float, ...] = ()
    gap: float = 0.05


REAL = Domain()
POSITIVE = Domain(0.3, 3.0)


@dataclass(frozen=True)
class Grid:
    """Values that come no closer than 0.1 to each other, nor to those of a grid of another phase.

    For ops that compare: maximum, clip, amax.
    """

    phase: int = 0
    phases: int = 1


class Draw:
    """Draws the operands of one example."""

    def __init__(self, pick: Callable[[int, int], int]) -> None:
        self.pick = pick
        self.rng = np.random.default_rng(pick(0, 2**31))

    def flag(self) -> bool:
        """True or False."""
        return bool(self.pick(0, 1))

    def choice(self, *options: Any) -> Any:
        """One of the options."""
        return options[self.pick(0, len(options) - 1)]

    def shape(self, low: int = 0, high: int = 3, *, least: int = 0, most: int = 3) -> Shape:
        """`low` to `high` dimensions of size `least` to `most`: 0 and 1 are sizes like others."""
        return tuple(self.pick(least, most) for _ in range(self.pick(low, high)))

    def broadcasting(self, count: int) -> list[Shape]:
        """Shapes that broadcast: each lacks leading dimensions of a common one, or has 1 there."""
        whole = self.shape()
        shapes = []
        for _ in range(count):
            kept = whole[self.pick(0, len(whole)) if self.flag() else 0 :]
            shapes.append(tuple(n if self.pick(0, 3) else 1 for n in kept))
        return shapes

    def dim(self, ndim: int) -> int:
        """A dimension, counted from the front or from the end."""
        return self.pick(-ndim, ndim - 1) if ndim else self.pick(-1, 0)

    def dims(self, ndim: int) -> Any:
        """What reductions take: None, a dimension, or several."""
        if self.flag():
            return self.choice(None, self.dim(ndim))
        chosen = [d for d in range(ndim) if self.flag()] or list(range(ndim))
        return tuple(d - ndim if self.flag() else d for d in chosen)

    def values(self, shape: Shape, domain: Any = REAL) -> Any:
        """float64 values from a Domain or a Grid."""
        if isinstance(domain, Grid):
            n = int(np.prod(shape))
            places = self.rng.permutation(n) - n // 2
            return np.array((places * domain.phases + domain.phase) * 0.1, float).reshape(shape)
        x = self.rng.uniform(domain.low, domain.high, shape)
        for hole in domain.holes:
            x = np.where(
                abs(x - hole) < domain.gap, hole + np.where(x < hole, -1, 1) * domain.gap, x
            )
        return np.asarray(x)

    def normal(self, *shape: int) -> Any:
        """Standard normal float64."""
        return np.asarray(self.rng.standard_normal(shape))

    def integers(self, low: int, high: int, shape: Shape) -> Any:
        """int64 in [low, high)."""
        return np.asarray(self.rng.integers(low, high, shape))

    def mask(self, shape: Shape) -> Any:
        """Bools."""
        return np.asarray(self.rng.random(shape) < 0.5)

    def laid_out(self, a: Any, how: int | None = None) -> Any:
        """The same values in memory that is in order (0), transposed (1), or has gaps (2)."""
        how = self.pick(0, 2) if how is None else how
        if how == 1:
            return np.array(a.T, order="C").T
        if how == 2 and a.ndim:
            wide = np.zeros([2 * n + 1 for n in a.shape], a.dtype)
            inner = wide[tuple(slice(1, 2 * n + 1, 2) for n in a.shape)]
            inner[...] = a
            return inner
        return a


def seeded(seed: int) -> Draw:
    """Draws that depend on `seed` alone."""
    rng = np.random.default_rng(seed)
    return Draw(lambda low, high: int(rng.integers(low, high + 1)))
