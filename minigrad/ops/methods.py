"""What makes a Tensor convenient: conversions to Python and NumPy, in-place methods, printing.

`ops/__init__.py` makes these functions the methods and properties of Tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import numpy as np

from .. import core
from ..autograd import Tensor
from ..tape import is_grad_enabled, written
from . import create, elementwise, linalg, shape

# ---- properties --------------------------------------------------------------------------------


def ndim(x: Tensor) -> int:
    """The number of dimensions."""
    return len(x.shape)


def T(x: Tensor) -> Tensor:
    """x with its dimensions in reverse order: a view."""
    return shape.permute(x, *reversed(range(len(x.shape))))


def mT(x: Tensor) -> Tensor:
    """The transposed matrices: [..., n, m] -> [..., m, n], a view."""
    return linalg.matrix_transpose(x)


def data(x: Tensor) -> Tensor:
    """The same memory, not tracked; assigning to it writes into that memory."""
    return x.detach()


def set_data(x: Tensor, value: Any) -> None:
    """x.data = value"""
    copy_(x.detach(), value)


# ---- out of the library ------------------------------------------------------------------------


def numpy(x: Tensor) -> Any:
    """An ndarray on the same memory: writing to one writes to the other."""
    return np.asarray(x)


def item(x: Tensor) -> Any:
    """The one element as a Python number; ValueError if there are more."""
    if x.layout.size != 1:
        raise ValueError(f"item: {core.describe(x)} has {x.layout.size} elements, not one")
    return np.asarray(x).item()


def tolist(x: Tensor) -> Any:
    """Nested lists of Python numbers."""
    return np.asarray(x).tolist()


def numel(x: Tensor) -> int:
    """The number of elements."""
    return x.layout.size


def dim(x: Tensor) -> int:
    """The number of dimensions."""
    return len(x.shape)


def size(x: Tensor, dim: int | None = None) -> Any:
    """The shape, or the size of one dimension."""
    return x.shape if dim is None else x.shape[dim]


def length(x: Tensor) -> int:
    """len(x): the size of the first dimension."""
    if not x.shape:
        raise TypeError("len() of a tensor without dimensions")
    return x.shape[0]


def iterate(x: Tensor) -> Iterator[Any]:
    """x[0], x[1], …"""
    return iter(shape.unbind(x))


def to_bool(x: Tensor) -> bool:
    """bool(x), for one element."""
    return bool(item(x))


def to_float(x: Tensor) -> float:
    """float(x), for one element."""
    return float(item(x))


def to_int(x: Tensor) -> int:
    """int(x), for one element."""
    return int(item(x))


def to_text(x: Tensor) -> str:
    """repr(x)"""
    values = np.array2string(np.asarray(x), separator=", ", prefix="tensor(", precision=4)
    kind = "" if x.layout.code in (core.F32, core.I64, core.BOOL) else f", dtype={x.dtype}"
    return f"tensor({values}{kind}{'' if x.node is None else ', requires_grad=True'})"


def formatted(x: Tensor, spec: str) -> str:
    """f"{x:.2f}", for one element."""
    return format(item(x), spec) if spec else to_text(x)


def deep_copied(x: Tensor, memo: dict[int, Any]) -> Tensor:
    """copy.deepcopy(x): a leaf with memory of its own."""
    if not x.is_leaf:
        raise RuntimeError("deepcopy of a tensor with a history: detach() it first")
    y: Tensor = core.astype(x, x.layout.code)
    memo[id(x)] = y
    return y.requires_grad_(x.requires_grad)


def shallow_copied(x: Tensor) -> Tensor:
    """copy.copy(x): another object of the same memory and history."""
    y: Tensor = object.__new__(type(x))
    for kind in type(x).__mro__[:-1]:
        for slot in vars(kind)["__slots__"]:
            if not slot.startswith("__"):
                setattr(y, slot, getattr(x, slot))
    return y


def pickled(x: Tensor, protocol: Any) -> Any:  # noqa: ARG001
    """pickle.dumps(x): the values of a leaf and whether it requires gradients, without its gradient."""
    if not x.is_leaf:
        raise RuntimeError("pickle of a tensor with a history: detach() it first")
    return _unpickled, (type(x), np.asarray(x), x.requires_grad)


def _unpickled(kind: Any, values: Any, requires_grad: bool) -> Any:
    x: Tensor = core.from_numpy(values)
    return x.requires_grad_(requires_grad) if type(x) is kind else kind(x, requires_grad)


# ---- conversions -------------------------------------------------------------------------------


def as_float(x: Tensor) -> Tensor:
    """x as float32."""
    return elementwise.to(x, create.float32)


def as_double(x: Tensor) -> Tensor:
    """x as float64."""
    return elementwise.to(x, create.float64)


def as_long(x: Tensor) -> Tensor:
    """x as int64."""
    return elementwise.to(x, create.int64)


def as_bool(x: Tensor) -> Tensor:
    """x != 0, as bool."""
    return elementwise.to(x, create.bool_)


# ---- logic: bool and int64, without gradient -----------------------------------------------------


def _logic(symbol: str, function: Any, *operands: Any) -> Tensor:
    like = next(x for x in operands if isinstance(x, Tensor))
    arrays = [core.operand(x, like) for x in operands]
    if any(a.layout.code <= core.F64 for a in arrays):
        names = " and ".join(core.describe(a) for a in arrays)
        raise TypeError(f"{symbol}: bool or int64 tensors are needed, not {names}")
    return core.from_numpy(function(*map(np.asarray, arrays)))


def invert(x: Tensor) -> Tensor:
    """~x: not, bit by bit."""
    return _logic("~", np.invert, x)


def logical_and(a: Any, b: Any) -> Tensor:
    """a & b, bit by bit."""
    return _logic("&", np.bitwise_and, a, b)


def logical_or(a: Any, b: Any) -> Tensor:
    """a | b, bit by bit."""
    return _logic("|", np.bitwise_or, a, b)


def logical_xor(a: Any, b: Any) -> Tensor:
    """a ^ b, bit by bit."""
    return _logic("^", np.bitwise_xor, a, b)


# ---- in place ----------------------------------------------------------------------------------


def copy_(x: Tensor, source: Any) -> Tensor:
    """x[...] = source, in place; the tensor itself is returned.

    RuntimeError if x requires gradients, unless under no_grad: its history would be wrong.
    """
    if x.node is not None and is_grad_enabled():
        raise RuntimeError(
            "writing in place into a tensor that requires gradients: do it under no_grad, or use the "
            "form that returns a new tensor"
        )
    core.copy_into(x, core.operand(source, x))
    written(x)
    return x


def zero_(x: Tensor) -> Tensor:
    """x[...] = 0, in place."""
    return copy_(x, 0.0)


def fill_(x: Tensor, value: Any) -> Tensor:
    """x[...] = value, in place."""
    return copy_(x, value)


def in_place(op: Callable[..., Any]) -> Callable[..., Tensor]:
    """The method that writes op(x, …) into x."""

    def method(x: Tensor, *args: Any, **options: Any) -> Tensor:
        return copy_(x, op(x.detach(), *args, **options))

    method.__name__ = f"{op.__name__}_"
    method.__doc__ = f"The same as {op.__name__}, in place; the tensor itself is returned."
    return method
