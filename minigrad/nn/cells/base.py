"""What all recurrent cells share.

A cell is its equation.  `project` computes x W + b, for a whole sequence in one product; `step` is
what remains for each time step.  State goes in and comes out: a cell keeps nothing between calls,
so it can be unrolled, reversed, stacked and cut off without knowing it.

    x [N, I] input   h [N, H] hidden state   c [N, H] cell state   z [N, G H] pre-activation
    W [I, G H] input -> hidden   U [H, G H] hidden -> hidden   b [G H] bias, one per gate; G gates
"""

from __future__ import annotations

import math
from typing import Any

from ...autograd import Tensor
from ...ops.create import zeros
from ...ops.elementwise import add
from ...ops.linalg import matmul
from .. import fused, init
from ..module import Parameter
from .regularize import Regularized, State


class Cell(Regularized):
    """One time step of a recurrent network.

    A subclass names its gates and states, a letter each, and writes `step`.  Weights are drawn from
    U(-1/√H, 1/√H), as in PyTorch.  `options`: layer_norm, recurrent_dropout, weight_drop, zoneout
    and learn_initial, see cells/regularize.py.

    As a module it takes one step: `h = cell(x, h)`, or `h, c = cell(x, (h, c))` where there is more
    than one state; the state may be left out: zeros.
    """

    gates = "h"
    states = "h"
    periods: tuple[int, ...] = ()  #: of a clockwork RNN
    stream: Any = None  #: see nn/fused.py
    #: parameters that some cells have besides W, U and b; what their kernels are given
    Un: Any = None
    P: Any = None
    c: Any = None
    p_i: Any = None
    p_f: Any = None
    p_o: Any = None
    gU: Any = None
    gUn: Any = None
    gc: Any = None
    bc: Any = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise ValueError(
                f"{type(self).__name__}: input_size={input_size}, hidden_size={hidden_size}: at least 1"
            )
        self.input_size, self.hidden_size = input_size, hidden_size
        self._take_options(**options)
        width = len(self.gates) * hidden_size
        self.W = self._weight(input_size, width, dtype=dtype)
        self.U = self._weight(hidden_size, width, dtype=dtype)
        self.b = self._weight(width, dtype=dtype) if bias else None
        self._gain("W")
        self._gain("U")
        for s in self.states if self.learn_initial else "":
            setattr(self, f"{s}0", Parameter(zeros(self.state_size(s), dtype=dtype)))

    def _weight(self, *shape: int, dtype: Any = None) -> Parameter:
        bound = 1 / math.sqrt(self.hidden_size)
        weight = Parameter(zeros(*shape, dtype=dtype))
        init.uniform_(weight, -bound, bound)
        return weight

    @property
    def output_size(self) -> int:
        """The width of what `step` gives out."""
        return self.hidden_size

    def project(self, x: Tensor) -> Tensor:
        """z = x W + b: [..., I] -> [..., G H]; layer_norm: LN(x W) ∘ gW + b."""
        if x.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: input {list(x.shape)} has {x.shape[-1]} features, the cell was "
                f"made for input_size={self.input_size}"
            )
        z = self.normalized(matmul(x, self.W), "W")
        return z if self.b is None else add(z, self.b)

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """(output, new state) from the projected input z [N, G H] and the state."""
        raise NotImplementedError(f"{type(self).__name__} defines no step()")

    def activations(self, z: Tensor, state: State) -> tuple[Any, ...]:  # noqa: ARG002
        """What the gates are in this step, in the order of `gates`, for `trace`; () if not told."""
        return ()

    def output(self, state: State) -> Tensor:
        """The output of the step that gave this state: the first of the states.

        A cell whose output is something else says what.
        """
        return state[0]

    def forced(self, state: State, target: Tensor) -> State:  # noqa: ARG002
        """The state with `target` in place of the output that is fed back: teacher forcing."""
        raise ValueError(f"targets: {type(self).__name__} does not feed back its output")

    def kernel(self) -> str | None:
        """The name of the kernel that computes this cell for whole sequences (see nn/fused.py)."""
        return None

    def state_size(self, name: str) -> int:  # noqa: ARG002 (for cells with several widths)
        """The width of the state `name`."""
        return self.hidden_size

    def checked(self, state: Any, n: int) -> State:
        """`state` as a tuple of [n, H] tensors: zeros for None; ValueError where a shape is wrong."""
        if state is None:
            return self.initial(n)
        state = (state,) if isinstance(state, Tensor) else tuple(state)
        wanted = [(n, self.state_size(s)) for s in self.states]
        if [s.shape for s in state] != wanted:
            raise ValueError(
                f"{type(self).__name__}: state {', '.join(str(list(s.shape)) for s in state)}; needed "
                + ", ".join(f"{s} {list(shape)}" for s, shape in zip(self.states, wanted))
            )
        return state

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """One step: x [N, I] (or [I]) and the state [N, H] (or [H]) -> the new state."""
        if self.stream is not None and (new := self.stream(x, state)) is not None:
            return new
        if len(x.shape) not in (1, 2):
            raise ValueError(
                f"{type(self).__name__}: input {list(x.shape)}: one time step, [N, I] or [I], is "
                f"needed; Recurrent takes a whole sequence"
            )
        single = len(x.shape) == 1
        if single:
            x = x.reshape(1, -1)
            if state is not None:
                state = (state,) if isinstance(state, Tensor) else state
                state = tuple(s.reshape(1, -1) for s in state)
        n = x.shape[0]
        cell, kept = self.drawn(n), self.kept(1, n)
        new = fused.one_step(cell, x, state, kept)
        if new is None:  # no kernel
            state = cell.checked(state, n)
            _, new = cell.advance(cell.project(x), state, kept)
        if single:
            new = tuple(s.reshape(-1) for s in new)
        return new if len(self.states) > 1 else new[0]

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, as any module; what relied on the old one is forgotten."""
        if name != "stream":
            self.__dict__.pop("stream", None)
            self.__dict__.pop("kept_kernel", None)
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: all but what is kept for this one (nn/fused.py)."""
        kept = ("stream", "kept_kernel")
        return {name: value for name, value in vars(self).items() if name not in kept}

    def extra_repr(self) -> str:
        """For repr()."""
        bias = ", bias=False" if self.b is None else ""
        return f"{self.input_size}, {self.hidden_size}{bias}{self.options_repr()}"
