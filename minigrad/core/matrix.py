"""Matrix products and the in-place steps of optimisers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from minigrad._core import ffi, lib

from . import shapes
from .array import DTYPES, F64, NULL, Layout, alias, check, describe, empty, layout, numbers

UPD = numbers("upd")
_gemm = lib.mg_gemm  # bound once, see array.py


class _Product:
    """The sizes of a product of two layouts, worked out once."""

    __slots__ = ("form", "result")

    def __init__(self, a: Layout, b: Layout) -> None:
        sa, sb = a.shape, b.shape
        if a.code != b.code or a.code > F64:
            raise TypeError(
                f"matmul: {DTYPES[a.code]} {list(sa)} @ {DTYPES[b.code]} {list(sb)}: one floating type "
                f"is needed"
            )
        if not sa or not sb or sa[-1] != sb[max(len(sb) - 2, 0)]:
            raise ValueError(
                f"matmul: {list(sa)} @ {list(sb)}: the last dimension of the first must equal the "
                f"second to last of the second"
            )
        ta, tb = (shapes.row_major(x.shape) if x.strides is None else x.strides for x in (a, b))
        row, column = len(sa) == 1, len(sb) == 1  # vectors: a row, a column
        sa, ta = ((1, *sa), (0, *ta)) if row else (sa, ta)
        sb, tb = ((*sb, 1), (*tb, 0)) if column else (sb, tb)
        (n, k), m = sa[-2:], sb[-1]
        try:
            lead = shapes.broadcast(sa[:-2], sb[:-2])
        except ValueError as e:
            raise ValueError(
                f"matmul: {list(a.shape)} @ {list(b.shape)}: in the batch, {e}"
            ) from None
        shape = (*lead, n, m)
        self.result = layout((*lead, *((n,) * (not row)), *((m,) * (not column))), None, a.code)
        if len(sb) == 2 and a.strides is None:  # one matrix for a whole batch: one long product
            n, lead, ta = math.prod(shape[:-1]), (), (k, 1)
        each = (
            [*shapes.expand(sa[:-2], ta[:-2], lead), *shapes.expand(sb[:-2], tb[:-2], lead)]
            if lead
            else []
        )
        sizes = [a.code, n, m, k, *ta[-2:], *tb[-2:], len(lead), *lead, *each]
        self.form = ffi.new("int64_t[]", sizes)


_product = lru_cache(maxsize=16384)(_Product)


def gemm(a: Any, b: Any) -> Any:
    """A B: [..., n, k] @ [..., k, m] -> [..., n, m], with leading dimensions broadcast.

    A one-dimensional a is a row and a one-dimensional b a column, which the result lacks.  Transposed
    operands are swapped strides: nothing is copied.
    """
    product = _product(a.layout, b.layout)
    y = empty(product.result)
    if status := _gemm(product.form, y.ptr, a.ptr, b.ptr, 0):
        check(status, "matmul", a, b)
    return y


def gemm_into(y: Any, a: Any, b: Any) -> None:
    """y += A B, in place, for a contiguous y."""
    product = _product(a.layout, b.layout)
    if product.result is not y.layout:
        raise ValueError(f"matmul: {describe(a)} @ {describe(b)} added to {describe(y)}")
    if status := _gemm(product.form, y.ptr, a.ptr, b.ptr, 1):
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


def update(op: str, p: Any, g: Any, s1: Any, s2: Any, hyper: Sequence[float]) -> None:
    """One optimiser step on p in place; `UPD` lists the ops, kernels/update.inc their numbers."""
    s1_ptr, s2_ptr = (NULL if s is None else s.ptr for s in (s1, s2))
    check(
        lib.mg_update(UPD[op], p.layout.code, p.layout.size, p.ptr, g.ptr, s1_ptr, s2_ptr, hyper),
        op,
        p,
        g,
    )


def sum_squares(x: Any) -> float:
    """The sum of x², accumulated in double."""
    return float(lib.mg_sum_squares(x.layout.code, x.layout.size, x.ptr))
