"""What training does to many arrays in one C call: optimiser steps, their gradients' norm, scaling.

A call for each of the three parameters of a small recurrent layer cost more than the numbers in
them; see cextension/kernels/update.inc.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from minigrad._core import ffi, lib

from .array import F32, F64, NULL, check, contiguous, describe, empty, layout, numbers

UPD = numbers("upd")
# of a number, by type
_scalars = [layout((), None, code) for code in (F32, F64)]
_pointers = [ffi.typeof(c) for c in ("float *", "double *")]
# bound once, see array.py
_update, _sum_squares, _scale, _cast = lib.mg_update, lib.mg_sum_squares, lib.mg_scale, ffi.cast


class Update:
    """Optimiser steps, in place, of parameters of one type whose state stays where it is.

    `op` is one of `UPD`; `rows` has (p, s1, s2) for each parameter.  The state s1 and s2, None where
    the op has none, is at least as large as p (kernels/update.inc).
    """

    __slots__ = ("code", "layouts", "number", "pointers", "sizes")

    def __init__(self, op: str, rows: Sequence[tuple[Any, Any, Any]]) -> None:
        self.number, self.code = UPD[op], rows[0][0].layout.code
        self.layouts = [p.layout for p, _, _ in rows]
        self.sizes = [like.size for like in self.layouts]
        self.pointers: list[Any] = []  # p, g, s1, s2 of each
        for row in rows:
            p = row[0]
            for a in row:
                like = None if a is None else a.layout
                if like is not None and (
                    like.strides is not None
                    or like.code != self.code
                    or like.code > F64
                    or like.size < p.layout.size
                ):
                    raise ValueError(f"{op}: {describe(a)} in a step on {describe(p)}, or strided")
            self.pointers += [p.ptr, NULL, *(NULL if s is None else s.ptr for s in row[1:])]

    def __call__(self, gradients: Sequence[Any], hyper: Sequence[float]) -> None:
        """One step along `gradients`; strided ones are copied."""
        pointers, at = self.pointers.copy(), 1  # a copy: it is not to keep the gradients alive
        for g, like in zip(gradients, self.layouts):
            if g.layout is not like:
                g = contiguous(g)  # noqa: PLW2901
                if g.layout is not like:
                    raise ValueError(f"step: a gradient {describe(g)} for {list(like.shape)}")
            pointers[at] = g.ptr
            at += 4
        sizes = self.sizes
        if status := _update(self.number, self.code, len(sizes), sizes, pointers, hyper):
            check(status, "step")


class Arrays:
    """Contiguous arrays of floats, of one type or of both, as one vector."""

    __slots__ = ("lists",)

    def __init__(self, arrays: Iterable[Any]) -> None:
        self.lists: dict[int, tuple[list[int], list[Any]]] = {}  # by type: sizes, pointers
        code, sizes, pointers = -1, list[int](), list[Any]()
        for a in arrays:
            like = a.layout
            if like.code != code:
                code = like.code
                if code > F64:
                    raise TypeError(f"{describe(a)}: a float tensor is needed")
                sizes, pointers = self.lists.setdefault(code, ([], []))
            if like.strides is not None:
                raise ValueError(f"{describe(a)}, strided: a contiguous array is needed")
            sizes.append(like.size)
            pointers.append(a.ptr)

    def sum_squares(self) -> float:
        """The sum of x², accumulated in double."""
        total = 0.0
        for code, (sizes, pointers) in self.lists.items():
            total += _sum_squares(code, len(sizes), sizes, pointers)
        return total

    def scale(self, factor: float) -> None:
        """x *= factor, in place."""
        for code, (sizes, pointers) in self.lists.items():
            check(_scale(code, len(sizes), sizes, pointers, factor), "scale")


def scalar(value: float, code: int) -> Any:
    """An array [] of one float; from_numpy would take ten times as long."""
    y = empty(_scalars[code])
    _cast(_pointers[code], y.ptr)[0] = value
    return y
