"""Sequences of different lengths as one tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import core
from ...ops.create import full
from ...ops.shape import cat, stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...autograd import Tensor


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0
) -> Any:
    """N sequences [T_n, …] -> [T, N, …], T = max T_n (batch_first: [N, T, …]); the rest is padding.

    The layers take the lengths themselves: `lengths=[len(s) for s in sequences]`.
    """
    xs = list(sequences)
    if not xs:
        raise ValueError("pad_sequence: at least one sequence is needed")
    for x in xs:
        if not x.shape or x.shape[1:] != xs[0].shape[1:] or x.dtype != xs[0].dtype:
            raise ValueError(
                f"pad_sequence: {core.describe(xs[0])} and {core.describe(x)}: equal types, and "
                f"shapes that differ in the first dimension only, are needed"
            )
    steps = max(x.shape[0] for x in xs)
    padded = []
    for x in xs:
        padding = full((steps - x.shape[0], *x.shape[1:]), padding_value, x.dtype)
        padded.append(cat([x, padding]) if padding.shape[0] else x)
    return stack(padded, 0 if batch_first else 1)
