"""Making tensors: from data, constant, random."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from .. import core
from ..autograd import Tensor

float32, float64, int64, bool_ = core.DTYPES
_default = float32


def set_default_dtype(dtype: Any) -> None:
    """The type of tensors made from Python floats, zeros, randn …: float32 (the default) or float64."""
    global _default
    if dtype not in (float32, float64):
        raise TypeError(f"set_default_dtype: {dtype}: float32 or float64")
    _default = np.dtype(dtype)


def get_default_dtype() -> Any:
    """The type of tensors made from Python floats."""
    return _default


def _made(a: Any, requires_grad: bool) -> Tensor:
    x: Tensor = core.from_numpy(a)
    return x.requires_grad_() if requires_grad else x


def _size(args: Sequence[Any]) -> core.Shape:
    """(2, 3) of f(2, 3) and of f((2, 3))"""
    sizes = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
    return tuple(map(index, sizes))


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`: a number, nested lists, an ndarray or a tensor.

    Python floats give the default type (float32), ints int64, bools bool; ndarrays keep theirs.

    >>> import minigrad
    >>> minigrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    a = np.array(data)
    if (
        dtype is None
        and a.dtype == np.float64
        and not isinstance(data, (np.ndarray, np.generic, Tensor))
    ):
        dtype = _default
    return _made(a if dtype is None else a.astype(dtype), requires_grad)


def from_numpy(a: Any) -> Tensor:
    """A tensor on the memory of the ndarray `a`: writing to one writes to the other.

    Read-only and reversed arrays, and types other than float32, float64, int64 and bool, are
    copied.
    """
    return _made(a, False)


def full(
    size: Sequence[int], fill_value: Any, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of shape `size`, all of it fill_value."""
    if dtype is None:
        dtype = (
            bool_
            if isinstance(fill_value, bool)
            else int64
            if isinstance(fill_value, int)
            else _default
        )
    return _made(np.full(tuple(size), fill_value, dtype), requires_grad)


def zeros(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros: zeros(2, 3) or zeros((2, 3))."""
    return _made(np.zeros(_size(size), dtype or _default), requires_grad)


def ones(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones: ones(2, 3) or ones((2, 3))."""
    return _made(np.ones(_size(size), dtype or _default), requires_grad)


def empty(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with arbitrary contents."""
    x: Tensor = core.empty_of(_size(size), core.DTYPES.index(np.dtype(dtype or _default)))
    return x.requires_grad_() if requires_grad else x


def zeros_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and type of x."""
    return zeros(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


def ones_like(x: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and type of x."""
    return ones(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


def full_like(x: Tensor, fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """fill_value in the shape and type of x."""
    return full(x.shape, fill_value, dtype or x.dtype, requires_grad)


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    dtype: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, … below end; arange(n) is 0 … n-1.  int64 for ints, else the default type."""
    start, end = (0, start) if end is None else (start, end)
    if dtype is None:
        dtype = int64 if all(isinstance(v, int) for v in (start, end, step)) else _default
    return _made(np.arange(start, end, step).astype(dtype), requires_grad)


def linspace(
    start: float, end: float, steps: int, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """`steps` numbers from start to end, both included, at equal distances."""
    return _made(np.linspace(start, end, steps).astype(dtype or _default), requires_grad)


def eye(n: int, m: int | None = None, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """The identity matrix [n, n], or its like [n, m]."""
    return _made(np.eye(n, m, dtype=dtype or _default), requires_grad)


# ---- random ----------------------------------------------------------------------------------

_generator: Any = None  # made when it is first asked for: numpy.random takes 10 ms to import
_lock = threading.Lock()


def generator() -> Any:
    """The NumPy generator that all of minigrad draws from."""
    global _generator
    if _generator is None:
        _generator = np.random.Generator(np.random.PCG64())
    return _generator


def manual_seed(seed: int) -> None:
    """Begin the sequence of random numbers anew: what follows is determined by `seed`."""
    global _generator
    _generator = np.random.Generator(np.random.PCG64(seed))


def get_rng_state() -> dict[str, Any]:
    """The state of the random numbers, a dict of plain values, for `set_rng_state`."""
    return dict(generator().bit_generator.state)


def set_rng_state(state: dict[str, Any]) -> None:
    """Go on from where `get_rng_state` was called."""
    generator().bit_generator.state = state


def rand(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Uniform random numbers from [0, 1)."""
    with _lock:
        a = generator().random(_size(size), dtype=np.dtype(dtype or _default).type)
    return _made(np.asarray(a), requires_grad)


def randn(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Normal random numbers with mean 0 and variance 1."""
    with _lock:
        a = generator().standard_normal(_size(size), dtype=np.dtype(dtype or _default).type)
    return _made(np.asarray(a), requires_grad)


def randint(low: int, high: int | None = None, size: Sequence[int] | None = None) -> Tensor:
    """Uniform random integers from [low, high), or from [0, low): int64, of shape `size`."""
    low, high = (0, low) if high is None else (low, high)
    with _lock:
        return _made(generator().integers(low, high, tuple(size or ())), False)


def randperm(n: int) -> Tensor:
    """0 … n-1 in random order, int64."""
    with _lock:
        return _made(generator().permutation(n), False)
