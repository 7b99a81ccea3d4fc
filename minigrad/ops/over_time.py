"""Losses over time: what the losses of single steps make together, with and without padding.

With l[t, n] the loss of sequence n at step t, T_n its length, N the number of sequences:

    "none"            l, zeros in the padding               [T, N]
    "sums"            Σ_t l[t, n]                           [N]
    "sum"             Σ_n Σ_t l[t, n]
    "mean"            Σ_n Σ_t l[t, n] / Σ_n T_n             every step weighs the same
    "mean_of_sums"    (1/N) Σ_n Σ_t l[t, n]                 every step of every sequence weighs 1/N
    "mean_of_means"   (1/N) Σ_n (1/T_n) Σ_t l[t, n]         every sequence weighs the same

The loss of a sequence in the textbooks, back-propagated through time, is its sum: "sum" and
"mean_of_sums".  "none", "sum" and "mean" are PyTorch's words with PyTorch's meaning, where it leaves
something out, too (ignore_index).  A mean of nothing is NaN, as there; sequences without a step are
left out of "mean_of_means".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import core
from ..autograd import Tensor
from ..core import from_numpy
from .elementwise import div, mul, where
from .reduce import sum
from .shape import stack

REDUCTIONS = ("none", "sums", "sum", "mean", "mean_of_sums", "mean_of_means")


def sequence_loss(
    losses: Any,
    lengths: Any = None,
    mask: Any = None,
    reduction: str = "sum",
) -> Any:
    """The losses of single steps [T, N] as one; `reduction` is a word of the table above.

    `losses` may also be a list with the loss of each step, T times [N].  Further dimensions,
    [T, N, …], are added up: the loss of a step is the sum over its outputs.  lengths [N], integers,
    and a mask [T, N], bool, say which steps count; the losses of others change neither the value nor
    the gradient, and may be NaN.  (If a loss has become NaN through padded *inputs*, the chain rule
    carries 0 · NaN further back: `nn.SequenceLoss` leaves padding out from the start.)
    ValueError where shapes or words do not fit.

    >>> import minigrad
    >>> losses = minigrad.tensor([[1.0, 2.0], [3.0, float("nan")]])
    >>> minigrad.nn.functional.sequence_loss(losses, lengths=[2, 1], reduction="sums")
    tensor([4., 2.])
    >>> minigrad.nn.functional.sequence_loss(losses, lengths=[2, 1], reduction="mean_of_means")
    tensor(2.)
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"sequence_loss: reduction={reduction!r}: one of {', '.join(REDUCTIONS)}")
    if not isinstance(losses, Tensor):
        losses = stack(list(losses))
    if len(losses.shape) < 2:
        raise ValueError(
            f"sequence_loss: losses {list(losses.shape)}: one for each step, [T, N, …], is needed"
        )
    if len(losses.shape) > 2:
        losses = sum(losses, tuple(range(2, len(losses.shape))))
    counted = core.valid_steps("sequence_loss", losses.shape, lengths, mask)
    if counted is not None:
        losses = where(from_numpy(counted), losses, 0.0)
    return _reduced(losses, counted, reduction)


def _reduced(losses: Tensor, counted: Any | None, reduction: str) -> Any:
    """`losses` [T, N], zeros where not `counted`, by a word of the table."""
    steps, n = losses.shape
    counts = np.full(n, steps) if counted is None else counted.sum(0)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return sum(losses)
    if reduction == "mean":
        return mul(sum(losses), 1 / counts.sum() if counts.sum() else math.nan)
    if reduction == "mean_of_sums":
        return mul(sum(losses), 1 / n if n else math.nan)
    totals = sum(losses, 0)
    if reduction == "sums":
        return totals
    some = np.count_nonzero(counts)
    means = div(totals, from_numpy(np.maximum(counts, 1).astype(losses.dtype)))
    return mul(sum(means), 1 / some if some else math.nan)
