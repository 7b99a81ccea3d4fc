"""The gated recurrent unit, in its four forms."""

from __future__ import annotations

from typing import Any

from ...autograd import Tensor
from ...ops.create import zeros
from ...ops.elementwise import sigmoid, tanh
from ...ops.shape import split
from ..module import Parameter
from .base import Cell, State

#: name: (what z is the share of, the values that reset_after may have, the usual one first)
CONVENTIONS = {
    "paper": ("candidate", (False, True)),
    "cho": ("state", (False,)),
    "torch": ("state", (True,)),
    "keras": ("state", (True, False)),
    "onnx": ("state", (False, True)),
}


class GRUCell(Cell):
    """r, z = σ(x W + h U + b);  n = tanh(x Wₙ + (r ∘ h) Uₙ + bₙ);  h' = (1 - z) ∘ h + z ∘ n.

    This is convention="paper": the reset gate acts before the product, and z is the share of the
    candidate n.  r = 0 ignores the past; z = 0 copies the state, z = 1 replaces it.  The columns of
    W and b are those of r, z, n in this order; U [H, 2 H] belongs to r and z, Un [H, H] to n.

    Elsewhere, z is the share of the old state: h' = z ∘ h + (1 - z) ∘ n, so that z = 1 copies it.
    And the reset may act after the product, with a second bias c for n:
    n = tanh(x Wₙ + bₙ + r ∘ (h Uₙ + c)).

        convention   z is the share of   reset_after, and if not said
        "paper"      the candidate       False or True, False          Chung et al. 2014
        "cho"        the old state       False                         Cho et al. 2014
        "torch"      the old state       True                          PyTorch, cuDNN
        "keras"      the old state       True or False, True           Keras
        "onnx"       the old state       False or True, False          linear_before_reset=0 or 1

    Weights, `trace` and `state_dict` are those of the convention chosen; `nn.convert` takes them
    from one to another, and docs/gru-conventions.md shows what happens if nobody does.  ValueError
    for a reset that the convention does not have.

    `options`: see `Cell`.

    K. Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014; J. Chung et al.,
    Empirical Evaluation of Gated Recurrent Neural Networks, 2014.  x [N, I], h [N, H] -> h' [N, H].

    >>> import minigrad
    >>> cell = minigrad.nn.GRUCell(3, 5)
    >>> cell(minigrad.zeros(2, 3)).shape
    (2, 5)
    """

    gates, states, products = "rzn", "h", ("U", "Un")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        reset_after: bool | None = None,
        dtype: Any = None,
        convention: str = "paper",
        **options: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype, **options)
        if convention not in CONVENTIONS:
            raise ValueError(
                f"GRUCell: convention={convention!r}: {', '.join(map(repr, CONVENTIONS))}"
            )
        share, resets = CONVENTIONS[convention]
        reset_after = resets[0] if reset_after is None else bool(reset_after)
        if reset_after not in resets:
            raise ValueError(
                f"GRUCell: convention={convention!r} has reset_after={resets[0]}; "
                f"reset_after={reset_after} with z on the old state is convention='keras' or 'onnx'"
            )
        self.convention, self.reset_after = convention, reset_after
        self.keep = share == "state"
        self.U = self._weight(hidden_size, 2 * hidden_size, dtype=dtype)
        self.Un = self._weight(hidden_size, hidden_size, dtype=dtype)
        self._gain("U")
        self._gain("Un")
        self.c: Parameter | None = None
        if reset_after and bias:
            self.c = self._weight(hidden_size, dtype=dtype)
        # Empty, but a name in the state_dict: weights of one form do not load into another.
        if self.keep:
            self.register_buffer("z_keeps", zeros(0, dtype="bool"))
        if reset_after:
            self.register_buffer("resets_after", zeros(0, dtype="bool"))

    def activations(self, z: Tensor, state: State) -> tuple[Tensor, ...]:
        """r, z, n from z = x W + b."""
        (h,) = state
        size = self.hidden_size
        gates, candidate = split(z, (2 * size, size), -1)
        r, u = split(sigmoid(gates + self.product(h)), size, -1)  # u: the update gate z
        if self.reset_after:
            past = self.product(h, "Un")
            n = tanh(candidate + r * (past if self.c is None else past + self.c))
        else:
            n = tanh(candidate + self.product(r * h, "Un"))
        return r, u, n

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """h' from z = x W + b."""
        (h,) = state
        _, u, n = self.activations(z, state)
        h = n + u * (h - n) if self.keep else h + u * (n - h)
        return h, (h,)

    def kernel(self) -> str:
        """See nn/fused.py."""
        return "gru" + "_after" * self.reset_after + "_keep" * self.keep

    def extra_repr(self) -> str:
        """For repr()."""
        usual = CONVENTIONS[self.convention][1][0]
        return (
            super().extra_repr()
            + (f", convention={self.convention!r}" if self.convention != "paper" else "")
            + (f", reset_after={self.reset_after}" if self.reset_after != usual else "")
        )
