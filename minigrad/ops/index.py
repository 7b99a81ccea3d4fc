"""Indexing: x[key] for every key that NumPy knows, and rows of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import core
from ..autograd import Tensor, op
from ..core import Shape, shapes
from ..tape import is_grad_enabled, written
from .elementwise import add
from .shape import reshape, transpose


@op
def _slice(x: Tensor, key: tuple[Any, ...]) -> Any:
    """Basic indexing: a view."""
    offset, shape, strides = shapes.index(x.shape, x.layout.strides, key)
    return core.view(x, offset, shape, shapes.normal(shape, strides))


@op
def _unslice(x: Tensor, key: tuple[Any, ...], to: Shape) -> Any:
    """Zeros of shape `to`, with x at [key]."""
    y = core.zeros(core.layout(to, None, x.layout.code))
    offset, shape, strides = shapes.index(to, None, key)
    core.copy_into(core.view(y, offset, shape, shapes.normal(shape, strides)), x)
    return y


def _slice_into(total: Tensor, g: Tensor, key: tuple[Any, ...]) -> None:
    offset, shape, strides = shapes.index(total.shape, None, key)
    part = core.view(total, offset, shape, shapes.normal(shape, strides))
    core.copy_into(part, add(part, g))


_unslice.vjp(x=lambda g, key: _slice(g, key))
_slice.vjp(x=lambda g, key, shape: _unslice(g, key, shape))
_slice.vjp_into(x=_slice_into)  # T slices of a sequence cost T slices, not T sequences


def narrow(x: Tensor, dim: int, start: int, length: int) -> Any:
    """x from `start` on along `dim`, `length` long: a view."""
    d = shapes.axis(dim, len(x.shape))
    if not 0 <= start <= start + length <= x.shape[d]:
        raise IndexError(
            f"narrow: {start} … {start + length} of dimension {dim} of size {x.shape[d]}"
        )
    return _slice(x, (slice(None),) * d + (slice(start, start + length),))


@op
def take(table: Tensor, index: Tensor) -> Any:
    """y[i…] = table[index[i…]]: table [size, …], index int64 [i…] -> [i…, …].

    Negative indices count from the end; IndexError where one is out of range.
    """
    return core.gather(table, index)


@op
def scatter(x: Tensor, index: Tensor, to: Shape) -> Any:
    """Zeros of shape `to`, to whose rows `index`, int64 [i…], those of x [i…, …] are added.

    IndexError where an index is out of range.
    """
    y = core.zeros(core.layout(to, None, x.layout.code))
    core.scatter_add(y, index, x)
    return y


scatter.vjp(x=lambda g, index: take(g, index))
take.vjp(table=lambda g, index, shape: scatter(g, index, shape))
take.vjp_into(table=lambda total, g, index: core.scatter_add(total, index, g))


def embedding(input: Tensor, weight: Tensor) -> Any:
    """The rows of `weight` [V, D] that `input`, int64 [...], names: [..., D]."""
    return take(weight, input)


def _is_basic(key: Any) -> bool:
    return (
        key is None
        or key is Ellipsis
        or (isinstance(key, (int, slice, np.integer)) and not isinstance(key, bool))
    )


def _array(key: Any) -> Any:
    return np.asarray(key) if isinstance(key, (Tensor, list)) else key


def getitem(x: Tensor, key: Any) -> Any:
    """x[key]: ints, slices, None and ... give views; int64 and bool tensors, arrays and lists copies."""
    keys = key if isinstance(key, tuple) else (key,)
    if all(map(_is_basic, keys)):
        return _slice(x, keys)
    if isinstance(key, Tensor) and key.layout.code == core.I64 and x.shape:
        return take(x, key)
    return take(reshape(x, (-1,)), _positions(x.shape, keys))


def _positions(shape: Shape, keys: tuple[Any, ...]) -> Any:
    """Where x[keys] lies in the flattened x."""
    return core.from_numpy(np.arange(math.prod(shape)).reshape(shape)[tuple(map(_array, keys))])


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value, in place.  RuntimeError if x is tracked: its history would be wrong."""
    if x.node is not None and is_grad_enabled():
        raise RuntimeError(
            "writing into a tensor that requires gradients: do it under no_grad, or build the tensor "
            "with where, cat or stack"
        )
    keys = key if isinstance(key, tuple) else (key,)
    value = core.operand(value, x)
    if all(map(_is_basic, keys)):
        offset, shape, strides = shapes.index(x.shape, x.layout.strides, keys)
        core.copy_into(core.view(x, offset, shape, shapes.normal(shape, strides)), value)
    else:
        np.asarray(x)[tuple(map(_array, keys))] = np.asarray(value)
    written(x)


def gather(x: Tensor, dim: int, index: Tensor) -> Any:
    """y[…, j, …] = x[…, index[…, j, …], …] along `dim`.

    index, int64, has as many dimensions as x, none of them larger but `dim`.  IndexError where it
    is out of range, ValueError where the shapes do not fit.
    """
    if not x.shape:
        return reshape(gather(reshape(x, (1,)), dim, reshape(index, (-1,))), ())
    d = shapes.axis(dim, len(x.shape))
    core.indices("gather", index)
    sizes = [(n, m) for i, (n, m) in enumerate(zip(index.shape, x.shape)) if i != d]
    if len(index.shape) != len(x.shape) or any(n > m for n, m in sizes):
        raise ValueError(f"gather: index {list(index.shape)} along dim {dim} of {core.describe(x)}")
    wrong = np.argwhere((np.asarray(index) < 0) | (np.asarray(index) >= x.shape[d])).tolist()
    if wrong:
        raise IndexError(
            f"gather: index {np.asarray(index)[tuple(wrong[0])]} at position {wrong[0]} is out of range "
            f"for dim {dim} of {core.describe(x)}"
        )
    places = list(np.indices(index.shape, sparse=True))
    places[d] = np.asarray(index)
    flat = np.ravel_multi_index(tuple(np.broadcast_arrays(*places)), x.shape)
    return take(reshape(x, (-1,)), core.from_numpy(flat))


def flip(x: Tensor, dims: int | Sequence[int]) -> Any:
    """x with the order reversed along `dims`: a copy."""
    for d in shapes.axes(dims, len(x.shape)):
        backwards = core.from_numpy(np.arange(x.shape[d] - 1, -1, -1))
        x = transpose(take(transpose(x, 0, d), backwards), 0, d)
    return x
