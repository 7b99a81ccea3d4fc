"""The ops, and their names as operators and methods of Tensor."""

from __future__ import annotations

from typing import Any

from .. import core
from ..autograd import Tensor
from . import create, elementwise, index, linalg, loss, methods, reduce, rows, shape
from .elementwise import add, div, mul, neg, sub

_METHODS = {
    elementwise: """add sub mul div neg abs sign square sqrt reciprocal pow maximum minimum
        exp expm1 log log1p sin cos erf tanh sigmoid relu clip eq ne lt le gt ge to""",
    reduce: "sum sum_to mean prod max min amax amin argmax argmin logsumexp var std",
    rows: "softmax log_softmax",
    shape: """reshape flatten squeeze unsqueeze expand permute transpose contiguous clone
        split chunk unbind""",
    index: "narrow flip gather",
    linalg: "matmul dot outer",
    methods: "numpy item tolist numel dim size copy_ zero_ fill_",
}
for _module, _names in _METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_module, _name))


def _reflected(op: Any) -> Any:
    """y op x for a y that is no tensor: made one here, which saves the kernel an exception."""
    return lambda x, y: op(core.operand(y, x), x)


_OPERATORS = {
    "add": add,
    "radd": add,
    "sub": sub,
    "rsub": _reflected(sub),
    "mul": mul,
    "rmul": mul,
    "truediv": div,
    "rtruediv": _reflected(div),
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
    "invert": methods.invert,
    "and": methods.logical_and,
    "rand": methods.logical_and,
    "or": methods.logical_or,
    "ror": methods.logical_or,
    "xor": methods.logical_xor,
    "rxor": methods.logical_xor,
    "len": methods.length,
    "iter": methods.iterate,
    "bool": methods.to_bool,
    "float": methods.to_float,
    "int": methods.to_int,
    "index": methods.to_int,
    "repr": methods.to_text,
    "format": methods.formatted,
    "copy": methods.shallow_copied,
    "deepcopy": methods.deep_copied,
    "reduce_ex": methods.pickled,
    "hash": object.__hash__,  # == is elementwise; a tensor in a set or dict is itself
}
for _name, _operator in _OPERATORS.items():
    setattr(Tensor, f"__{_name}__", _operator)


_ALIASES = {
    "view": shape.reshape,
    "clamp": elementwise.clip,
    "t": methods.T,
    "float": methods.as_float,
    "double": methods.as_double,
    "long": methods.as_long,
    "bool": methods.as_bool,
    "ndim": property(methods.ndim),
    "T": property(methods.T),
    "mT": property(methods.mT),
    "data": property(methods.data, methods.set_data),
}
for _name, _member in _ALIASES.items():
    setattr(Tensor, _name, _member)

for _op in (add, sub, mul, div, elementwise.clip):
    setattr(Tensor, f"{_op.__name__}_", methods.in_place(_op))
