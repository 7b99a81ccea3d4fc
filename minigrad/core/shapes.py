"""Shapes and strides: arithmetic on tuples, nothing else.

An array's layout is its shape and its strides, in elements; strides None means contiguous
(row-major). Everything is a pure function of tuples, so the results that the hot path needs are
cached.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Optional

Shape = tuple[int, ...]
Strides = Optional[Shape]


@lru_cache(maxsize=4096)
def row_major(shape: Shape) -> Shape:
    """Strides of a contiguous array."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def normal(shape: Shape, strides: Shape) -> Strides:
    """None where `strides` address the elements of `shape` in row-major order."""
    step = 1
    for n, s in zip(reversed(shape), reversed(strides)):
        if n != 1 and s != step:
            return strides if 0 not in shape else None
        step *= n
    return None


def axis(dim: int, ndim: int) -> int:
    """`dim` counted from the front; IndexError where there is no such dimension."""
    if not -ndim <= dim < max(ndim, 1):
        raise IndexError(f"dimension {dim} of a tensor with {ndim} dimensions")
    return dim % ndim if ndim else 0


def axes(dim: int | Sequence[int] | None, ndim: int) -> Shape:
    """The dimensions that `dim` names (None: all), counted from the front, in rising order."""
    if dim is None:
        return tuple(range(ndim))
    if isinstance(dim, int):
        return (axis(dim, ndim),) if ndim else ()
    result = sorted({axis(d, ndim) for d in dim}) if ndim else []
    if ndim and len(result) != len(dim):
        raise ValueError(f"dim={tuple(dim)} names a dimension twice")
    return tuple(result)


class Reduction(NamedTuple):
    """How to see a reduction as one over the middle of [outer, length, inner]."""

    order: Shape | None  #: how to permute the dimensions first, where the axes are not neighbours
    outer: int
    length: int
    inner: int
    shape: Shape  #: of the result
    kept: Shape  #: of the result with the reduced dimensions kept, as 1


@lru_cache(maxsize=16384)
def reduction(shape: Shape, axes: Shape) -> Reduction:
    """The reduction of an array of this shape over `axes` (sorted, counted from the front)."""
    rest = tuple(d for d in range(len(shape)) if d not in axes)
    first, order = axes[0] if axes else len(shape), None
    if axes != tuple(range(first, first + len(axes))):
        first, order = len(rest), (*rest, *axes)
    return Reduction(
        order,
        math.prod(shape[d] for d in rest[:first]),
        math.prod(shape[d] for d in axes),
        math.prod(shape[d] for d in rest[first:]),
        tuple(shape[d] for d in rest),
        tuple(1 if d in axes else n for d, n in enumerate(shape)),
    )


def broadcast(*shapes: Shape) -> Shape:
    """The common shape; ValueError where a dimension is neither equal nor 1."""
    ndim = max(map(len, shapes))
    padded = [(1,) * (ndim - len(s)) + s for s in shapes]
    result = []
    for d, lengths in enumerate(zip(*padded)):
        different = set(lengths) - {1}
        if len(different) > 1:
            raise ValueError(
                f"shapes {' and '.join(str(list(s)) for s in shapes)} do not broadcast: dimension "
                f"{d - ndim} is {' and '.join(map(str, lengths))}, where equal sizes or 1 are needed"
            )
        result.append(different.pop() if different else 1)
    return tuple(result)


def expand(shape: Shape, strides: Strides, to: Shape) -> Shape:
    """Strides that show an array as the larger shape `to`: 0 along the dimensions repeated."""
    steps = row_major(shape) if strides is None else strides
    new = len(to) - len(shape)
    if new < 0 or any(n not in (m, 1) for n, m in zip(shape, to[new:])):
        raise ValueError(f"shape {list(shape)} does not expand to {list(to)}")
    return (0,) * new + tuple(
        0 if n == 1 and m != 1 else s for n, m, s in zip(shape, to[new:], steps)
    )


def merged(shape: Shape, *strides: Shape) -> list[list[int]]:
    """[length, stride of operand 1, stride of operand 2, …] per dimension.

    Neighbours are merged where every operand steps through both as through one.
    """
    dims: list[list[int]] = []
    for n, *steps in zip(shape, *strides):
        if n == 1:
            continue
        if dims and all(outer == n * inner for outer, inner in zip(dims[-1][1:], steps)):
            dims[-1] = [dims[-1][0] * n, *steps]
        else:
            dims.append([n, *steps])
    return dims or [[1] + [0] * len(strides)]


def reshape(shape: Shape, strides: Strides, to: Sequence[int]) -> tuple[Shape, Strides, bool]:
    """(new shape, its strides, whether they address the same memory: no copy is needed).

    One entry of `to` may be -1: what is left.  ValueError where the sizes differ.
    """
    size, target = math.prod(shape), tuple(to)
    if target.count(-1) == 1:
        known = -math.prod(target)
        if known == 0 or size % known:
            raise ValueError(f"shape {list(shape)} cannot be viewed as {list(to)}: {size} elements")
        target = tuple(size // known if n == -1 else n for n in target)
    if math.prod(target) != size or any(n < 0 for n in target):
        raise ValueError(f"shape {list(shape)} cannot be viewed as {list(to)}: {size} elements")
    if strides is None or size == 0:
        return target, None, True
    # Strided: possible where each run of new dimensions lies within one merged old dimension.
    old = merged(shape, strides)
    steps: list[int] = []
    dims = iter(old)
    length, step = next(dims)
    for n in target:
        if n == 1:
            steps.append(0)
            continue
        if length == 1:
            length, step = next(dims)
        if length % n:
            return target, None, False
        length //= n
        steps.append(step * length)
    return target, normal(target, tuple(steps)), True


def index(shape: Shape, strides: Strides, key: tuple[Any, ...]) -> tuple[int, Shape, Shape]:
    """(offset, shape, strides) of x[key] for ints, slices with positive steps, None and `...`."""
    steps = row_major(shape) if strides is None else strides
    used = sum(k is not None and k is not Ellipsis for k in key)
    if used > len(shape):
        raise IndexError(f"{used} indices for a tensor of shape {list(shape)}")
    if key.count(Ellipsis) > 1:
        raise IndexError("more than one ellipsis (...) in an index")
    if Ellipsis not in key:
        key = (*key, Ellipsis)
    offset, new_shape, new_steps, d = 0, [], [], 0
    for k in key:
        if k is None:
            new_shape.append(1)
            new_steps.append(0)
        elif k is Ellipsis:
            for _ in range(len(shape) - used):
                new_shape.append(shape[d])
                new_steps.append(steps[d])
                d += 1
        elif isinstance(k, slice):
            start, stop, step = k.indices(shape[d])
            if step < 1:
                raise ValueError("slices need a positive step: use flip for reversal")
            n = len(range(start, stop, step))
            offset += start * steps[d] if n else 0
            new_shape.append(n)
            new_steps.append(steps[d] * step)
            d += 1
        else:
            if not -shape[d] <= k < shape[d]:
                raise IndexError(f"index {k} is out of range for dimension {d} of size {shape[d]}")
            offset += (k % shape[d]) * steps[d]
            d += 1
    return offset, tuple(new_shape), tuple(new_steps)
