"""Elementwise kernels with broadcasting: op(x), op(a, b), a < b, where(a, b, c).

`unary("exp")`, `binary("add")`, `compare("lt")` and `select("where")` give the function for one
kernel of cextension/kernels.def.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from minigrad._core import lib

from . import array
from .array import (
    BOOL,
    F32,
    F64,
    Array,
    astype,
    broadcast,
    check,
    describe,
    empty,
    from_numpy,
    numbers,
    operand,
)  # fmt: skip
from .axes import sum_to

MAP, ZIP, CMP, SEL = (numbers(kind) for kind in ("map", "zip", "cmp", "sel"))
_map, _zip, _compare, _select = lib.mg_map, lib.mg_zip, lib.mg_compare, lib.mg_select
_new = array._new

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


def _general(op: str, call: Any, number: int, u: Any, v: Any) -> Any:
    """The result of a kernel with two operands, whatever their layouts."""
    layout = u.layout
    f = layout.form
    if f is None or layout is not v.layout:
        if layout.code != v.layout.code or layout.code > F64:
            if (y := _integers(op, u, v)) is not None:
                return y
            u, v = _floats(op, u, v)
        layout, f = broadcast(op, u.layout, v.layout)
    y = empty(layout.mask if call is _compare else layout)
    if status := call(number, f, y.ptr, u.ptr, v.ptr):
        check(status, op, u, v)
    return y


# On small arrays what surrounds the C call is what costs (docs/decisions/0005-small-arrays.md), so
# `empty` is written out in the next two functions, and an op needs no second function around them:
# `record`, if there is one, is called with the result, the arguments and their nodes.


def unary(op: str, record: Any = None) -> Any:
    """The function y = op(x), [...] -> [...]."""
    number, result = MAP[op], array.result_class()

    def kernel(x: Any) -> Any:
        layout = x.layout
        plain = layout.plain
        if plain is not None:
            y = result()
            ptr = y.ptr = _new(plain)
            y.layout = layout
            y.base = y.node = None
            if status := _map(number, layout.form, ptr, x.ptr):
                check(status, op, x)
        else:
            u, f = x, layout.form
            if f is None:
                if layout.code > F64:
                    if (y := _integers(op, x)) is not None:
                        return y
                    (u,) = _floats(op, x)
                layout, f = broadcast(op, u.layout)
            y = empty(layout)
            check(_map(number, f, y.ptr, u.ptr), op, x)
        if record is not None and x.node is not None:
            record(y, x, x.node)
        return y

    return _named(kernel, op, unary)


def binary(op: str, record: Any = None) -> Any:
    """The function y = op(a, b), with broadcasting.  One of the two may be a Python number."""
    number, result = ZIP[op], array.result_class()

    def kernel(a: Any, b: Any) -> Any:
        v = b if b.__class__ is result or isinstance(b, Array) else operand(b, a)
        try:
            u, layout = a, a.layout
        except AttributeError:  # 500 ns, for sub(1, x); asking first would cost all others 15
            u = operand(a, b)
            layout = u.layout
        plain = layout.plain
        if plain is not None and layout is v.layout:
            y = result()
            ptr = y.ptr = _new(plain)
            y.layout = layout
            y.base = y.node = None
            if status := _zip(number, layout.form, ptr, u.ptr, v.ptr):
                check(status, op, u, v)
        else:
            y = _general(op, _zip, number, u, v)
        if record is not None:
            m, n = u.node, v.node
            if m is not None or n is not None:
                record(y, a, b, m, n)
        return y

    return _named(kernel, op, binary)


def compare(op: str) -> Any:
    """The function a op b -> bool, with broadcasting."""
    number = CMP[op]

    def kernel(a: Any, b: Any) -> Any:
        return _general(op, _compare, number, operand(a, b), operand(b, a))

    return _named(kernel, op)


def _named(kernel: Any, op: str, make: Any = None) -> Any:
    kernel.__name__ = kernel.__qualname__ = op
    kernel.recorded_by = make and partial(make, op)
    return kernel


def _where(op: str, record: Any = None) -> Any:
    def kernel(condition: Any, a: Any, b: Any) -> Any:
        u, v, w = operand(condition, a), operand(a, b), operand(b, a)
        if v.layout.code != w.layout.code or v.layout.code > F64:
            if v.layout.code > F64 and w.layout.code > F64:
                return from_numpy(np.where(np.asarray(u), np.asarray(v), np.asarray(w)))
            v, w = _floats(op, v, w)
        if u.layout.code != BOOL:
            u = astype(u, BOOL)
        y = _ternary(op, u, v, w)
        if record is not None and (v.node is not None or w.node is not None):
            record(y, condition, a, b)
        return y

    return _named(kernel, op, _where)


def _clip(op: str, record: Any = None) -> Any:
    def kernel(x: Any, low: Any, high: Any) -> Any:
        u, v, w = operand(x, low), operand(low, x), operand(high, x)
        if not u.layout.code == v.layout.code == w.layout.code <= F64:
            if (y := _integers(op, u, v, w)) is not None:
                return y
            u, v, w = _floats(op, u, v, w)
        y = _ternary(op, u, v, w)
        if record is not None and not (u.node is None and v.node is None and w.node is None):
            record(y, x, low, high)
        return y

    return _named(kernel, op, _clip)


def _ternary(op: str, a: Any, b: Any, c: Any) -> Any:
    layout, f = broadcast(op, a.layout, b.layout, c.layout)
    y = empty(layout)
    if status := _select(SEL[op], f, y.ptr, a.ptr, b.ptr, c.ptr):
        check(status, op, a, b, c)
    return y


where, clip = _where("where"), _clip("clip")
where.__doc__ = "y = a where the condition holds (is not 0), else b; all three broadcast."
clip.__doc__ = "y = min(max(x, low), high); NaN stays NaN."


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
        _, f = broadcast("add", layout, x.layout)
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
