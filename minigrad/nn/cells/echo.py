"""The reservoir of an echo state network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import core
from ...autograd import Tensor
from ...ops.create import from_numpy, generator, get_default_dtype, randn
from ...ops.elementwise import relu, sigmoid, tanh
from ...ops.sparse import spmm
from ...tape import is_grad_enabled, next_age, written_since
from ..module import Module
from ..spectral import largest_eigenvalue
from .base import Cell, State

_FUNCTIONS = {"tanh": tanh, "sigmoid": sigmoid, "relu": relu, "identity": lambda z: z}


def scales_of(of: str, scale: Any, inputs: int) -> list[float]:
    """input_scale, one number for each of the inputs; ValueError where it is not that many."""
    scale = np.asarray(scale, np.float64)
    if scale.shape not in ((), (inputs,)):
        raise ValueError(
            f"{of}: input_scale {list(scale.shape)}: a number, or one for each of {inputs} inputs"
        )
    scales: list[float] = np.broadcast_to(scale, (inputs,)).tolist()
    return scales


class EchoStateCell(Cell):
    """h' = (1 - a) h + a f(x W + b + h U): a large, random, sparse Elman cell that is not trained.

    a is the leak, f = tanh, "sigmoid", "relu" or "identity".  U [H, H] is kept by its numbers that are
    not 0: `U` [H k] in compressed rows of its transpose, unit by unit, with `first` and `index`.  All of
    these, W [I, H] and b [H] are buffers: part of the state, but not of the parameters.  In Jaeger's
    letters W is W_in, and U is W, each transposed.

    spectral_radius  the largest |eigenvalue| of U, to which it is scaled exactly; None: 0.9
    connectivity     the share of the other units that a unit hears, each as many; None: ten units
    leak             from above 0, for units that change slowly, to 1
    input_scale      W from U(-s, s): a number, or one for each of the inputs
    bias_scale       b from U(-s, s)
    noise            standard deviation of what is added to x W + b in training mode, as a regulariser
    seed             of the random numbers; None: those of `minigrad.manual_seed`
    weights          U itself in place of a random one: an array [H, H], or (first, index, values),
                     unit by unit the others that it hears; scaled only if spectral_radius is given

    A spectral radius below 1 is a rule of thumb.  That two initial states converge under the same
    input (`learn.echo_state`) follows from `spectral_norm()` < 1, for f = tanh and any leak: the map
    h -> h' shrinks distances at least by 1 - a (1 - norm).  Where the spectral radius of
    (1 - a) 1 + a U is above 1, it fails for x = 0, b = 0.  In between the input decides, either way.

    H. Jaeger, The "echo state" approach to analysing and training recurrent neural networks, GMD
    report 148, 2001; leak and practice: M. Lukoševičius, A Practical Guide to Applying Echo State
    Networks, 2012.  MISSION E1-E4, E6, T10.  x [N, I], h [N, H] -> h' [N, H].

    >>> import minigrad
    >>> cell = minigrad.nn.EchoStateCell(3, 200, spectral_radius=0.9, seed=1)
    >>> cell(minigrad.zeros(2, 3)).shape, round(abs(cell.spectral_radius()), 6)
    ((2, 200), 0.9)
    """

    W: Any
    U: Any
    b: Any
    first: Tensor
    index: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        spectral_radius: float | None = None,
        connectivity: float | None = None,
        leak: float = 1.0,
        input_scale: float | Sequence[float] = 0.5,
        bias_scale: float = 0.5,
        nonlinearity: str = "tanh",
        noise: float = 0.0,
        seed: int | None = None,
        weights: Any = None,
        dtype: Any = None,
    ) -> None:
        Module.__init__(self)  # a Cell has parameters
        if input_size < 1 or hidden_size < 1:
            raise ValueError(
                f"EchoStateCell: input_size={input_size}, hidden_size={hidden_size}: at least 1"
            )
        if nonlinearity not in _FUNCTIONS:
            raise ValueError(
                f"EchoStateCell: nonlinearity={nonlinearity!r}: one of {', '.join(_FUNCTIONS)}"
            )
        if not 0 < leak <= 1 or not noise >= 0:
            raise ValueError(
                f"EchoStateCell: leak={leak}, noise={noise}: 0 < leak <= 1, noise >= 0"
            )
        if spectral_radius is not None and not spectral_radius > 0:
            raise ValueError(f"EchoStateCell: spectral_radius={spectral_radius}: above 0 is needed")
        scales = np.array(scales_of("EchoStateCell", input_scale, input_size))[:, None]
        self.input_size, self.hidden_size = input_size, hidden_size
        self.nonlinearity, self.leak, self.noise = nonlinearity, leak, noise
        dtype = np.dtype(dtype or get_default_dtype())
        rng = generator() if seed is None else np.random.Generator(np.random.PCG64(seed))
        if weights is None:
            first, index, values = _random(hidden_size, connectivity, rng)
        else:
            first, index, values = _given(hidden_size, weights)
        W = scales * rng.uniform(-1, 1, (input_size, hidden_size))
        self.register_buffer("W", from_numpy(W.astype(dtype)))
        b = bias_scale * rng.uniform(-1, 1, hidden_size)
        self.register_buffer("b", from_numpy(b.astype(dtype)) if bias_scale else None)
        self.register_buffer("first", from_numpy(first))
        self.register_buffer("index", from_numpy(index))
        self.register_buffer("U", from_numpy(values))
        if spectral_radius is None and weights is None:
            spectral_radius = 0.9
        if spectral_radius is not None:
            values = values * (spectral_radius / self._largest())
        self.U = from_numpy(values.astype(dtype))

    @property
    def pattern(self) -> core.Pattern:
        """Where the values of U are, as `ops.sparse.spmm` takes it."""
        made = self.__dict__.get("_made")
        if made is None or any(written_since(a, made[1]) for a in (self.first, self.index)):
            size = self.hidden_size
            pattern = core.Pattern(self.first.numpy(), self.index.numpy(), (size, size))
            made = self.__dict__["_made"] = (pattern, next_age())
        return made[0]

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, as any module."""
        if name in ("first", "index"):
            self.__dict__.pop("_made", None)
        super().__setattr__(name, value)

    def project(self, x: Tensor) -> Tensor:
        """z = x W + b, and noise in training mode: [..., I] -> [..., H]."""
        z = super().project(x)
        noise = self._noise(x)
        return z if noise is None else z + noise

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """h' from z = x W + b."""
        (h,) = state
        new = _FUNCTIONS[self.nonlinearity](z + spmm(self.U, h, self.pattern))
        h = new if self.leak == 1 else (1 - self.leak) * h + self.leak * new
        return h, (h,)

    def kernel(self) -> str:
        """See nn/fused.py."""
        return "reservoir"

    def reservoir(self, *operands: Tensor) -> core.Reservoir:
        """The call of C for the input, and the state if there is one.

        ValueError where the gradient, which runs through the steps again, would meet other noise.
        """
        noise = self._noise(operands[0])
        if noise is not None and is_grad_enabled() and any(a.node for a in operands):
            raise ValueError(
                'EchoStateCell: with noise, gradients go step by step: fused="auto" or False'
            )
        return core.Reservoir(self.pattern, self.nonlinearity, self.leak, noise)

    def _noise(self, x: Tensor) -> Any:
        if not (self.training and self.noise):
            return None
        return randn(*x.shape[:-1], self.hidden_size, dtype=self.W.dtype) * self.noise

    def _product(self, x: Any) -> Any:
        """Uᵀ x in float64."""
        values = self.U.numpy().astype(np.float64)
        return np.asarray(core.spmm(from_numpy(values), from_numpy(x), self.pattern))

    def _largest(self) -> float:
        radius = self.spectral_radius()
        if not radius > 0:
            raise ValueError(
                "EchoStateCell: all eigenvalues of the weights are 0, which no factor scales to a "
                "spectral radius: leave spectral_radius out, or let units hear each other in a circle"
            )
        return radius

    def spectral_radius(self) -> float:
        """The largest |eigenvalue| of U; RuntimeError where the iteration does not converge."""
        return abs(largest_eigenvalue(self._product, self.hidden_size))

    def spectral_norm(self) -> float:
        """The largest singular value of U."""
        values = from_numpy(self.U.numpy().astype(np.float64))
        pattern, order = self.pattern.transposed
        turned = from_numpy(values.numpy()[order])

        def product(x: Any) -> Any:
            return np.asarray(
                core.spmm(turned, core.spmm(values, from_numpy(x), self.pattern), pattern)
            )

        return math.sqrt(abs(largest_eigenvalue(product, self.hidden_size)))

    def dense(self) -> Any:
        """U as an ndarray [H, H]."""
        A = np.zeros((self.hidden_size, self.hidden_size), self.U.dtype)
        A[self.pattern.index, self.pattern.rows] = self.U.numpy()
        return A

    def extra_repr(self) -> str:
        """For repr()."""
        return f"{self.input_size}, {self.hidden_size}, leak={self.leak}"


