"""The gated recurrent unit, in its two forms."""

from __future__ import annotations

from typing import Any

from ...autograd import Tensor
from ...ops.elementwise import sigmoid, tanh
from ...ops.shape import split
from ..module import Parameter
from .base import Cell, State


class GRUCell(Cell):
    """r, z = σ(x W + h U + b);  n = tanh(x Wₙ + (r ∘ h) Uₙ + bₙ);  h' = (1 - z) ∘ h + z ∘ n.

    This is the form of the papers: the reset gate acts before the product, and z weights the
    candidate n.  r = 0 ignores the past; z = 0 copies the state, z = 1 replaces it.  The columns of
    W and b are those of r, z, n in this order; U [H, 2 H] belongs to r and z, Un [H, H] to n.

    reset_after=True is the other form, that of cuDNN and PyTorch, with a second bias c for n:
    n = tanh(x Wₙ + bₙ + r ∘ (h Uₙ + c)).  PyTorch's z is 1 - z here: the front `nn.GRU` converts
    weights that are loaded from PyTorch.

    K. Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014; J. Chung et al.,
    Empirical Evaluation of Gated Recurrent Neural Networks, 2014.  x [N, I], h [N, H] -> h' [N, H].

    >>> import minigrad
    >>> cell = minigrad.nn.GRUCell(3, 5)
    >>> cell(minigrad.zeros(2, 3)).shape
    (2, 5)
    """

    gates, states = "rzn", "h"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        reset_after: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self.reset_after = reset_after
        self.U = self._weight(hidden_size, 2 * hidden_size, dtype=dtype)
        self.Un = self._weight(hidden_size, hidden_size, dtype=dtype)
        self.c: Parameter | None = None
        if reset_after and bias:
            self.c = self._weight(hidden_size, dtype=dtype)

    def activations(self, z: Tensor, state: State) -> tuple[Tensor, ...]:
        """r, z, n from z = x W + b."""
        (h,) = state
        size = self.hidden_size
        gates, candidate = split(z, (2 * size, size), -1)
        r, u = split(sigmoid(gates + h @ self.U), size, -1)  # u: the update gate z
        if self.reset_after:
            past = h @ self.Un
            n = tanh(candidate + r * (past if self.c is None else past + self.c))
        else:
            n = tanh(candidate + (r * h) @ self.Un)
        return r, u, n

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """h' from z = x W + b."""
        (h,) = state
        _, u, n = self.activations(z, state)
        h = h + u * (n - h)
        return h, (h,)

    def kernel(self) -> str:
        """See nn/fused.py."""
        return "gru_after" if self.reset_after else "gru"

    def extra_repr(self) -> str:
        """For repr()."""
        return super().extra_repr() + (", reset_after=True" if self.reset_after else "")
