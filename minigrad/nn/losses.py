"""Losses as modules; the equations are in minigrad/ops/loss.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from .. import core
from ..ops.create import from_numpy
from ..ops.index import scatter, take
from ..ops.over_time import REDUCTIONS, sequence_loss
from ..ops.shape import reshape
from . import functional as F
from .module import Module

if TYPE_CHECKING:
    from ..autograd import Tensor


class _Loss(Module):
    """`reduction`: "mean", "sum" or "none"."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f"{type(self).__name__}: reduction={reduction!r}: 'mean', 'sum' or 'none'"
            )
        self.reduction = reduction


class CrossEntropyLoss(_Loss):
    """logsumexp(input) - input[target]: input [N, C] scores, target [N] classes, int64.

    Targets equal to ignore_index count nothing; `weight` [C] weights classes.
    """

    def __init__(
        self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Any:  # noqa: A002
        """The loss."""
        return F.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction)

    weight: Tensor | None


class NLLLoss(_Loss):
    """-input[target], for log-probabilities input [N, C] and classes target [N], int64."""

    def __init__(self, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Any:  # noqa: A002
        """The loss."""
        return F.nll_loss(input, target, ignore_index=self.ignore_index, reduction=self.reduction)


class MSELoss(_Loss):
    """(input - target)²."""

    def forward(self, input: Tensor, target: Tensor) -> Any:  # noqa: A002
        """The loss."""
        return F.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """|input - target|."""

    def forward(self, input: Tensor, target: Tensor) -> Any:  # noqa: A002
        """The loss."""
        return F.l1_loss(input, target, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """-(t ln σ(x) + (1 - t) ln(1 - σ(x))), for scores x and targets t in [0, 1].

    `weight` multiplies the loss, pos_weight its first term; both broadcast.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Any:  # noqa: A002
        """The loss."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, self.reduction, self.pos_weight
        )

    weight: Tensor | None
    pos_weight: Tensor | None


class CTCLoss(_Loss):
    """-ln of the probability of all paths through log_probs [T, N, C] that read the targets.

    Connectionist temporal classification; arguments, reductions and errors: `F.ctc_loss`.
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(
        self, log_probs: Tensor, targets: Any, input_lengths: Any, target_lengths: Any
    ) -> Any:
        """The loss."""
        rest = self.blank, self.reduction, self.zero_infinity
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, *rest)


class SequenceLoss(Module):
    """The loss of a sequence from that of a step: any function of (outputs, targets) of one's own.

    step_loss(y, target) gets the steps that count, all at once, y [R, …] and target [R, …], and gives
    the loss of each, [R] or [R, …], where further dimensions are added up.  So padding, NaN included,
    is not even looked at.  `reduction`: "sum" (that of the textbooks), "mean", "mean_of_sums",
    "mean_of_means", "sums" or "none"; see minigrad/ops/over_time.py.

    >>> import minigrad
    >>> from minigrad import nn
    >>> def surprise(y, target):
    ...     return nn.functional.binary_cross_entropy_with_logits(y, target, reduction="none")
    >>> loss = nn.SequenceLoss(surprise, "mean_of_sums")
    >>> loss(minigrad.zeros(5, 2), minigrad.ones(5, 2), lengths=[5, 1])
    tensor(2.0794)
    """

    def __init__(self, step_loss: Callable[[Any, Any], Any], reduction: str = "sum") -> None:
        super().__init__()
        self.step_loss = step_loss
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"SequenceLoss: reduction={reduction!r}: one of {', '.join(REDUCTIONS)}"
            )
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor, lengths: Any = None, mask: Any = None) -> Any:  # noqa: A002
        """The loss of input [T, N, …] against target [T, N, …]."""
        shape = input.shape[:2]
        if len(shape) < 2 or target.shape[:2] != shape:
            raise ValueError(
                f"SequenceLoss: outputs {list(input.shape)} and targets {list(target.shape)}: "
                f"[T, N, …] with the same T and N are needed"
            )
        counted = core.valid_steps("SequenceLoss", shape, lengths, mask)
        size = shape[0] * shape[1]
        y, target = (reshape(a, (size, *a.shape[2:])) for a in (input, target))
        rows = None
        if counted is not None:
            rows = from_numpy(np.flatnonzero(counted))
            y, target = take(y, rows), take(target, rows)
        losses = self.step_loss(y, target)
        if losses.shape[:1] != y.shape[:1]:
            raise ValueError(
                f"SequenceLoss: the loss of {y.shape[0]} steps came out as {list(losses.shape)}: one "
                f'for each step is needed, for example with reduction="none"'
            )
        if len(losses.shape) > 1:
            losses = losses.sum(tuple(range(1, len(losses.shape))))
        if rows is not None:
            losses = scatter(losses, rows, (size,))
        return sequence_loss(reshape(losses, shape), None, counted, self.reduction)
