"""Ops that rearrange: views of the same memory where strides can express it, else copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import core
from ..autograd import Tensor, op
from ..core import Shape, shapes
from ..rules import same


def _shape(args: Sequence[Any]) -> Shape:
    """(2, 3) of f(2, 3) and of f((2, 3))."""
    return tuple(args[0]) if len(args) == 1 and not isinstance(args[0], int) else tuple(args)


@op
def _reshape(x: Tensor, to: Shape) -> Any:
    shape, strides, possible = shapes.reshape(x.shape, x.layout.strides, to)
    return core.view(x if possible else core.contiguous(x), 0, shape, strides)


_reshape.vjp(x=lambda g, shape: _reshape(g, shape))


def reshape(x: Tensor, *shape: Any) -> Any:
    """x with another shape of the same size; one entry may be -1.  A view where possible.

    ValueError where the sizes differ.
    """
    return _reshape(x, _shape(shape))


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Any:
    """x with the dimensions from start_dim to end_dim made one."""
    if not x.shape:
        return reshape(x, 1)
    first, last = (shapes.axis(d, len(x.shape)) for d in (start_dim, end_dim))
    n = 1
    for length in x.shape[first : last + 1]:
        n *= length
    return reshape(x, (*x.shape[:first], n, *x.shape[last + 1 :]))


def squeeze(x: Tensor, dim: int | None = None) -> Any:
    """x without its dimensions of size 1, or without dimension `dim` if that has size 1."""
    axes = range(len(x.shape)) if dim is None else (shapes.axis(dim, len(x.shape)),)
    return reshape(x, tuple(n for d, n in enumerate(x.shape) if n != 1 or d not in axes))


def unsqueeze(x: Tensor, dim: int) -> Any:
    """x with a new dimension of size 1 at `dim`."""
    d = shapes.axis(dim, len(x.shape) + 1)
    return reshape(x, (*x.shape[:d], 1, *x.shape[d:]))


@op
def _expand(x: Tensor, to: Shape) -> Any:
    return core.view(x, 0, to, shapes.normal(to, shapes.expand(x.shape, x.layout.strides, to)))


_expand.vjp(x=same)  # the engine sums over the repetitions


def expand(x: Tensor, *shape: Any) -> Any:
    """x repeated along new dimensions and those of size 1, without a copy; -1 keeps a size."""
    to = _shape(shape)
    new = len(to) - len(x.shape)
    return _expand(x, tuple(x.shape[d - new] if n == -1 else n for d, n in enumerate(to)))


@op
def _permute(x: Tensor, order: Shape) -> Any:
    return core.permute(x, order)


_permute.vjp(x=lambda g, order: _permute(g, tuple(order.index(d) for d in range(len(order)))))


def permute(x: Tensor, *dims: Any) -> Any:
    """x with its dimensions in the order `dims`: a view."""
    order = tuple(shapes.axis(d, len(x.shape)) for d in _shape(dims))
    if sorted(order) != list(range(len(x.shape))):
        raise ValueError(f"permute: {list(_shape(dims))} does not order {len(x.shape)} dimensions")
    return _permute(x, order)


def transpose(x: Tensor, dim0: int, dim1: int) -> Any:
    """x with two dimensions exchanged: a view."""
    order = list(range(len(x.shape)))
    d0, d1 = shapes.axis(dim0, len(order)), shapes.axis(dim1, len(order))
    order[d0], order[d1] = d1, d0
    return _permute(x, tuple(order))


@op
def contiguous(x: Tensor) -> Any:
    """x in row-major order: a copy where it is not."""
    return core.alias(x) if x.layout.strides is None else core.contiguous(x)


contiguous.vjp(x=same)


@op
def clone(x: Tensor) -> Any:
    """A copy; gradients flow to x."""
    return core.astype(x, x.layout.code)


clone.vjp(x=same)

# ---- joining -----------------------------------------------------------------------------------


@op
def _cat(*xs: Tensor, dim: int = 0, sizes: Sequence[int] = ()) -> Any:
    shape = list(xs[0].shape)
    shape[dim] = sum(sizes)
    y = core.empty_of(tuple(shape), xs[0].layout.code)
    start, steps = 0, shapes.row_major(y.shape)
    for x, n in zip(xs, sizes):
        core.copy_into(core.view(y, start * steps[dim], x.shape, steps), x)
        start += n
    return y


_cat.vjp_all(lambda g, dim, sizes: split(g, sizes, dim))


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    """The tensors one after the other along `dim`; their other dimensions must be equal."""
    xs = list(tensors)
    if not xs:
        raise ValueError("cat: at least one tensor is needed")
    d = shapes.axis(dim, len(xs[0].shape))
    _same("cat", xs, lambda x: (len(x.shape), x.shape[:d], x.shape[d + 1 :]), f"outside dim {dim}")
    return _cat(*xs, dim=d, sizes=tuple(x.shape[d] for x in xs))


@op
def _stack(*xs: Tensor, dim: int = 0) -> Any:
    shape = xs[0].shape
    y = core.empty_of((*shape[:dim], len(xs), *shape[dim:]), xs[0].layout.code)
    steps = shapes.row_major(y.shape)
    each = steps[:dim] + steps[dim + 1 :]
    strides = shapes.normal(shape, each)
    for i, x in enumerate(xs):
        core.copy_into(core.view(y, i * steps[dim], shape, strides), x)
    return y


_stack.vjp_all(lambda g, dim: unbind(g, dim))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    """The tensors, all of one shape, side by side along a new dimension `dim`."""
    xs = list(tensors)
    if not xs:
        raise ValueError("stack: at least one tensor is needed")
    _same("stack", xs, lambda x: x.shape, "")
    return _stack(*xs, dim=shapes.axis(dim, len(xs[0].shape) + 1))


def _same(name: str, xs: list[Tensor], key: Any, where: str) -> None:
    for x in xs:
        if key(x) != key(xs[0]) or x.dtype != xs[0].dtype:
            raise ValueError(
                f"{name}: {core.describe(xs[0])} and {core.describe(x)}: equal types and shapes are "
                f"needed {where}".rstrip()
            )


# ---- cutting -------------------------------------------------------------------------------------


@op
def _split(x: Tensor, sizes: Shape, dim: int) -> Any:
    parts, start, steps = [], 0, core.strides_of(x)
    for n in sizes:
        shape = (*x.shape[:dim], n, *x.shape[dim + 1 :])
        parts.append(core.view(x, start * steps[dim], shape, shapes.normal(shape, steps)))
        start += n
    return tuple(parts)


def _whole(gs: Sequence[Tensor | None], layouts: Sequence[Any]) -> list[Tensor]:
    """The gradients of all parts: zeros where a part was not used."""
    return [core.zeros(layout) if g is None else g for g, layout in zip(gs, layouts)]


_split.vjp_all(
    lambda g, y, dim: (cat(_whole(g, [part.layout for part in y]), dim), None, None),
)


def split(x: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """x cut along `dim` into views: of the sizes given, or of one size (the last may be smaller)."""
    d = shapes.axis(dim, len(x.shape))
    n = x.shape[d]
    if isinstance(split_size, int):
        if split_size < 1:
            raise ValueError(f"split: size {split_size}: at least 1 is needed")
        sizes = tuple(min(split_size, n - i) for i in range(0, n, split_size)) or (0,)
    else:
        sizes = tuple(split_size)
        if sum(sizes) != n or min(sizes, default=0) < 0:
            raise ValueError(
                f"split: sizes {list(sizes)} do not add up to {n}, the size of dim {dim}"
            )
    return _split(x, sizes, d)


def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """x cut along `dim` into `chunks` views of equal size (the last may be smaller)."""
    if chunks < 1:
        raise ValueError(f"chunk: {chunks} chunks: at least 1 is needed")
    n = x.shape[shapes.axis(dim, len(x.shape))]
    return split(x, max(-(-n // chunks), 1), dim)


@op
def _unbind(x: Tensor, dim: int) -> Any:
    shape, steps = x.shape, core.strides_of(x)
    n, step = shape[dim], steps[dim]
    shape, steps = shape[:dim] + shape[dim + 1 :], steps[:dim] + steps[dim + 1 :]
    strides = shapes.normal(shape, steps)
    return tuple(core.view(x, i * step, shape, strides) for i in range(n))


_unbind.vjp_all(lambda g, y, dim: (stack(_whole(g, [part.layout for part in y]), dim), None))


def unbind(x: Tensor, dim: int = 0) -> tuple[Any, ...]:
    """The slices of x along `dim`, as views: x[0], x[1], …"""
    return _unbind(x, shapes.axis(dim, len(x.shape)))
