"""Losses.  `reduction` is "mean" (the default), "sum" or "none", as in PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import core
from ..autograd import Tensor, op
from ..tape import is_grad_enabled
from .elementwise import (
    abs,
    add,
    div,
    eq,
    mul,
    ne,
    neg,
    softplus,
    square,
    sub,
    to,
    where,
)  # fmt: skip
from .index import gather, take
from .reduce import mean, sum
from .rows import softmax
from .shape import permute, reshape


def _check(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction={reduction!r}: 'mean', 'sum' or 'none'")


def _reduced(loss: Tensor, reduction: str) -> Any:
    _check(reduction)
    if reduction == "none":
        return loss
    return mean(loss) if reduction == "mean" else sum(loss)


def _same_shape(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ValueError(
            f"{name}: input {list(input.shape)} and target {list(target.shape)} differ"
        )


@op
def _cross_entropy(
    x: Tensor, target: Tensor, ignore: int, scale: float, lse: Any, loss: Any
) -> Any:
    """The loss of x [N, C] and target [N], computed before: for each row, or the sum times scale.

    So lse, which the rule reads, need not be a second result.
    """
    del x, target, ignore, scale, lse
    return loss


def _cross_entropy_rule(
    g: Any, x: Tensor, target: Tensor, ignore: int, scale: float, lse: Any
) -> Any:
    if not is_grad_enabled():
        return core.cross_entropy_grad(g, x, lse, target, ignore, scale)
    used = mul(to(ne(target, ignore), x.dtype), scale)
    column = reshape(mul(g, used), (*target.shape, 1))
    return mul(sub(softmax(x), _one_hot(target, x)), column)


_cross_entropy.vjp(x=_cross_entropy_rule)


def _one_hot(target: Tensor, x: Tensor) -> Any:
    """[N, C]: 1 at each row's target."""
    classes = core.from_numpy(np.arange(x.shape[-1]))
    return to(eq(reshape(target, (*target.shape, 1)), classes), x.dtype)


def _classes_last(name: str, input: Tensor, target: Tensor) -> Any:
    """[N, C, d...] -> [N, d..., C], and TypeError where the targets are no classes."""
    if target.layout.code != core.I64:
        raise TypeError(f"{name}: targets are int64 classes, not {core.describe(target)}")
    if len(input.shape) < 3:
        return input
    return permute(input, (0, *range(2, len(input.shape)), 1))


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """loss = logsumexp(input) - input[target]: the negative log-probability of the target class.

    input [N, C] (or [C], or [N, C, d…]) are scores before the softmax; target [N] (or [], [N, d…])
    are classes, int64.  `weight` [C] weights classes.  Targets equal to ignore_index count nothing;
    the mean is over the others.  IndexError where a target is no class.
    """
    _check(reduction)
    input = _classes_last("cross_entropy", input, target)
    loss, lse, total, count = core.cross_entropy(input, target, ignore_index)
    scale = 1.0
    if weight is None and reduction != "none":
        if reduction == "mean":
            scale = 1 / count if count else math.nan
        loss = core.scalar(total * scale, loss.layout.code)
    loss = _cross_entropy(input, target, ignore_index, scale, lse, loss)
    if weight is None:
        return loss
    used = ne(target, ignore_index)
    weights = mul(take(weight, where(used, target, 0)), to(used, input.dtype))
    loss = mul(loss, weights)
    return div(sum(loss), sum(weights)) if reduction == "mean" else _reduced(loss, reduction)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """loss = -input[target], for log-probabilities input and classes target, as in cross_entropy."""
    input = _classes_last("nll_loss", input, target)
    used = ne(target, ignore_index)
    classes = where(used, target, 0)
    loss = neg(gather(input, -1, reshape(classes, (*target.shape, 1))))
    loss = where(used, reshape(loss, target.shape), 0.0)
    scale = to(used, input.dtype)
    if weight is not None:
        scale = mul(scale, take(weight, classes))
        loss = mul(loss, scale)
    return div(sum(loss), sum(scale)) if reduction == "mean" else _reduced(loss, reduction)


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Any:
    """loss = (input - target)², elementwise."""
    _same_shape("mse_loss", input, target)
    return _reduced(square(sub(input, target)), reduction)


def half_squared_error(input: Tensor, target: Tensor, reduction: str = "mean") -> Any:
    """loss = ½ (input - target)², elementwise: its derivative is input - target."""
    _same_shape("half_squared_error", input, target)
    return _reduced(mul(square(sub(input, target)), 0.5), reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Any:
    """loss = |input - target|, elementwise."""
    _same_shape("l1_loss", input, target)
    return _reduced(abs(sub(input, target)), reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Any:
    """loss = -(t ln σ(x) + (1 - t) ln(1 - σ(x))), elementwise, for scores x and targets t in [0, 1].

    Computed as softplus(x) - t x, which does not overflow.  pos_weight multiplies the first term.
    """
    _same_shape("binary_cross_entropy_with_logits", input, target)
    if pos_weight is None:
        loss = sub(softplus(input), mul(target, input))
    else:
        positive = mul(mul(target, pos_weight), softplus(neg(input)))
        loss = add(positive, mul(sub(1.0, target), softplus(input)))
    return _reduced(loss if weight is None else mul(loss, weight), reduction)
