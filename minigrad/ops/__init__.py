"""The ops, and their names as operators and methods of Tensor."""

from __future__ import annotations

from typing import Any, List, Optional

import numpy as np

from .. import core
from ..autograd import Tensor
from ..tape import is_grad_enabled, written
from . import create, elementwise, index, linalg, loss, reduce, rows, shape
from .elementwise import add, div, mul, neg, sub

_METHODS = {
    elementwise: """add sub mul div neg abs sign square sqrt reciprocal pow maximum minimum exp expm1 log
        log1p sin cos erf tanh sigmoid relu clip eq ne lt le gt ge to""",
    reduce: "sum sum_to mean prod max min amax amin argmax argmin logsumexp var std",
    rows: "softmax log_softmax",
    shape: """reshape flatten squeeze unsqueeze expand permute transpose contiguous clone split chunk
        unbind""",
    index: "narrow flip gather",
    linalg: "matmul dot outer",
}
for _module, _names in _METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_module, _name))

_OPERATORS = {
    "add": add,
    "radd": add,
    "sub": sub,
    "rsub": lambda x, y: sub(y, x),
    "mul": mul,
    "rmul": mul,
    "truediv": div,
    "rtruediv": lambda x, y: div(y, x),
    "pow": elementwise.pow,
    "rpow": lambda x, y: elementwise.pow(y, x),
    "matmul": linalg.matmul,
    "rmatmul": lambda x, y: linalg.matmul(y, x),
    "neg": neg,
    "abs": elementwise.abs,
    "eq": elementwise.eq,
    "ne": elementwise.ne,
    "lt": elementwise.lt,
    "le": elementwise.le,
    "gt": elementwise.gt,
    "ge": elementwise.ge,
    "getitem": index.getitem,
    "setitem": index.setitem,
}
for _name, _operator in _OPERATORS.items():
    setattr(Tensor, f"__{_name}__", _operator)
Tensor.__hash__ = object.__hash__  # type: ignore[method-assign]  # == is elementwise, identity hashes


# ---- properties and conversions --------------------------------------------------------------------


def _numpy(x: Tensor) -> Any:
    """An ndarray on the same memory."""
    return np.asarray(x)


def _item(x: Tensor) -> Any:
    """The one element as a Python number; ValueError if there are more."""
    if x.layout.size != 1:
        raise ValueError(f"item: {core.describe(x)} has {x.layout.size} elements, not one")
    return np.asarray(x).item()


def _len(x: Tensor) -> int:
    if not x.shape:
        raise TypeError("len() of a tensor without dimensions")
    return x.shape[0]


def _repr(x: Tensor) -> str:
    text = np.array2string(
        np.asarray(x), separator=", ", prefix="tensor(", precision=4, threshold=1000
    )
    dtype = "" if x.dtype in (np.float32, np.int64, np.bool_) else f", dtype={x.dtype}"
    tracked = "" if x.node is None else ", requires_grad=True"
    return f"tensor({text}{dtype}{tracked})"


def _writable(x: Tensor) -> None:
    if x.node is not None and is_grad_enabled():
        raise RuntimeError(
            "writing in place into a tensor that requires gradients: do it under no_grad, or use the "
            "form that returns a new tensor"
        )


def _copy_(x: Tensor, source: Any) -> Tensor:
    """x[...] = source, in place."""
    _writable(x)
    core.copy_into(x, core.operand(source, x))
    written(x)
    return x


def _in_place(f: Any) -> Any:
    def method(x: Tensor, *args: Any, **options: Any) -> Tensor:
        return _copy_(x, f(x.detach(), *args, **options))

    method.__doc__ = f"The same as {f.__name__}, in place; the tensor itself is returned."
    return method


Tensor.ndim = property(lambda x: len(x.shape), doc="The number of dimensions.")  # type: ignore
Tensor.T = property(
    lambda x: shape.permute(x, *reversed(range(len(x.shape)))), doc="Reversed dimensions."
)  # type: ignore
Tensor.mT = property(lambda x: linalg.matrix_transpose(x), doc="The transposed matrices.")  # type: ignore
Tensor.data = property(  # type: ignore[attr-defined]
    lambda x: x.detach(),
    lambda x, value: _copy_(x.detach(), value),
    doc="The same memory, not tracked.",
)
Tensor.numpy = _numpy  # type: ignore[attr-defined]
Tensor.item = _item  # type: ignore[attr-defined]
Tensor.tolist = lambda x: np.asarray(x).tolist()  # type: ignore[attr-defined]
Tensor.numel = lambda x: x.layout.size  # type: ignore[attr-defined]
Tensor.dim = lambda x: len(x.shape)  # type: ignore[attr-defined]
Tensor.size = lambda x, dim=None: x.shape if dim is None else x.shape[dim]  # type: ignore
Tensor.view = shape.reshape  # type: ignore[attr-defined]
Tensor.clamp = elementwise.clip  # type: ignore[attr-defined]
Tensor.t = lambda x: x.T  # type: ignore[attr-defined]
Tensor.float = lambda x: elementwise.to(x, create.float32)  # type: ignore[attr-defined]
Tensor.double = lambda x: elementwise.to(x, create.float64)  # type: ignore[attr-defined]
Tensor.long = lambda x: elementwise.to(x, create.int64)  # type: ignore[attr-defined]
Tensor.bool = lambda x: elementwise.to(x, create.bool_)  # type: ignore[attr-defined]
Tensor.copy_ = _copy_  # type: ignore[attr-defined]
Tensor.zero_ = lambda x: _copy_(x, 0.0)  # type: ignore[attr-defined]
Tensor.fill_ = _copy_  # type: ignore[attr-defined]
for _op in (add, sub, mul, div, elementwise.clip):
    setattr(Tensor, f"{_op.__name__}_", _in_place(_op))
Tensor.__len__ = _len  # type: ignore[attr-defined]
Tensor.__iter__ = lambda x: iter(shape.unbind(x))  # type: ignore[attr-defined]
Tensor.__repr__ = _repr  # type: ignore[method-assign]
Tensor.__bool__ = lambda x: bool(_item(x))  # type: ignore[attr-defined]
Tensor.__float__ = lambda x: float(_item(x))  # type: ignore[attr-defined]
Tensor.__int__ = lambda x: int(_item(x))  # type: ignore[attr-defined]
Tensor.__index__ = lambda x: int(_item(x))  # type: ignore[attr-defined]
