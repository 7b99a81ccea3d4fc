"""The Elman network, or simple recurrent network, in its two forms."""

from __future__ import annotations

from typing import Any

from ...autograd import Tensor
from ...ops.elementwise import relu, tanh
from .base import Cell, State


class RNNCell(Cell):
    """h' = f(x W + h U + b), f = tanh or relu, or any function that you give.  `options`: see `Cell`.

    nonlinearity: "tanh", "relu", or a function of tensors, which has no kernel.  J. Elman, Finding
    Structure in Time, 1990.  x [N, I], h [N, H] -> h' [N, H].

    >>> import minigrad
    >>> cell = minigrad.nn.RNNCell(3, 5)
    >>> cell(minigrad.zeros(2, 3)).shape
    (2, 5)
    >>> cell = minigrad.nn.RNNCell(3, 5, nonlinearity=minigrad.sin)
    """

    gates, states, products = "h", "h", ("U",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Any = "tanh",
        dtype: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype, **options)
        if nonlinearity not in ("tanh", "relu") and not callable(nonlinearity):
            raise ValueError(
                f"{type(self).__name__}: nonlinearity={nonlinearity!r}: 'tanh' or 'relu', or a function"
            )
        self.nonlinearity = nonlinearity

    def f(self, a: Tensor) -> Any:
        """The nonlinearity."""
        if callable(self.nonlinearity):
            return self.nonlinearity(a)
        return tanh(a) if self.nonlinearity == "tanh" else relu(a)

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """h' from z = x W + b."""
        (h,) = state
        h = self.f(z + self.product(h))
        return h, (h,)

    def kernel(self) -> str | None:
        """See nn/fused.py."""
        return None if callable(self.nonlinearity) else f"rnn_{self.nonlinearity}"

    def extra_repr(self) -> str:
        """For repr()."""
        f = self.nonlinearity
        usual = "" if f == "tanh" else f", nonlinearity={getattr(f, '__name__', f)}"
        return super().extra_repr() + usual


class PreactivationRNNCell(RNNCell):
    """h' = f(h) U + x W + b;  y = f(h'): the state is what goes into f.

    The form in which the gradient through time is usually written down, ∂h_t/∂h_{t-1} =
    diag(f'(h_{t-1})) U.  It is the network of `RNNCell`, seen elsewhere: equal outputs, where the other
    one starts from f(h_0).  x [N, I], h [N, H] -> h' [N, H].  R. Pascanu, T. Mikolov and Y. Bengio, On
    the Difficulty of Training Recurrent Neural Networks, 2013.

    >>> import minigrad
    >>> cell = minigrad.nn.PreactivationRNNCell(3, 5)
    >>> cell(minigrad.zeros(2, 3)).shape
    (2, 5)
    """

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """f(h'), h' from z = x W + b."""
        (h,) = state
        h = z + self.product(self.f(h))
        return self.f(h), (h,)

    def output(self, state: State) -> Any:
        """f(h)."""
        return self.f(state[0])

    def kernel(self) -> None:
        """There is none."""
