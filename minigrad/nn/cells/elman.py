"""The Elman network, or simple recurrent network."""

from __future__ import annotations

from typing import Any

from ...autograd import Tensor
from ...ops.elementwise import relu, tanh
from .base import Cell, State


class RNNCell(Cell):
    """h' = tanh(x W + h U + b), or relu in place of tanh.

    J. Elman, Finding Structure in Time, 1990.  x [N, I], h [N, H] -> h' [N, H].

    >>> import minigrad
    >>> cell = minigrad.nn.RNNCell(3, 5)
    >>> cell(minigrad.zeros(2, 3)).shape
    (2, 5)
    """

    gates, states = "h", "h"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNNCell: nonlinearity={nonlinearity!r}: 'tanh' or 'relu'")
        self.nonlinearity = nonlinearity

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """h' from z = x W + b."""
        (h,) = state
        f = tanh if self.nonlinearity == "tanh" else relu
        h = f(z + h @ self.U)
        return h, (h,)

    def kernel(self) -> str:
        """See nn/fused.py."""
        return f"rnn_{self.nonlinearity}"
