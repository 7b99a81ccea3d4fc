"""The covariance of a Kalman filter's weights: one pass over it per observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad._core import ffi, lib

from .array import F64, NULL, check, contiguous, describe, empty_of


def covariance(
    P: Any, sizes: Sequence[int], V: Any, q: Sequence[float], H: Any
) -> tuple[Any, list[float]]:
    """First P ← P - Vᵀ V + q I, in place, then PH = H P; the smallest number on P's diagonal.

    Each group g of weights has its own P [n, n], n = sizes[g], and its own q: P is a vector with
    these matrices one behind the other.  V [v, Σ n] and H [m, Σ n], None where there is none of
    these; PH [m, Σ n], None without H.  P stays symmetric to the last bit, for any number of threads.
    """
    total, code = sum(sizes), P.layout.code
    if (
        min(sizes, default=0) < 0
        or P.shape != (sum(n * n for n in sizes),)
        or P.layout.strides is not None
        or code > F64
    ):
        raise ValueError(f"covariance: P {describe(P)}: of groups of {list(sizes)} weights")
    if len(q) != len(sizes):
        raise ValueError(f"covariance: {len(q)} numbers q for {len(sizes)} groups")
    for name, a in (("V", V), ("H", H)):
        if a is not None and (len(a.shape) != 2 or a.shape[1] != total or a.layout.code != code):
            raise ValueError(
                f"covariance: {name} {describe(a)}: {P.dtype} [outputs, {total}] is needed"
            )
    V, H = (None if a is None else contiguous(a) for a in (V, H))
    PH = None if H is None else empty_of(H.shape, code)
    lowest = np.empty(len(sizes))
    status = lib.mg_covariance(
        code,
        len(sizes),
        list(sizes),
        P.ptr,
        0 if V is None else V.shape[0],
        NULL if V is None else V.ptr,
        list(q),
        0 if H is None else H.shape[0],
        NULL if H is None else H.ptr,
        NULL if PH is None else PH.ptr,
        ffi.from_buffer("double[]", lowest, require_writable=True),
    )
    check(status, "covariance", P)
    return PH, lowest.tolist()