def _random(size: int, connectivity: float | None, rng: Any) -> tuple[Any, Any, Any]:
    """(first, index, values): each unit hears equally many others, with weights from U(-1, 1)."""
    if connectivity is None:
        connectivity = min(1.0, 10 / size)
    if not 0 < connectivity <= 1:
        raise ValueError(f"EchoStateCell: connectivity={connectivity}: above 0, at most 1")
    heard = max(1, round(connectivity * size))
    index = np.concatenate([np.sort(rng.choice(size, heard, replace=False)) for _ in range(size)])
    return np.arange(size + 1) * heard, index, rng.uniform(-1, 1, size * heard)


def _given(size: int, weights: Any) -> tuple[Any, Any, Any]:
    if isinstance(weights, tuple):
        first, index, values = map(np.asarray, weights)
        pattern = core.Pattern(first, index, (size, size))
        if values.shape != (pattern.size,):
            raise ValueError(
                f"EchoStateCell: weights: {list(values.shape)} values: [{pattern.size}] are needed"
            )
        return pattern.first, index.astype(np.int64), values.astype(np.float64)
    U = np.asarray(weights, np.float64)
    if U.shape != (size, size):
        raise ValueError(f"EchoStateCell: weights {list(U.shape)}: [{size}, {size}] is needed")
    unit, index = np.nonzero(U.T)
    first = np.concatenate([[0], np.cumsum(np.bincount(unit, minlength=size))])
    return first, index, U.T[unit, index]
