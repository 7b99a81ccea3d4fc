"""The Jordan network: what is fed back is the output."""

from __future__ import annotations

from typing import Any

from ...autograd import Tensor
from ...ops.elementwise import relu, sigmoid, tanh
from ...ops.rows import softmax
from ..module import Parameter
from .base import Cell, State


def identity(x: Tensor) -> Tensor:
    """f(x) = x."""
    return x


ACTIVATIONS = {f.__name__: f for f in (identity, tanh, sigmoid, relu, softmax)}


def activation(f: Any, of: str) -> Any:
    """The function of this name, or f itself where it is a function."""
    if not callable(f) and f not in ACTIVATIONS:
        raise ValueError(f"{of}={f!r}: one of {', '.join(ACTIVATIONS)}, or a function")
    return f if callable(f) else ACTIVATIONS[f]


class JordanCell(Cell):
    """h = f(x W + y U + b);  y' = g(h V + c): the output y of the step before is fed back.

    f (`nonlinearity`) and g (`output`) are "identity", "tanh", "sigmoid", "relu", "softmax" (over the
    O outputs), or any function of tensors.  `options`: see `Cell`.  The state is
    y, [N, O]; the hidden layer keeps nothing: `trace` shows it as the gate h.

    Teacher forcing: with `targets` [T, N, O], layers of this cell feed back the target of the step
    before in place of y, and the state returned is the last target; so no gradient goes through
    time.  Without, the network runs freely.

    M. Jordan, Serial Order: A Parallel Distributed Processing Approach, 1986.  W [I, H], U [O, H],
    b [H], V [H, O], c [O];  x [N, I], y [N, O] -> y' [N, O].

    >>> import minigrad
    >>> cell = minigrad.nn.JordanCell(3, 5, 2, output="softmax")
    >>> cell(minigrad.zeros(4, 3)).shape
    (4, 2)
    """

    gates, states, products = "h", "y", ("U",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        bias: bool = True,
        nonlinearity: Any = "tanh",
        output: Any = "identity",
        dtype: Any = None,
        **options: Any,
    ) -> None:
        if output_size < 1:
            raise ValueError(f"JordanCell: output_size={output_size}: at least 1")
        self.outputs = output_size  # the width of y, which __init__ asks for
        super().__init__(input_size, hidden_size, bias, dtype, **options)
        activation(nonlinearity, "JordanCell: nonlinearity")
        activation(output, "JordanCell: output")
        self.functions = nonlinearity, output  # as given: names can be pickled
        self.U = self._weight(output_size, hidden_size, dtype=dtype)
        self.V = self._weight(hidden_size, output_size, dtype=dtype)
        self.c: Parameter | None = self._weight(output_size, dtype=dtype) if bias else None

    def f(self, a: Tensor) -> Any:
        """The nonlinearity of the hidden layer."""
        return activation(self.functions[0], "nonlinearity")(a)

    def g(self, a: Tensor) -> Any:
        """The function of the output."""
        return activation(self.functions[1], "output")(a)

    @property
    def output_size(self) -> int:
        """The width O of y."""
        return self.outputs

    def state_size(self, name: str) -> int:  # noqa: ARG002
        """That of y."""
        return self.output_size

    def activations(self, z: Tensor, state: State) -> tuple[Tensor]:
        """h from z = x W + b."""
        (y,) = state
        return (self.f(z + self.product(y)),)

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """y' from z = x W + b."""
        (h,) = self.activations(z, state)
        y = h @ self.V
        y = self.g(y if self.c is None else y + self.c)
        return y, (y,)

    def forced(self, state: State, target: Tensor) -> State:  # noqa: ARG002
        """The target."""
        return (target,)

    def extra_repr(self) -> str:
        """For repr()."""
        return (
            f"{self.input_size}, {self.hidden_size}, {self.output_size}"
            + (", bias=False" if self.c is None else "")
            + self.options_repr()
        )
