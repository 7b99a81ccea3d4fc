"""Reductions over one dimension, several, or all (dim=None); with keepdim they stay, with size 1.

`dim` may be negative.  An empty dimension: sum 0, prod 1, mean and var NaN, logsumexp -inf; max,
min, argmax and argmin raise ValueError.  IndexError where a tensor lacks the dimension.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Union

import numpy as np

from .. import core
from ..autograd import Tensor, op
from ..core import shapes
from .elementwise import div, eq, exp, mul, sqrt, sub, to, where
from .index import gather, narrow
from .shape import cat, expand, permute, reshape

_max = max  # the builtin: this module's is a reduction

Dim = Union[None, int, Sequence[int]]


def _over(op_name: str, x: Tensor, dim: Dim, keepdim: bool, parameter: float = 0.0) -> Any:
    return core.reduce(op_name, x, shapes.axes(dim, len(x.shape)), parameter, keepdim)


def _back(g: Tensor, shape: core.Shape, dim: Dim) -> Any:
    """g, or y, with the reduced dimensions put back with size 1: it broadcasts against x."""
    return reshape(g, shapes.reduction(shape, shapes.axes(dim, len(shape))).kept)


def _count(shape: core.Shape, dim: Dim) -> int:
    return shapes.reduction(shape, shapes.axes(dim, len(shape))).length


@op
def sum(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Any:
    """y = Σ x"""
    return _over("sum", x, dim, keepdim)


sum.vjp(x=lambda g, shape, dim: expand(_back(g, shape, dim), shape))


@op
def sum_to(x: Tensor, shape: core.Shape) -> Any:
    """x summed over the dimensions along which `shape` was broadcast: the reverse of expand."""
    return core.sum_to(x, shape)


# The rule's `shape` is that of its argument x; the op's own argument `shape` goes by the same name,
# and is not needed.
sum_to.vjp(x=lambda g, shape: expand(g, shape))


@op
def mean(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Any:
    """y = (Σ x) / n"""
    return _over("mean", x, dim, keepdim)


mean.vjp(
    x=lambda g, shape, dim: expand(
        _back(mul(g, 1 / _max(_count(shape, dim), 1)), shape, dim), shape
    )
)


@op
def prod(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Any:
    """y = Π x"""
    return _over("prod", x, dim, keepdim)


def _prod_rule(g: Tensor, y: Tensor, x: Tensor, shape: core.Shape, dim: Dim) -> Any:
    """g times the product of all other elements: y / x, but multiplied out where an x is 0."""
    g = _back(g, shape, dim)
    if np.all(np.asarray(x)):
        return mul(g, div(_back(y, shape, dim), x))
    axes = shapes.axes(dim, len(shape))
    order = (*(d for d in range(len(shape)) if d not in axes), *axes)
    moved = permute(x, order)
    n = math.prod(moved.shape[len(shape) - len(axes) :])
    rows = reshape(moved, (*moved.shape[: len(shape) - len(axes)], n))
    one = expand(core.operand(1.0, x), (*rows.shape[:-1], 1))
    before, after = [one], [one]  # products of what stands before, and of what stands after
    for i in range(n - 1):
        before.append(mul(before[-1], narrow(rows, -1, i, 1)))
        after.append(mul(after[-1], narrow(rows, -1, n - 1 - i, 1)))
    others = reshape(mul(cat(before, -1), cat(after[::-1], -1)), moved.shape)
    return mul(g, permute(others, tuple(order.index(d) for d in range(len(shape)))))


prod.vjp(x=_prod_rule)


def _extreme(name: str) -> Any:
    def extreme(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Any:
        return _over(name, x, dim, keepdim)

    extreme.__name__ = extreme.__qualname__ = name
    extreme.__doc__ = (
        f"y = {name} x; the gradient is shared evenly among equal elements (PyTorch's a{name})."
    )
    result = op(extreme)

    def rule(g: Tensor, y: Tensor, x: Tensor, shape: core.Shape, dim: Dim) -> Any:
        chosen = to(eq(x, _back(y, shape, dim)), g.dtype)
        share = div(chosen, sum(chosen, dim, True))
        return mul(_back(g, shape, dim), share)

    result.vjp(x=rule)
    return result


amax = _extreme("max")
amin = _extreme("min")


class Extreme(NamedTuple):
    """What max and min along a dimension give: the values, and where they are."""

    values: Any
    indices: Any


def _with_indices(reduce_op: Any, arg_op: Any, x: Tensor, dim: Any, keepdim: bool) -> Any:
    if dim is None:
        return reduce_op(x)
    if isinstance(dim, Tensor):
        raise TypeError("the larger or smaller of two tensors: use maximum or minimum")
    indices = arg_op(x, dim, True)
    values = gather(x, dim, indices)
    if not keepdim:
        shape = core.reduce("sum", indices, shapes.axes(dim, len(x.shape))).shape
        values, indices = reshape(values, shape), reshape(indices, shape)
    return Extreme(values, indices)


def max(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The greatest element; with `dim`, (values, indices) along that dimension: the first of equals."""
    return _with_indices(amax, argmax, x, dim, keepdim)


def min(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The least element; with `dim`, (values, indices) along that dimension: the first of equals."""
    return _with_indices(amin, argmin, x, dim, keepdim)


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index (int64) of the greatest element along `dim`, or in the flattened tensor."""
    return _over("argmax", x, dim, keepdim)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index (int64) of the least element along `dim`, or in the flattened tensor."""
    return _over("argmin", x, dim, keepdim)


@op
def logsumexp(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Any:
    """y = ln Σ eˣ, without overflow"""
    return _over("logsumexp", x, dim, keepdim)


def _logsumexp_rule(g: Tensor, y: Tensor, x: Tensor, shape: core.Shape, dim: Dim) -> Any:
    peak = _back(y, shape, dim)
    finite = where(eq(peak, -math.inf), 0.0, peak)  # all -inf: e^(-inf - 0) = 0, not NaN
    return mul(_back(g, shape, dim), exp(sub(x, finite)))


logsumexp.vjp(x=_logsumexp_rule)


@op
def var(x: Tensor, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Any:
    """y = Σ (x - mean)² / max(0, n - correction)"""
    return _over("var", x, dim, keepdim, float(correction))


def _var_rule(g: Tensor, x: Tensor, shape: core.Shape, dim: Dim, correction: float) -> Any:
    divisor = _max(0.0, _count(shape, dim) - correction)
    scale = 2 / divisor if divisor else math.nan
    return mul(mul(_back(g, shape, dim), scale), sub(x, mean(x, dim, True)))


var.vjp(x=_var_rule)


def std(x: Tensor, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Any:
    """y = √var"""
    return sqrt(var(x, dim, correction, keepdim))
