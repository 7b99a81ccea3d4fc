"""Matrix products."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from minigrad._core import ffi, lib

from . import shapes
from .array import (
    DTYPES,
    F64,
    Layout,
    alias,
    check,
    describe,
    empty,
    form,
    layout,
)
from .axes import sum_to
from .elementwise import add_into

_gemm, _copy = lib.mg_gemm, lib.mg_copy  # bound once, see array.py


class _Product:
    """The sizes of a product of two layouts, worked out once."""

    __slots__ = ("form", "repeat", "result", "row")

    def __init__(self, a: Layout, b: Layout) -> None:
        sa, sb = a.shape, b.shape
        if a.code != b.code or a.code > F64:
            raise TypeError(
                f"matmul: {DTYPES[a.code]} {list(sa)} @ {DTYPES[b.code]} {list(sb)}: one floating type "
                f"is needed"
            )
        if len(sa) < 2 or len(sb) < 2 or sa[-1] != sb[-2]:
            raise ValueError(
                f"matmul: {list(sa)} @ {list(sb)}: the last dimension of the first must equal the "
                f"second to last of the second"
            )
        ta, tb = (shapes.row_major(x.shape) if x.strides is None else x.strides for x in (a, b))
        (n, k), m = sa[-2:], sb[-1]
        try:
            lead = shapes.broadcast(sa[:-2], sb[:-2])
        except ValueError as e:
            raise ValueError(f"matmul: {list(sa)} @ {list(sb)}: in the batch, {e}") from None
        self.result = layout((*lead, n, m), None, a.code)
        steps = [shapes.expand(s[:-2], t[:-2], lead) for s, t in ((sa, ta), (sb, tb))]
        sizes = [a.code, n, m, k, *ta[-2:], *tb[-2:], len(lead), *lead, *steps[0], *steps[1]]
        self.form = ffi.new("int64_t[]", sizes)
        self.row: Any = None  #: layout of a row of the result, once asked for
        self.repeat: Any = None  #: form of the copy that repeats it all over the result

    def take_row(self) -> None:
        """Set `row` and `repeat`."""
        like = self.result
        self.row = layout(like.shape[-1:], None, like.code)
        steps = (0,) * (len(like.shape) - 1) + (1,)
        self.repeat = form(like.code, like.shape, shapes.row_major(like.shape), steps)


class _Products(dict[Any, _Product]):
    """The sizes of the products asked for so far, by the pair of layouts.

    A look-up takes half the time of a call of an lru_cache.
    """

    def __init__(self, transpose_a: bool = False, transpose_b: bool = False) -> None:
        super().__init__()
        self.transpose_a, self.transpose_b = transpose_a, transpose_b

    def __missing__(self, pair: tuple[Layout, Layout]) -> _Product:
        a, b = pair
        a = _transposed(a) if self.transpose_a else a
        b = _transposed(b) if self.transpose_b else b
        if len(self) > 16384:  # as many different shapes: begin anew rather than grow for ever
            self.clear()
        product = self[pair] = _Product(a, b)
        return product


_nn, _nt, _tn = _Products(), _Products(transpose_b=True), _Products(transpose_a=True)


def _compute(product: _Product, a: Any, b: Any) -> Any:
    y = empty(product.result)
    if status := _gemm(product.form, y.ptr, a.ptr, b.ptr, 0):
        check(status, "matmul", a, b)
    return y


def gemm(a: Any, b: Any) -> Any:
    """A B: [..., n, k] @ [..., k, m] -> [..., n, m], with leading dimensions broadcast."""
    return _compute(_nn[a.layout, b.layout], a, b)


def gemm_nt(a: Any, b: Any) -> Any:
    """A Bᵀ: [..., n, k], [..., m, k] -> [..., n, m].  Nothing is copied: strides are swapped."""
    return _compute(_nt[a.layout, b.layout], a, b)


def gemm_nt_add(a: Any, b: Any, row: Any) -> Any:
    """A Bᵀ + row: [n, k], [m, k], [m] -> [n, m].  The sums start from the row, not from 0."""
    product = _nt[a.layout, b.layout]
    if product.row is None:
        product.take_row()
    if row.layout is not product.row:
        wanted = f"{DTYPES[product.row.code]} {list(product.row.shape)}"
        raise ValueError(f"matmul: to add {describe(row)}: {wanted} is needed, contiguous")
    y = empty(product.result)
    status = _copy(product.row.code, product.repeat, y.ptr, row.ptr)
    if status := status or _gemm(product.form, y.ptr, a.ptr, b.ptr, 1):
        check(status, "matmul", a, b)
    return y


def gemm_tn(b: Any, a: Any) -> Any:
    """Aᵀ B: [..., k, m], [..., k, n] -> [..., n, m]."""
    return _compute(_tn[a.layout, b.layout], a, b)


def gemm_tn_into(y: Any, b: Any, a: Any) -> None:
    """y += Aᵀ B, in place, for a contiguous y; summed over the batch if y has none."""
    product = _tn[a.layout, b.layout]
    if product.result is not y.layout:
        add_into(y, sum_to(_compute(product, a, b), y.layout.shape))
    elif status := _gemm(product.form, y.ptr, a.ptr, b.ptr, 1):
        check(status, "matmul", a, b)


def transposed(x: Any) -> Any:
    """x with its last two dimensions exchanged, on the same memory."""
    y = alias(x)
    y.layout = _transposed(x.layout)
    return y


@lru_cache(maxsize=16384)
def _transposed(x: Layout) -> Layout:
    if len(x.shape) < 2:
        raise ValueError(f"transpose: {list(x.shape)}: at least two dimensions are needed")
    steps = shapes.row_major(x.shape) if x.strides is None else x.strides
    shape, steps = (*x.shape[:-2], x.shape[-1], x.shape[-2]), (*steps[:-2], steps[-1], steps[-2])
    return layout(shape, shapes.normal(shape, steps), x.code)
