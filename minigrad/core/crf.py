"""Linear-chain conditional random fields in C: the partition function and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad._core import ffi, lib

from .array import NULL, check, contiguous, describe, empty, empty_of


def _form(x: Any) -> Any:
    return ffi.new("int64_t[]", [x.layout.code, *x.shape])


def crf_forward(x: Any, A: Any, start: Any, end: Any, steps: Any, save: bool) -> tuple[Any, Any]:
    """(log Z [N], what `crf_backward` needs, if it is to be saved).

    x [T, N, C], A [C, C], start and end [C] of one type; steps ndarray [N], integers.  TypeError or
    ValueError where something does not fit.
    """
    _, n, tags = x.shape
    for name, a, shape in (
        ("transitions", A, (tags, tags)),
        ("start", start, (tags,)),
        ("end", end, (tags,)),
    ):
        if a.shape != shape or a.layout.code != x.layout.code:
            raise ValueError(
                f"crf: {name} {describe(a)}: {x.dtype} {list(shape)} is needed for scores "
                f"{list(x.shape)}"
            )
    if len(steps) != n:
        raise ValueError(f"crf: {len(steps)} numbers of steps for scores {list(x.shape)}")
    x, A, start, end = map(contiguous, (x, A, start, end))
    log_z, alpha = empty_of((n,), x.layout.code), empty(x.layout) if save else None
    where = NULL if alpha is None else alpha.ptr
    status = lib.mg_crf_forward(
        _form(x), log_z.ptr, where, x.ptr, A.ptr, start.ptr, end.ptr,
        ffi.from_buffer("int64_t[]", np.ascontiguousarray(steps, np.int64)),
    )  # fmt: skip
    check(status, "crf", x, A)
    return log_z, alpha


def crf_backward(g: Any, alpha: Any, A: Any, end: Any, steps: Any) -> tuple[Any, Any]:
    """The gradients of x and A, for g [N], that of log Z."""
    g, A, end = map(contiguous, (g, A, end))
    dx, dA = empty(alpha.layout), empty(A.layout)
    status = lib.mg_crf_backward(
        _form(alpha), dx.ptr, dA.ptr, g.ptr, alpha.ptr, A.ptr, end.ptr,
        ffi.from_buffer("int64_t[]", np.ascontiguousarray(steps, np.int64)),
    )  # fmt: skip
    check(status, "crf", alpha, A)
    return dx, dA
