"""minigrad: a small reverse-mode autograd library with a C core, and recurrent networks on top."""

# NumPy first: where it is imported from within this package, `numpy._typing` takes 40 ms longer to load,
# measured on CPython 3.11 with NumPy 2.4 (python -X importtime -c "import minigrad").
from importlib import import_module
from typing import Any

import numpy  # noqa: ICN001

from . import nn, optim
from .anomaly import AnomalyError, detect_anomaly, set_detect_anomaly
from .autograd import Tensor, grad, op
from .check import gradcheck, gradgradcheck
from .core import get_num_threads, set_num_threads
from .io import load, save
from .ops.create import (
    arange,
    bool_,
    empty,
    eye,
    float32,
    float64,
    from_numpy,
    full,
    full_like,
    get_default_dtype,
    get_rng_state,
    int64,
    linspace,
    manual_seed,
    ones,
    ones_like,
    rand,
    randint,
    randn,
    randperm,
    set_default_dtype,
    set_rng_state,
    tensor,
    zeros,
    zeros_like,
)  # fmt: skip
from .ops.elementwise import (
    abs,
    add,
    clip,
    cos,
    div,
    elu,
    eq,
    erf,
    exp,
    expm1,
    ge,
    gelu,
    gt,
    le,
    leaky_relu,
    log,
    log1p,
    logsigmoid,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    pow,
    reciprocal,
    relu,
    sigmoid,
    sign,
    sin,
    softplus,
    sqrt,
    square,
    sub,
    tanh,
    to,
    where,
)  # fmt: skip
from .ops.index import flip, gather, narrow, take
from .ops.linalg import dot, matmul, outer
from .ops.reduce import (
    amax,
    amin,
    argmax,
    argmin,
    logsumexp,
    max,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)  # fmt: skip
from .ops.rows import log_softmax, softmax
from .ops.shape import (
    cat,
    chunk,
    clone,
    expand,
    flatten,
    permute,
    reshape,
    split,
    squeeze,
    stack,
    transpose,
    unbind,
    unsqueeze,
)  # fmt: skip
from .tape import enable_grad, is_grad_enabled, no_grad

__version__ = "0.1.0"

_LATER = ("data", "func", "learn", "viz")


def __getattr__(name: str) -> Any:
    """`minigrad.learn` and others without an import of their own: loaded when first asked for."""
    if name in _LATER:
        return import_module(f"minigrad.{name}")
    raise AttributeError(f"module 'minigrad' has no attribute {name!r}")
