"""Arrays: memory that C can compute on, how it is made, viewed and copied.

Two choices here are about speed, measured on 8x8 operands, where a C call costs 180 ns in all.  An
array keeps its C pointer (getting it out of an ndarray costs 105 ns per operand and call).  Results
are created as the class in `_result`, which `autograd` sets to `Tensor` (a second object around
each array would cost 160 ns, three times per recorded product).

float32 and float64 are computed in C.  int64 and bool carry indices and masks, never gradients:
their arithmetic is NumPy's.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Union

import numpy as np

from minigrad._core import ffi, lib

from . import shapes
from .shapes import Shape, Strides

Scalar = Union[bool, int, float]

DTYPES = tuple(np.dtype(t) for t in (np.float32, np.float64, np.int64, np.bool_))  # by code
F32, F64, I64, BOOL = lib.MG_F32, lib.MG_F64, lib.MG_I64, lib.MG_BOOL
_ITEMSIZE = (4, 8, 8, 1)

# Bound once: looking up `lib.mg_alloc` at each call costs 23 ns.
_alloc, _free, _gc, _cast, NULL = lib.mg_alloc, lib.mg_free, ffi.gc, ffi.cast, ffi.NULL
_new = ffi.new_allocator(should_clear_after_alloc=False)
_char_p, _int64s = ffi.typeof("char *"), ffi.typeof("int64_t[]")

# Blocks up to this many bytes come from Python's allocator (110 ns), larger ones, aligned and kept
# for reuse, from the pool in scratch.c (380 ns).
_SMALL = 16384


_MOST = 2**63 - 1  # bytes that C can count


class Layout:
    """What all arrays of one shape, order and element type share; two equal ones are one object."""

    __slots__ = ("code", "form", "mask", "memory", "nbytes", "plain", "shape", "size", "strides")

    def __init__(self, shape: Shape, strides: Strides, code: int) -> None:
        self.shape = shape
        self.strides = strides  #: None if contiguous, else in elements; 0 repeats
        self.code = code  #: element type, an index into `DTYPES`
        self.size = math.prod(shape)  #: number of elements
        if self.size < 0 or any(n < 0 for n in shape):
            raise ValueError(f"shape {list(shape)}: a size cannot be negative")
        if self.size * 8 > _MOST:
            raise MemoryError(f"no memory for an array of {list(shape)}")
        self.nbytes = self.size * _ITEMSIZE[code]  #: if contiguous
        #: the C type of its memory, where that comes from Python's allocator
        self.memory = None
        if strides is None and self.nbytes <= _SMALL:
            self.memory = ffi.typeof(f"char[{max(self.nbytes, 1)}]")
        #: the same for small float arrays: these are dispatched without looking further
        self.plain = self.memory if code <= F64 else None
        #: of an elementwise call whose operands all have this layout; None unless contiguous floats
        self.form = None
        #: the layout of what a comparison of such arrays gives
        self.mask: Any = None
        if strides is None and code <= F64:
            self.form = ffi.new(_int64s, [code, self.size, 0])
            self.mask = layout(shape, None, BOOL)


@lru_cache(maxsize=65536)
def layout(shape: Shape, strides: Strides, code: int) -> Layout:
    """The layout of arrays with this shape, these strides and this element type."""
    return Layout(shape, strides, code)


class Array:
    """A pointer and a layout: what C sees."""

    __slots__ = ("base", "layout", "ptr")
    ptr: Any  #: cdata pointer to the first element
    layout: Layout
    base: Any  #: what else keeps the memory alive (an ndarray, another array's pointer), or None

    @property
    def shape(self) -> Shape:
        """The size of each dimension."""
        return self.layout.shape

    @property
    def dtype(self) -> Any:
        """The element type, a NumPy dtype."""
        return DTYPES[self.layout.code]

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """How NumPy shares this memory without a copy; its view keeps the array alive."""
        itemsize, strides = _ITEMSIZE[self.layout.code], self.layout.strides
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (int(_cast("uintptr_t", self.ptr)), False),
            "strides": strides and tuple(s * itemsize for s in strides),
        }


_result: Any = Array


def results_are(cls: type) -> None:
    """Create results as `cls`: an `Array` with one more slot, node."""
    global _result
    _result = cls


def result_class() -> Any:
    """The class of results."""
    return _result


def numbers(kind: str) -> dict[str, int]:
    """{'add': 0, …}: the kernels of one kind, read off the enum that C itself uses."""
    prefix = f"MG_{kind.upper()}_"
    enum = ffi.typeof(f"enum mg_{kind}_op").relements
    return {name[len(prefix) :]: n for name, n in enum.items() if name.startswith(prefix)}


def check(status: int, op: str, *operands: Array) -> None:
    """Turn a status of the C core into an exception that names the op and its operands."""
    if status:
        call = f"{op}({', '.join(describe(a) for a in operands)})"
        if status == lib.MG_NO_MEMORY:
            raise MemoryError(f"{call}: out of memory")
        raise RuntimeError(f"{call}: refused by the C core (status {status})")


def describe(a: Array) -> str:
    """'float32 [2, 3]', for messages."""
    return f"{a.dtype} {list(a.shape)}"


# ---- making arrays ---------------------------------------------------------------------------


def empty(like: Layout) -> Any:
    """An array of this contiguous layout with arbitrary contents.  MemoryError if there is no room."""
    y = _result()
    if like.memory is not None:
        y.ptr = _new(like.memory)
    else:
        block = _alloc(like.nbytes)
        if not block:
            raise MemoryError(f"no memory for an array of {list(like.shape)}: {like.nbytes} bytes")
        y.ptr = _gc(block, _free)
    y.layout = like
    y.base = y.node = None
    return y


def empty_of(shape: Shape, code: int) -> Any:
    """An array of this shape and element type with arbitrary contents."""
    return empty(layout(shape, None, code))


def zeros(like: Layout) -> Any:
    """An array of zeros of this shape and element type."""
    y = empty(layout(like.shape, None, like.code))
    np.asarray(y).fill(0)
    return y


def alias(x: Array) -> Any:
    """A second array object on the memory of `x`."""
    y = _result()
    y.ptr = x.ptr
    y.layout = x.layout
    y.base = x.base
    y.node = None
    return y


def owner(x: Array) -> Any:
    """What keeps the memory of `x` alive: the same object for all arrays on that memory."""
    return x.ptr if x.base is None else x.base


def view(x: Array, offset: int, shape: Shape, strides: Strides) -> Any:
    """The memory of `x` from element `offset` on, seen with another shape and other strides."""
    y = _result()
    y.ptr = _cast(_char_p, x.ptr) + offset * _ITEMSIZE[x.layout.code] if offset else x.ptr
    y.layout = layout(shape, strides, x.layout.code)
    y.base = owner(x)
    y.node = None
    return y


def from_numpy(a: Any) -> Any:
    """An array on the memory of the ndarray `a`, or on a copy.

    It is copied if it is read-only, runs backwards, or has an element type other than float32, float64,
    int64 and bool: smaller types are widened.
    """
    a = np.asarray(a)
    if a.dtype not in DTYPES:
        if a.dtype.kind not in "iuf":
            raise TypeError(
                f"no tensor of {a.dtype}: float32, float64, int64 and bool are possible"
            )
        wide = np.float32 if a.dtype.itemsize <= 4 else np.float64
        a = a.astype(wide if a.dtype.kind == "f" else np.int64)
    a = np.asarray(a)
    if (
        not a.flags.writeable
        or not a.flags.aligned
        or any(s < 0 or s % a.itemsize for s in a.strides)
    ):
        a = a.copy()
    y = _result()
    y.ptr = _cast(_char_p, a.__array_interface__["data"][0])
    strides = shapes.normal(a.shape, tuple(s // a.itemsize for s in a.strides))
    y.layout = layout(a.shape, strides, DTYPES.index(a.dtype))
    y.base = a
    y.node = None
    return y


@lru_cache(maxsize=1024)
def _number(value: Scalar, code: int, sign: float = 1) -> Any:  # noqa: ARG001 (0.0 is not -0.0)
    return from_numpy(np.array(value, dtype=DTYPES[code]))


def operand(value: Any, like: Any) -> Any:
    """`value` as an array.  A Python number takes the element type of `like` if that can hold it."""
    if isinstance(value, Array):
        return value
    kind = value.__class__
    if (kind is float or kind is int) and value and isinstance(like, Array):  # the usual case
        code = like.layout.code
        if code <= F64:
            return _number(value, code)
    if isinstance(value, (bool, int, float)):
        code = like.layout.code if isinstance(like, Array) else F32
        if isinstance(value, float) and code > F64:
            code = F32
        elif code == BOOL and not isinstance(value, bool):
            code = I64
        return _number(value, code, math.copysign(1, value))
    if isinstance(value, (np.ndarray, np.generic, list)):
        return from_numpy(value)
    raise TypeError(f"expected a tensor or a number, got {type(value).__name__}")


# ---- forms: what C needs to know of the operands of an elementwise call -----------------------


@lru_cache(maxsize=16384)
def form(code: int, shape: Shape, *strides: Shape) -> Any:
    """{ dtype, n, ndim, shape, strides of each operand }, with mergeable dimensions merged."""
    dims = shapes.merged(shape, *strides)
    numbers = [code, math.prod(shape), len(dims), *(v for column in zip(*dims) for v in column)]
    return ffi.new(_int64s, numbers)


@lru_cache(maxsize=16384)
def broadcast(op: str, *operands: Layout) -> tuple[Layout, Any]:
    """(layout of the result, form) of operands of `op`; the last one's element type is computed with."""
    try:
        shape = shapes.broadcast(*(a.shape for a in operands))
    except ValueError as e:
        raise ValueError(f"{op}: {e}") from None
    code = operands[-1].code
    steps = (shapes.expand(a.shape, a.strides, shape) for a in operands)
    return layout(shape, None, code), form(code, shape, *steps)


def strides_of(x: Array) -> Shape:
    """The strides of `x`, in elements."""
    strides = x.layout.strides
    return shapes.row_major(x.shape) if strides is None else strides


# ---- copies ----------------------------------------------------------------------------------


def copy_into(y: Array, x: Array) -> None:
    """y[...] = x, broadcast to y's shape and converted to its type; y is written in place."""
    steps = shapes.expand(x.shape, x.layout.strides, y.shape)
    f = form(y.layout.code, y.shape, strides_of(y), steps)
    check(lib.mg_copy(x.layout.code, f, y.ptr, x.ptr), "copy", y, x)


def astype(x: Array, code: int) -> Any:
    """A contiguous copy with element type `code`."""
    y = empty_of(x.shape, code)
    copy_into(y, x)
    return y


def contiguous(x: Any) -> Any:
    """`x` itself if contiguous, else a contiguous copy."""
    return x if x.layout.strides is None else astype(x, x.layout.code)
