"""Elementwise kernels with broadcasting: op(x), op(a, b), a < b, where(a, b, c).

`unary("exp")`, `binary("add")`, `compare("lt")` and `select("where")` give the function for one
kernel of cextension/kernels.def.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from minigrad._core import lib

from . import array
from .array import (
    BOOL,
    F32,
    F64,
    astype,
    broadcast,
    check,
    describe,
    empty,
    empty_of,
    form,
    from_numpy,
    numbers,
    operand,
)  # fmt: skip
from .axes import sum_to

MAP, ZIP, CMP, SEL = (numbers(kind) for kind in ("map", "zip", "cmp", "sel"))
_map, _zip, _select, _new = lib.mg_map, lib.mg_zip, lib.mg_select, array._new

# NumPy's functions for integers; the ops that are not listed give floats.
_INTEGER: dict[str, Any] = dict(  # noqa: C408 (names, not strings)
    neg=np.negative, abs=np.absolute, sign=np.sign, square=np.square,
    add=np.add, sub=np.subtract, mul=np.multiply, maximum=np.maximum, minimum=np.minimum,
    eq=np.equal, ne=np.not_equal, lt=np.less, le=np.less_equal, gt=np.greater, ge=np.greater_equal,
    where=np.where, clip=np.clip,
)  # fmt: skip


def _floats(op: str, *arrays: Any) -> tuple[Any, ...]:
    """The arrays with one floating element type: int64 and bool take that of their float partner."""
    codes = {a.layout.code for a in arrays if a.layout.code <= F64}
    if len(codes) > 1:
        raise TypeError(
            f"{op}: {' and '.join(describe(a) for a in arrays)} do not mix: convert one, "
            f"for example with .to(minigrad.float32)"
        )
    code = codes.pop() if codes else F32
    return tuple(a if a.layout.code == code else astype(a, code) for a in arrays)


def _integers(op: str, *arrays: Any) -> Any:
    """The result where no operand is a float and the op keeps integers, else None."""
    if op in _INTEGER and all(a.layout.code > F64 for a in arrays):
        try:
            return from_numpy(np.asarray(_INTEGER[op](*map(np.asarray, arrays))))
        except TypeError as e:  # such as the difference of bools
            raise TypeError(f"{op}: {' and '.join(map(describe, arrays))}: {e}") from None
    return None


def _common(op: str, *arrays: Any) -> Any:
    """(common shape, form), computing with the type of the last array."""
    try:
        return broadcast(arrays[-1].layout.code, *[a.layout for a in arrays])
    except ValueError as e:
        raise ValueError(f"{op}: {e}") from None


def unary(op: str) -> Callable[[Any], Any]:
    """The function y = op(x), [...] -> [...]."""
    number, result = MAP[op], array.result_class()

    def kernel(x: Any) -> Any:
        layout = x.layout
        plain = layout.plain
        if plain is not None:  # small: the overhead counts
            y = result()
            ptr = y.ptr = _new(plain)
            y.layout = layout
            y.base = y.node = None
            if not _map(number, layout.form, ptr, x.ptr):
                return y
        if layout.code > F64:
            if (y := _integers(op, x)) is not None:
                return y
            (x,) = _floats(op, x)
        layout = x.layout
        if layout.strides is None:
            y, f = empty(layout), layout.form
        else:
            y = empty_of(layout.shape, layout.code)
            f = form(layout.code, layout.shape, layout.strides)
        check(_map(number, f, y.ptr, x.ptr), op, x)
        return y

    kernel.__name__ = kernel.__qualname__ = op
    return kernel


def binary(op: str) -> Callable[[Any, Any], Any]:
    """The function y = op(a, b), with broadcasting.  One of the two may be a Python number."""
    number, result = ZIP[op], array.result_class()

    def kernel(a: Any, b: Any) -> Any:
        try:
            layout = a.layout
            plain = layout.plain
            if plain is not None and layout is b.layout:  # small: the overhead counts
                y = result()
                ptr = y.ptr = _new(plain)
                y.layout = layout
                y.base = y.node = None
                if not _zip(number, layout.form, ptr, a.ptr, b.ptr):
                    return y
        except AttributeError:  # a number has no layout
            pass
        a, b = operand(a, b), operand(b, a)
        layout = a.layout
        if layout is b.layout and layout.strides is None and layout.code <= F64:
            y, f = empty(layout), layout.form
        else:
            if layout.code != b.layout.code or layout.code > F64:
                if (y := _integers(op, a, b)) is not None:
                    return y
                a, b = _floats(op, a, b)
            shape, f = _common(op, a, b)
            y = empty_of(shape, a.layout.code)
        check(_zip(number, f, y.ptr, a.ptr, b.ptr), op, a, b)
        return y

    kernel.__name__ = kernel.__qualname__ = op
    return kernel


def compare(op: str) -> Callable[[Any, Any], Any]:
    """The function a op b -> bool, with broadcasting."""

    def kernel(a: Any, b: Any) -> Any:
        a, b = operand(a, b), operand(b, a)
        if a.layout.code != b.layout.code or a.layout.code > F64:
            if (y := _integers(op, a, b)) is not None:
                return y
            a, b = _floats(op, a, b)
        shape, f = _common(op, a, b)
        y = empty_of(shape, BOOL)
        check(lib.mg_compare(CMP[op], f, y.ptr, a.ptr, b.ptr), op, a, b)
        return y

    kernel.__name__ = kernel.__qualname__ = op
    return kernel


def where(condition: Any, a: Any, b: Any) -> Any:
    """condition ? a : b, with broadcasting; the condition is bool (or a number: not 0)."""
    condition, a, b = operand(condition, a), operand(a, b), operand(b, a)
    if a.layout.code != b.layout.code or a.layout.code > F64:
        if a.layout.code > F64 and b.layout.code > F64:
            return from_numpy(np.where(np.asarray(condition), np.asarray(a), np.asarray(b)))
        a, b = _floats("where", a, b)
    if condition.layout.code != BOOL:
        condition = astype(condition, BOOL)
    return _ternary("where", condition, a, b)


def clip(x: Any, low: Any, high: Any) -> Any:
    """min(max(x, low), high); NaN stays NaN."""
    x, low, high = operand(x, low), operand(low, x), operand(high, x)
    if not x.layout.code == low.layout.code == high.layout.code <= F64:
        if (y := _integers("clip", x, low, high)) is not None:
            return y
        x, low, high = _floats("clip", x, low, high)
    return _ternary("clip", x, low, high)


def _ternary(op: str, a: Any, b: Any, c: Any) -> Any:
    shape, f = _common(op, a, b, c)
    y = empty_of(shape, b.layout.code)
    check(_select(SEL[op], f, y.ptr, a.ptr, b.ptr, c.ptr), op, a, b, c)
    return y


# ---- in place: sums of gradients ---------------------------------------------------------------

_ADD, _MULADD = ZIP["add"], SEL["muladd"]


def add_into(y: Any, x: Any) -> None:
    """y += x, in place, for a contiguous y; x is summed over what y lacks, repeated where y is more."""
    layout = y.layout
    f = layout.form
    if layout is not x.layout:
        if layout.strides is not None or layout.code != x.layout.code:
            raise ValueError(f"add: {describe(x)} in place to {describe(y)}, which must be like it")
        x = sum_to(x, layout.shape) if x.layout.size > layout.size else x
        _, f = _common("add", y, x)
    if status := _zip(_ADD, f, y.ptr, y.ptr, x.ptr):
        check(status, "add", y, x)


def muladd_into(y: Any, a: Any, b: Any) -> None:
    """y += a b, in place, for a contiguous y."""
    layout = y.layout
    if layout is a.layout and b.__class__ is a.__class__ and layout is b.layout:
        if status := _select(_MULADD, layout.form, y.ptr, y.ptr, a.ptr, b.ptr):
            check(status, "mul", y, a, b)
    else:
        add_into(y, binary("mul")(a, b))
