"""Losses as modules; the equations are in minigrad/ops/loss.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
