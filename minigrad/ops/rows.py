"""Ops on the rows of a tensor: softmax, log-softmax, layer normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Callable

from .. import core
from ..autograd import Tensor, op
from ..core import shapes
from ..tape import is_grad_enabled
from .elementwise import add, exp, mul, neg, square, sub
from .reduce import mean, sum
from .shape import reshape, transpose


def _along(dim: int, x: Tensor, f: Callable[[Tensor], Tensor]) -> Any:
    """f, which works on rows, along dimension `dim` of x."""
    if not x.shape:
        return reshape(f(reshape(x, (1,))), ())
    d = shapes.axis(dim, len(x.shape))
    if d == len(x.shape) - 1:
        return f(x)
    return transpose(f(transpose(x, d, -1)), d, -1)


@op
def _softmax(x: Tensor) -> Any:
    return core.rows("softmax", x)


@op
def _softmax_grad(a: Tensor, b: Tensor) -> Any:
    """b (a - Σ a b), for a the gradient and b the output of softmax"""
    return core.rows("softmax_grad", a, b)


def _softmax_grad_output(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    s, t = sum(mul(a, b), -1, True), sum(mul(g, b), -1, True)
    return sub(mul(g, sub(a, s)), mul(a, t))


_softmax.vjp(x=lambda g, y: _softmax_grad(g, y))
_softmax_grad.vjp(a=lambda g, b: _softmax_grad(g, b), b=_softmax_grad_output)


@op
def _log_softmax(x: Tensor) -> Any:
    return core.rows("log_softmax", x)


@op
def _log_softmax_grad(a: Tensor, b: Tensor) -> Any:
    """a - eᵇ Σ a, for a the gradient and b the output of log_softmax"""
    return core.rows("log_softmax_grad", a, b)


_log_softmax.vjp(x=lambda g, y: _log_softmax_grad(g, y))
_log_softmax_grad.vjp(
    a=lambda g, b: sub(g, sum(mul(g, exp(b)), -1, True)),
    b=lambda g, a, b: neg(mul(mul(g, exp(b)), sum(a, -1, True))),
)


@op
def _normalize(x: Tensor, eps: float) -> Any:
    """((x - mean) rstd, rstd) with rstd = 1 / √(var + eps), of each row"""
    return core.normalize(x, eps)


def _normalize_rule(g: Any, y: Any) -> Any:
    (g, g_rstd), (y, rstd) = g, y
    column = reshape(rstd, (*rstd.shape, 1))
    if g is None:
        dx = 0.0
    elif is_grad_enabled():
        dx = mul(column, sub(sub(g, mean(g, -1, True)), mul(y, mean(mul(g, y), -1, True))))
    else:  # the same in one pass over memory
        dx = core.rows("normalize_grad", g, y, rstd)
    if g_rstd is not None:
        slope = mul(mul(square(column), y), -1 / max(y.shape[-1], 1))
        dx = add(mul(reshape(g_rstd, column.shape), slope), dx)
    return dx, None


_normalize.vjp_all(_normalize_rule)


def layer_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    """y = (x - mean) / √(var + eps) weight + bias over the last dimensions, those of normalized_shape.

    var divides by n.  Ba, Kiros and Hinton, Layer Normalization, 2016.  ValueError where x does not
    end in normalized_shape.
    """
    last = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not last or x.shape[-len(last) :] != last:
        raise ValueError(f"layer_norm: {list(x.shape)} does not end in {list(last)}")
    rows = reshape(x, (*x.shape[: -len(last)], math.prod(last)))
    y = reshape(_normalize(rows, eps)[0], x.shape)
    y = y if weight is None else mul(y, weight)
    return y if bias is None else add(y, bias)


def softmax(x: Tensor, dim: int = -1) -> Any:
    """y = eˣ / Σ eˣ along `dim`."""
    return _along(dim, x, _softmax)


def log_softmax(x: Tensor, dim: int = -1) -> Any:
    """y = x - ln Σ eˣ along `dim`, exact where softmax underflows."""
    return _along(dim, x, _log_softmax)
