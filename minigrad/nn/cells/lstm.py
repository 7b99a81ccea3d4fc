"""Long short-term memory."""

from __future__ import annotations

from typing import Any

from ...autograd import Tensor
from ...ops.elementwise import sigmoid, tanh
from ...ops.shape import chunk
from ..module import Parameter
from .base import Cell, State


class LSTMCell(Cell):
    """i, f, o = σ(x W + h U + b);  g = tanh(x W + h U + b);  c' = f ∘ c + i ∘ g;  h' = o ∘ tanh(c').

    The forget gate f remembers where it is 1 and forgets where it is 0.  The columns of W, U and b
    are those of i, f, g, o in this order.  With proj_size > 0 there is a matrix P [H, proj_size], and
    h' = (o ∘ tanh(c')) P.

    S. Hochreiter and J. Schmidhuber, Long Short-Term Memory, 1997; the forget gate: F. Gers,
    J. Schmidhuber and F. Cummins, Learning to Forget, 2000.

    x [N, I], (h, c) [N, H] each -> (h', c').

    >>> import minigrad
    >>> cell = minigrad.nn.LSTMCell(3, 5)
    >>> h, c = cell(minigrad.zeros(2, 3))
    >>> h.shape, c.shape
    ((2, 5), (2, 5))
    """

    gates, states = "ifgo", "hc"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        proj_size: int = 0,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"LSTMCell: proj_size={proj_size} must be below hidden_size={hidden_size}"
            )
        self.proj_size = proj_size
        self.P: Parameter | None = None
        if proj_size:
            self.U = self._weight(proj_size, 4 * hidden_size, dtype=dtype)
            self.P = self._weight(hidden_size, proj_size, dtype=dtype)

    @property
    def output_size(self) -> int:
        """The width of h."""
        return self.proj_size or self.hidden_size

    def state_size(self, name: str) -> int:
        """h has the width of the projection, if there is one; c that of the cell."""
        return self.output_size if name == "h" else self.hidden_size

    def activations(self, z: Tensor, state: State) -> tuple[Tensor, ...]:
        """i, f, g, o from z = x W + b."""
        i, f, g, o = chunk(z + state[0] @ self.U, 4, -1)
        return sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """h', (h', c') from z = x W + b."""
        _, c = state
        i, f, g, o = self.activations(z, state)
        c = f * c + i * g
        h = o * tanh(c)
        if self.P is not None:
            h = h @ self.P
        return h, (h, c)

    def kernel(self) -> str:
        """See nn/fused.py."""
        return "lstm"
