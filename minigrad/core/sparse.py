"""Sparse matrices in compressed rows, their products, and the reservoir of an echo state network.

A [rows, columns]: row i has values[k] in column index[k], first[i] <= k < first[i + 1]
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad._core import ffi, lib

from .array import F64, NULL, check, contiguous, describe, empty_of
from .elementwise import MAP

#: what a reservoir may compute of its pre-activation
FUNCTIONS = {"tanh": MAP["tanh"], "sigmoid": MAP["sigmoid"], "relu": MAP["relu"], "identity": -1}


class Pattern:
    """Where the numbers of a sparse matrix are: `first` [rows + 1] and `index` [number of values].

    Columns ascend within a row.  It does not change, and copies share it.  ValueError where that is no
    such matrix.
    """

    __slots__ = ("_transposed", "first", "index", "ptr_first", "ptr_index", "shape", "size")

    def __init__(self, first: Any, index: Any, shape: tuple[int, int]) -> None:
        self.first = np.array(first, np.int64)
        index = np.asarray(index)
        rows, columns = self.shape = shape
        self.size = index.size  #: how many values
        if (
            self.first.shape != (rows + 1,)
            or self.first[0] != 0
            or self.first[-1] != self.size
            or (np.diff(self.first) < 0).any()
        ):
            raise ValueError(
                f"sparse matrix {list(shape)}: `first` must have {rows + 1} numbers that ascend from 0 "
                f"to {self.size}, the number of values"
            )
        if columns >= 2**31 or index.ndim != 1 or (self.size and index.dtype.kind not in "iu"):
            raise ValueError(f"sparse matrix {list(shape)}: a row of integers below 2³¹ is needed")
        if self.size:
            starts = np.zeros(self.size, bool)
            starts[self.first[:-1][np.diff(self.first) > 0]] = True
            if (
                not 0 <= index.min() <= index.max() < columns
                or not (starts[1:] | (np.diff(index.astype(np.int64)) > 0)).all()
            ):
                raise ValueError(
                    f"sparse matrix {list(shape)}: columns must ascend within a row, from 0 to "
                    f"{columns - 1}, none twice"
                )
        self.index = index.astype(np.int32)
        self.ptr_first = ffi.cast("int64_t *", self.first.ctypes.data)
        self.ptr_index = ffi.cast("int32_t *", self.index.ctypes.data)
        self._transposed: tuple[Pattern, Any] | None = None

    @property
    def transposed(self) -> tuple[Pattern, Any]:
        """The pattern of the transpose, and where its values are among the values: int64 [size]."""
        if self._transposed is None:
            order = np.argsort(self.index, kind="stable")
            first = np.concatenate(
                [[0], np.cumsum(np.bincount(self.index, minlength=self.shape[1]))]
            )
            other = Pattern(first, self.rows[order], self.shape[::-1])
            self._transposed = other, order
        return self._transposed

    @property
    def rows(self) -> Any:
        """The row of each value: int64 [size]."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.first))

    def __deepcopy__(self, memo: object) -> Pattern:
        """Itself."""
        return self

    def __reduce__(self) -> Any:
        """For pickle."""
        return Pattern, (self.first, self.index, self.shape)


def _floats(op: str, code: int, **operands: Any) -> None:
    for name, a in operands.items():
        if a is not None and (a.layout.code != code or code > F64):
            raise TypeError(f"{op}: {name} {describe(a)}: one floating type is needed")


def spmm(values: Any, x: Any, pattern: Pattern) -> Any:
    """x Aᵀ: x [..., columns] -> [..., rows]."""
    rows, columns = pattern.shape
    _floats("spmm", values.layout.code, values=values, x=x)
    if values.shape != (pattern.size,):
        raise ValueError(f"spmm: values {list(values.shape)}: [{pattern.size}] is needed")
    if not x.shape or x.shape[-1] != columns:
        raise ValueError(f"spmm: x {list(x.shape)}: [..., {columns}] is needed")
    code = x.layout.code
    y = empty_of((*x.shape[:-1], rows), code)
    x, values = contiguous(x), contiguous(values)
    n = math.prod(x.shape[:-1])
    first, index = pattern.ptr_first, pattern.ptr_index
    if status := lib.mg_spmm(code, n, rows, columns, y.ptr, x.ptr, first, index, values.ptr):
        check(status, "spmm", x)
    return y


class Reservoir:
    """(1 - leak) h + leak f(x W + b + noise + h Aᵀ), all time steps in one call.

    Called as `sequence_forward` is; the values of A are the operand U.
    """

    __slots__ = ("f", "leak", "noise", "pattern")

    def __init__(self, pattern: Pattern, f: str, leak: float, noise: Any = None) -> None:
        if f not in FUNCTIONS:
            raise ValueError(f"reservoir: f={f!r}: one of {', '.join(FUNCTIONS)} is needed")
        if pattern.shape[0] != pattern.shape[1]:
            raise ValueError(f"reservoir: a matrix {list(pattern.shape)}: a square one is needed")
        self.pattern, self.f, self.leak, self.noise = pattern, f, leak, noise

    def __call__(
        self,
        letters: tuple[str, ...],
        operands: tuple[Any, ...],
        reverse: bool = False,
        lead: bool = False,
        counts: Any = None,
    ) -> tuple[Any, ...]:
        """(y, hn): x [T, N, I] -> y [T, N, H], hn [N, H]; with counts [R, I] -> [R, H].

        One step, x [N, I]: (y,).  lead: states are [1, N, H].
        """
        given = dict(zip(letters, operands))
        x, W, U, b, h0 = (given.get(name) for name in ("x", "W", "U", "b", "h0"))
        if x is None or W is None or U is None:
            raise ValueError("reservoir: x, W and U are needed")
        H, code = self.pattern.shape[0], W.layout.code
        one_step = counts is None and len(x.shape) == 2
        steps, n = counts.shape[:2] if counts is not None else (1, *x.shape[:-1])[-2:]
        y_shape, h_shape = (*x.shape[:-1], H), ((1, n, H) if lead else (n, H))
        _floats("reservoir", code, x=x, W=W, U=U, b=b, noise=self.noise, h0=h0)
        time = (steps, n)[one_step:] if counts is None else counts.shape[2:]
        wanted = {
            "x": (x, (*time, W.shape[0])),
            "W": (W, (x.shape[-1], H)),
            "U": (U, (self.pattern.size,)),
            "b": (b, (H,)),
            "noise": (self.noise, y_shape),
            "h0": (h0, h_shape),
        }
        for name, (a, shape) in wanted.items():
            if a is not None and a.shape != shape:
                raise ValueError(f"reservoir: {name} {list(a.shape)}: {list(shape)} is needed")
        if counts is not None and reverse:
            raise ValueError(
                "reservoir: with counts, sequences are given in the order of the steps"
            )
        if not (steps and n):
            raise ValueError(
                f"reservoir: x {list(x.shape)}: at least one step of one sequence is needed"
            )
        y = empty_of(y_shape, code)
        hn = None if one_step else empty_of(h_shape, code)
        arrays = [None if a is None else contiguous(a) for a in (x, W, U, b, self.noise, h0)]
        form = [code, FUNCTIONS[self.f], steps, n, W.shape[0], H, reverse]
        pointers = [NULL if a is None else a.ptr for a in (*arrays, y, hn)]
        status = lib.mg_reservoir(
            form,
            pointers,
            self.pattern.ptr_first,
            self.pattern.ptr_index,
            self.leak,
            NULL if counts is None else counts.ptr,
        )
        check(status, "reservoir", x, W, U)
        return (y,) if hn is None else (y, hn)
