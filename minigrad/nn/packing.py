"""Sequences with lengths or a mask, packed for the kernels: see nn/fused.py."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .. import core
from ..autograd import Tensor
from ..ops.create import from_numpy
from ..ops.index import scatter, take
from ..ops.shape import reshape


class Packing:
    """Where the valid rows of x [T, N, I] go: R of them, by step, the longest sequence first."""

    def __init__(self, valid: Any, reverse: bool) -> None:
        self.steps, self.n = valid.shape
        lengths = valid.sum(0)
        order = np.argsort(-lengths, kind="stable")
        self.lengths = lengths[order]
        self.longest = int(self.lengths[0])
        k, j = np.nonzero(np.arange(self.longest)[:, None] < self.lengths)  # step, sequence
        _, times = np.nonzero(valid.T)  # of the first sequence, of the second, …
        first = (np.cumsum(lengths) - lengths)[order]  # where those of a sequence begin
        time = times[first[j] + (self.lengths[j] - 1 - k if reverse else k)]
        self.order, self.back = from_numpy(order), from_numpy(np.argsort(order))  #: [N]
        self.in_order = bool((order[1:] > order[:-1]).all())
        self.rows = from_numpy(time * self.n + order[j])  #: [R], in x [T N, I]
        self.places = from_numpy(k * self.n + j)  #: [R], where `padded` puts them
        self.counts = core.Counts(np.bincount(k).tolist(), self.n)

    @staticmethod
    @lru_cache(maxsize=16)  # the layers and directions of a network ask for the same
    def of(valid: bytes, shape: tuple[int, int], reverse: bool) -> Packing:
        """The packing of sequences with these valid steps, a boolean array [T, N] as bytes."""
        return Packing(np.frombuffer(valid, bool).reshape(shape), reverse)

    def sorted(self, state: Any) -> Any:
        """[N, H] each, the longest sequence first."""
        return state if self.in_order else tuple(take(s, self.order) for s in state)

    def unsorted(self, state: Any) -> Any:
        """The reverse."""
        return state if self.in_order else tuple(take(s, self.back) for s in state)

    def pack(self, x: Tensor) -> Tensor:
        """[T, N, I] -> [R, I]."""
        if x.shape[:2] != (self.steps, self.n):
            raise ValueError(f"x {list(x.shape)}: [{self.steps}, {self.n}, …] is needed")
        return take(reshape(x, (self.steps * self.n, x.shape[2])), self.rows)

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """What was drawn: a mask as states are sorted, what there is for each step as x."""
        if not given:
            return given
        (m,) = self.sorted((given["m"],)) if "m" in given else (None,)
        packed = {k: self.pack(a) if len(a.shape) == 3 else a for k, a in given.items()}
        return packed if m is None else {**packed, "m": m}

    def padded(self, rows: Tensor) -> Tensor:
        """[R, I] -> [longest, N, I], in the order of the steps."""
        flat = scatter(rows, self.places, (self.longest * self.n, rows.shape[-1]))
        return reshape(flat, (self.longest, self.n, rows.shape[-1]))

    def unpack(self, y: Tensor) -> Tensor:
        """[R, H] -> [T, N, H], zeros where a step is not valid."""
        flat = scatter(y, self.rows, (self.steps * self.n, y.shape[1]))
        return reshape(flat, (self.steps, self.n, y.shape[1]))
