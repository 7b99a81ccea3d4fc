"""Matrix products and the in-place steps of optimisers."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Sequence, Tuple

from minigrad._core import ffi, lib

from . import shapes
from .array import F64, NULL, Layout, check, describe, empty, layout, numbers

UPD = numbers("upd")
_gemm = lib.mg_gemm  # bound once, see array.py


@lru_cache(maxsize=16384)
def _product(a: Layout, b: Layout) -> Tuple[Any, ...]:
    """(layout of the product, what mg_gemm wants to know of the operands): computed once."""
    sa, sb = a.shape, b.shape
    if len(sa) < 2 or len(sb) < 2 or sa[-1] != sb[-2]:
        raise ValueError(
            f"matmul: {list(sa)} @ {list(sb)}: the last dimension of the first must equal the second "
            f"to last of the second"
        )
    (n, k), m = sa[-2:], sb[-1]
    steps = [shapes.row_major(x.shape) if x.strides is None else x.strides for x in (a, b)]
    lead, batch = (), NULL
    if len(sa) > 2 or len(sb) > 2:
        try:
            lead = shapes.broadcast(sa[:-2], sb[:-2])
        except ValueError as e:
            raise ValueError(f"matmul: {list(sa)} @ {list(sb)}: in the batch, {e}") from None
        each = [shapes.expand(s[:-2], t[:-2], lead) for s, t in zip((sa, sb), steps)]
        batch = ffi.new("int64_t[]", [len(lead), *lead, *each[0], *each[1]])
    return layout((*lead, n, m), None, a.code), n, m, k, steps[0][-2:], steps[1][-2:], batch


def gemm(a: Any, b: Any) -> Any:
    """A B for a [..., n, k] and b [..., k, m] -> [..., n, m].

    Transposed operands are swapped strides: nothing is copied.
    """
    la, lb = a.layout, b.layout
    result, n, m, k, (a_row, a_col), (b_row, b_col), batch = _product(la, lb)
    code = la.code
    if code != lb.code or code > F64:
        raise TypeError(f"matmul: {describe(a)} @ {describe(b)}: one floating dtype is needed")
    y = empty(result)
    status = _gemm(code, n, m, k, y.ptr, a.ptr, a_row, a_col, b.ptr, b_row, b_col, 0, batch)
    if status:
        check(status, "matmul", a, b)
    return y


def gemm_into(y: Any, a: Any, b: Any) -> None:
    """y += A B, in place, for a contiguous y [n, m], a [n, k] and b [k, m]."""
    la, lb = a.layout, b.layout
    result, n, m, k, (a_row, a_col), (b_row, b_col), batch = _product(la, lb)
    if result is not y.layout or la.code != lb.code:
        raise ValueError(f"matmul: {describe(a)} @ {describe(b)} added to {describe(y)}")
    status = _gemm(la.code, n, m, k, y.ptr, a.ptr, a_row, a_col, b.ptr, b_row, b_col, 1, batch)
    check(status, "matmul", a, b)


def update(op: str, p: Any, g: Any, s1: Any, s2: Any, hyper: Sequence[float]) -> None:
    """One optimiser step on p in place; `UPD` lists the ops, kernels/update.inc their numbers."""
    s1_ptr, s2_ptr = (NULL if s is None else s.ptr for s in (s1, s2))
    check(lib.mg_update(UPD[op], p.layout.code, p.layout.size, p.ptr, g.ptr, s1_ptr, s2_ptr, hyper), op, p, g)


def sum_squares(x: Any) -> float:
    """The sum of x², accumulated in double."""
    return float(lib.mg_sum_squares(x.layout.code, x.layout.size, x.ptr))
