"""The clockwork RNN: groups of units that compute at clock rates of their own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ...autograd import Tensor
from ...ops.create import from_numpy, zeros
from ...ops.elementwise import where
from ...ops.index import scatter
from ...ops.shape import reshape
from .base import State
from .elman import RNNCell


class ClockworkCell(RNNCell):
    """h' = f(x W + h U + b) in the groups whose period divides t, h' = h in the others; t' = t + 1.

    The H units are g groups with periods T_1 < … < T_g, the fast ones first.  Inside a group all
    units are connected; group i hears group j only if T_j ≥ T_i, so news goes from the slow to the
    fast.  (Groups of one period hear each other: they are one group, and made one.)  The groups are
    of one size, the first ones larger by one unit where that does not come out even, or of those in
    `group_sizes`.  f: see `RNNCell`.

    The clock t is part of the state: int64 [N, 1], the steps that a sequence has done.  So the first
    input stands at t = 0, where every group computes: none waits for its first tick with a state of
    zeros, and in T steps group i computes ⌈T / T_i⌉ times.  A sequence can be cut anywhere; one that
    has ended stands still, and its clock with it; backwards in time, a sequence counts from its end.

    U holds the weights that exist and no others, [Σ_j k_j (k_1 + … + k_j)] for groups of k_j units:
    `matrix` puts them in their places.

    J. Koutník, K. Greff, F. Gomez and J. Schmidhuber, A Clockwork RNN, 2014; MISSION C1 to C5.

    x [N, I], h [N, H], t [N, 1] -> (h', t').

    >>> import minigrad
    >>> cell = minigrad.nn.ClockworkCell(3, 5, periods=(1, 2, 4, 8, 16))
    >>> h, t = cell(minigrad.zeros(2, 3))
    >>> h.shape, t
    ((2, 5), tensor([[1],
            [1]]))
    >>> cell.ticks(minigrad.tensor([[6]]))
    tensor([[ True,  True, False, False, False]])
    >>> minigrad.nn.ClockworkCell(1, 256, periods=(1, 2, 4, 8)).U.shape  # of 256² = 65 536
    (40960,)
    """

    gates, states = "h", "ht"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        periods: Sequence[int] = (1, 2, 4, 8),
        group_sizes: Sequence[int] | None = None,
        bias: bool = True,
        nonlinearity: Any = "tanh",
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, nonlinearity, dtype)
        self.periods, self.group_sizes = _groups(hidden_size, periods, group_sizes)
        ends = np.cumsum(self.group_sizes)
        reach = np.repeat(ends, self.group_sizes)[:, None]  # the columns in which a row has weights
        places = np.flatnonzero(np.arange(hidden_size) < reach)
        self.places = from_numpy(places)
        self.every = np.repeat(self.periods, self.group_sizes)  #: the period of each unit, [H]
        self.U = self._weight(len(places), dtype=dtype)

    def matrix(self) -> Tensor:
        """U as a matrix [H, H], with zeros where a fast group would speak to a slow one.

        Row j holds what unit j says to each.  (In the paper h stands to the right, W h, and the
        matrix is the transpose of this one: upper triangular in blocks.)
        """
        size = self.hidden_size
        return reshape(scatter(self.U, self.places, (size * size,)), (size, size))

    def ticks(self, t: Tensor) -> Tensor:
        """Which units compute at time t [N, 1]: bools [N, H]."""
        return from_numpy(np.asarray(t) % self.every == 0)

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """h', (h', t') from z = x W + b."""
        h, t = state
        h = where(self.ticks(t), self.f(z + h @ self.matrix()), h)
        return h, (h, t + 1)

    def initial(self, n: int) -> State:
        """Zeros; no steps done."""
        return zeros(n, self.hidden_size, dtype=self.W.dtype), zeros(n, 1, dtype="int64")

    def state_size(self, name: str) -> int:
        """The clock is one number."""
        return 1 if name == "t" else self.hidden_size

    def checked(self, state: Any, n: int) -> State:
        """As for any cell; TypeError where the clock is not int64."""
        h, t = super().checked(state, n)
        if t.dtype != "int64":
            raise TypeError(f"ClockworkCell: the clock t is {t.dtype}: the steps done, int64")
        return h, t

    def kernel(self) -> str | None:
        """See nn/fused.py."""
        return None if callable(self.nonlinearity) else f"clockwork_{self.nonlinearity}"

    def extra_repr(self) -> str:
        """For repr()."""
        return f"{super().extra_repr()}, periods={self.periods}"


def _groups(hidden: int, periods: Any, sizes: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(periods, sizes) of the groups, those with one period joined; ValueError where they do not fit."""
    periods = tuple(map(int, periods))
    if not periods or periods[0] < 1 or list(periods) != sorted(periods):
        raise ValueError(
            f"ClockworkCell: periods={periods}: at least one is needed, from 1 on, the fast groups "
            f"first"
        )
    if sizes is None:
        sizes = [len(units) for units in np.array_split(np.arange(hidden), len(periods))]
    if len(sizes) != len(periods) or min(sizes) < 1 or sum(sizes) != hidden:
        raise ValueError(
            f"ClockworkCell: group_sizes={list(sizes)}: {len(periods)} sizes are needed, one for "
            f"each period, that add up to hidden_size={hidden}"
        )
    pairs = groupby(zip(periods, sizes), key=lambda pair: pair[0])
    joined = [(period, sum(int(size) for _, size in of)) for period, of in pairs]
    return tuple(p for p, _ in joined), tuple(s for _, s in joined)
