"""Layers and losses without parameters of their own, under PyTorch's names."""

from __future__ import annotations

from typing import Any

from .. import core
from ..autograd import Tensor
from ..ops import index as _index
from ..ops.create import arange, rand, zeros_like
from ..ops.ctc import ctc_loss
from ..ops.elementwise import (
    elu,
    eq,
    ge,
    gelu,
    leaky_relu,
    logsigmoid,
    mul,
    ne,
    relu,
    sigmoid,
    softplus,
    tanh,
    to,
    where,
)
from ..ops.linalg import linear
from ..ops.loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    half_squared_error,
    l1_loss,
    mse_loss,
    nll_loss,
)
from ..ops.over_time import sequence_loss
from ..ops.rows import layer_norm, log_softmax, softmax
from ..ops.shape import reshape

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "half_squared_error",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "sequence_loss",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
]


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Any:
    """Each element becomes 0 with probability p, else is multiplied by 1 / (1 - p).

    The mean stays, so that nothing is done where training is False.  Srivastava and others, 2014.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p={p}: a probability is needed, from 0 to 1")
    if not training or p == 0:
        return input
    if p == 1:
        return mul(input, zeros_like(input))
    kept = ge(rand(*input.shape, dtype=input.dtype), p)
    return mul(input, mul(to(kept, input.dtype), 1 / (1 - p)))


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Any:
    """The rows of `weight` [V, D] that `input`, int64 [...], names: [..., D].

    The row padding_idx gets no gradient.  IndexError where an index is out of range.
    """
    y = _index.embedding(input, weight)
    if padding_idx is None or y.node is None:
        return y
    row = padding_index(padding_idx, weight.shape[0])
    learnt = reshape(
        ne(where(ge(input, 0), input, input + weight.shape[0]), row), (*input.shape, 1)
    )
    return where(learnt, y, y.detach())


def padding_index(padding_idx: int, rows: int) -> int:
    """`padding_idx` counted from the front; ValueError where a table of `rows` lacks it."""
    if not -rows <= padding_idx < rows:
        raise ValueError(f"embedding: padding_idx={padding_idx} of a table with {rows} rows")
    return padding_idx % rows


def one_hot(tensor: Tensor, num_classes: int = -1) -> Any:
    """[...] int64 -> [..., C] int64: 1 at the class, else 0.  C: if not given, the largest + 1."""
    if tensor.layout.code != core.I64:
        raise TypeError(f"one_hot: classes are int64, not {core.describe(tensor)}")
    if not tensor.layout.size and num_classes < 1:
        raise ValueError("one_hot: of no classes: num_classes is needed")
    low, high = (int(f(tensor)) for f in (_least, _greatest))
    size = high + 1 if num_classes == -1 else num_classes
    if low < 0 or high >= size:
        raise ValueError(
            f"one_hot: classes from {low} to {high}: from 0 to {size - 1} are possible"
        )
    return to(eq(reshape(tensor, (*tensor.shape, 1)), arange(size)), core.DTYPES[core.I64])


def _least(x: Tensor) -> Any:
    return x.amin() if x.layout.size else 0


def _greatest(x: Tensor) -> Any:
    return x.amax() if x.layout.size else -1
