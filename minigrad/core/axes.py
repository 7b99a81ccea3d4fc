"""Kernels along an axis: reductions, softmax and its kin, cross-entropy, gather and scatter-add."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad._core import ffi, lib

from . import shapes
from .array import (
    F64,
    I64,
    NULL,
    Array,
    check,
    contiguous,
    describe,
    empty,
    empty_of,
    from_numpy,
    layout,
    numbers,
    strides_of,
    view,
)  # fmt: skip
from .shapes import Shape

RED, ROW = numbers("red"), numbers("row")


def _float_rows(op: str, x: Any) -> tuple[Any, int, int]:
    """(contiguous x, number of rows, length of a row)"""
    if x.layout.code > F64:
        raise TypeError(f"{op}: {describe(x)}: a float tensor is needed")
    if not x.shape:
        raise ValueError(f"{op}: a tensor with at least one dimension is needed")
    n = x.shape[-1]
    return contiguous(x), math.prod(x.shape[:-1]), n


def permute(x: Any, order: Shape) -> Any:
    """x with its dimensions in another order, on the same memory."""
    shape, steps = x.shape, strides_of(x)
    shape, steps = tuple(shape[d] for d in order), tuple(steps[d] for d in order)
    return view(x, 0, shape, shapes.normal(shape, steps))


def reduce(op: str, x: Any, axes: Shape, parameter: float = 0.0, keepdim: bool = False) -> Any:
    """x reduced over `axes` (sorted, counted from the front), which the result lacks or has as 1.

    `RED` lists the ops; argmax and argmin give int64.  `parameter` is the correction of var.
    """
    plan = shapes.reduction(x.layout.shape, axes)
    shape = plan.shape if not keepdim else plan.kept
    if not plan.length and op in ("max", "min", "argmax", "argmin"):
        raise ValueError(f"{op}: no elements to choose from in {describe(x)} over dim {list(axes)}")
    if x.layout.code > F64:
        return _reduce_integers(op, x, axes, keepdim)
    if plan.order is not None:
        x = permute(x, plan.order)
    x = contiguous(x)
    code = x.layout.code
    y = empty_of(shape, I64 if op in ("argmax", "argmin") else code)
    status = lib.mg_reduce(
        RED[op], code, plan.outer, plan.length, plan.inner, y.ptr, x.ptr, parameter
    )
    if status:
        check(status, op, x)
    return y


def _reduce_integers(op: str, x: Any, axes: Shape, keepdim: bool) -> Any:
    if op not in ("sum", "prod", "max", "min", "argmax", "argmin"):
        raise TypeError(f"{op}: {describe(x)}: a float tensor is needed")
    over: Any = axes
    if op.startswith("arg"):  # NumPy takes one axis, or all
        over = axes[0] if axes and len(axes) < len(x.shape) else None
    return from_numpy(np.asarray(getattr(np, op)(np.asarray(x), axis=over, keepdims=keepdim)))


def sum_to(x: Any, shape: Shape) -> Any:
    """x summed over the dimensions along which `shape` was broadcast."""
    new = len(x.shape) - len(shape)
    axes = [d for d, n in enumerate(x.shape) if d < new or (shape[d - new] == 1 and n != 1)]
    y = reduce("sum", x, tuple(axes))
    if y.layout.size != math.prod(shape):
        raise ValueError(f"sum_to: {describe(x)} is no repetition of {list(shape)}")
    return view(y, 0, shape, None)


def rows(op: str, x: Any, b: Any = None, aux: Any = None, parameter: float = 0.0) -> Any:
    """`op` along the last dimension, [..., n] -> [..., n]; `ROW` lists the ops."""
    x, count, n = _float_rows(op, x)
    b = b if b is None else contiguous(b)
    if b is not None and b.layout is not x.layout:
        raise ValueError(f"{op}: {describe(x)} and {describe(b)}")
    y = empty(x.layout)
    b_ptr, aux_ptr = (NULL if a is None else a.ptr for a in (b, aux))
    check(
        lib.mg_rows(ROW[op], x.layout.code, count, n, y.ptr, x.ptr, b_ptr, aux_ptr, parameter),
        op,
        x,
    )
    return y


def normalize(x: Any, eps: float) -> tuple[Any, Any]:
    """((x - mean) * rstd, rstd) along the last dimension, with rstd = 1/sqrt(var + eps)."""
    rstd = empty_of(x.shape[:-1], x.layout.code)
    return rows("normalize", x, aux=rstd, parameter=eps), rstd


def indices(op: str, index: Any) -> Any:
    """`index` as contiguous int64."""
    if index.layout.code != I64:
        raise TypeError(f"{op}: indices must be int64, not {describe(index)}")
    return contiguous(index)


def _bad_index(op: str, status: int, index: Any, bad: Any, size: int, *operands: Array) -> None:
    if status == lib.MG_BAD_INDEX:
        at = np.unravel_index(bad[0], index.shape)
        raise IndexError(
            f"{op}: index {np.asarray(index)[at]} at position {[int(i) for i in at]} is out of range "
            f"for size {size}"
        )
    check(status, op, *operands)


def cross_entropy(x: Any, target: Any, ignore: int) -> tuple[Any, Any, float, int]:
    """(loss, lse, the sum of all losses, the number of targets that are not `ignore`).

    loss and lse are [...]: logsumexp(x) - x[target] and logsumexp(x) for x [..., n], target int64
    [...].
    """
    x, count, n = _float_rows("cross_entropy", x)
    target = indices("cross_entropy", target)
    if target.shape != x.shape[:-1]:
        raise ValueError(
            f"cross_entropy: scores {list(x.shape)} need targets {list(x.shape[:-1])}, "
            f"not {list(target.shape)}"
        )
    code = x.layout.code
    loss, lse = empty_of(target.shape, code), empty_of(target.shape, code)
    total, bad, t = ffi.new("double[2]"), ffi.new("int64_t *"), ffi.cast("int64_t *", target.ptr)
    status = lib.mg_cross_entropy(code, count, n, loss.ptr, lse.ptr, x.ptr, t, ignore, total, bad)
    if status:
        _bad_index("cross_entropy", status, target, bad, n, x)
    return loss, lse, total[0], int(total[1])


def cross_entropy_grad(g: Any, x: Any, lse: Any, target: Any, ignore: int, scale: float) -> Any:
    """Scale g (softmax(x) - onehot(target)), zero where target == ignore; g is [...] or []."""
    x, count, n = _float_rows("cross_entropy", x)
    g, target = contiguous(g), contiguous(target)
    step = int(g.layout is lse.layout)
    if not step and g.layout is not layout((), None, x.layout.code):
        raise ValueError(f"cross_entropy: a gradient {describe(g)} for {list(lse.shape)}")
    y = empty(x.layout)
    t = ffi.cast("int64_t *", target.ptr)
    status = lib.mg_cross_entropy_grad(
        x.layout.code, count, n, y.ptr, g.ptr, step, scale, x.ptr, lse.ptr, t, ignore
    )
    check(status, "cross_entropy", x)
    return y


def gather(table: Any, index: Any) -> Any:
    """y[i...] = table[index[i...]]: table [size, ...], index int64 [i...] -> [i..., ...]."""
    index = indices("gather", index)
    shape = index.shape + table.shape[1:]
    if table.layout.code > F64:
        return from_numpy(np.asarray(np.asarray(table)[np.asarray(index)]))
    table = contiguous(table)
    size, width = table.shape[0], math.prod(table.shape[1:])
    y = empty_of(shape, table.layout.code)
    bad, i = ffi.new("int64_t *"), ffi.cast("int64_t *", index.ptr)
    status = lib.mg_gather(
        table.layout.code, index.layout.size, width, size, y.ptr, table.ptr, i, bad
    )
    _bad_index("gather", status, index, bad, size, table)
    return y


def scatter_add(table: Any, index: Any, x: Any) -> None:
    """table[index[i...]] += x[i...], in place; repeated indices add up."""
    index, x = indices("scatter_add", index), contiguous(x)
    size, width = table.shape[0], math.prod(table.shape[1:])
    if x.layout.size != index.layout.size * width or x.layout.code != table.layout.code:
        raise ValueError(
            f"scatter_add: {describe(x)} to rows {list(index.shape)} of {describe(table)}"
        )
    bad, i = ffi.new("int64_t *"), ffi.cast("int64_t *", index.ptr)
    status = lib.mg_scatter_add(
        table.layout.code, index.layout.size, width, size, table.ptr, x.ptr, i, bad
    )
    _bad_index("scatter_add", status, index, bad, size, table)
