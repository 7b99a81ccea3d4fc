"""Cells through time: unrolled, stacked, in both directions.

All take the same call, `(x, state=None, lengths=None) -> (y, state)`, time first:

    x [T, N, I]   y [T, N, H]   lengths: N integers, how many steps of each sequence are valid

Beyond its length a sequence yields zeros and its state stands still, so the state returned is the
last valid one; in the reverse direction a sequence starts from its own end.  What the padding holds
changes nothing.  State goes in and comes out; for truncated BPTT, detach it in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..ops.create import from_numpy, zeros
from ..ops.elementwise import where
from ..ops.shape import cat, stack, unbind
from . import functional as F
from . import fused as fast
from . import tracing
from .cells.base import Cell, State
from .containers import ModuleList
from .module import Module


def checked_lengths(lengths: Any, steps: int, n: int) -> Any | None:
    """`lengths` as an integer ndarray [n], None where no sequence is shorter than `steps`."""
    if lengths is None:
        return None
    values = np.asarray(lengths)
    if values.shape != (n,) or (n and values.dtype.kind not in "iu"):
        raise ValueError(
            f"lengths: {n} integers are needed, one per sequence of the batch, not {values.dtype} "
            f"{list(values.shape)}"
        )
    if n and not 0 <= values.min() <= values.max() <= steps:
        raise ValueError(f"lengths: from 0 to T={steps}, not {values.min()} … {values.max()}")
    return None if n == 0 or values.min() == steps else values


class Recurrent(Module):
    """A cell, step by step over a sequence, forwards in time or backwards (reverse=True).

    The state is a tuple, one [N, H] tensor for each of the cell's states; None: the cell's initial
    one.  fused="auto": where the cell has a kernel, C does all steps in one call; True: ValueError
    where it has none; False: step by step, as `unroll` says.
    """

    traced: Any = None  #: where `trace` wants the values

    def __init__(self, cell: Cell, reverse: bool = False, fused: Any = "auto") -> None:
        super().__init__()
        self.cell = cell
        self.reverse = reverse
        self.fused = fast.checked_choice(fused, cell)

    @property
    def output_size(self) -> int:
        """The width of y."""
        return self.cell.output_size

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, State]:
        """x [T, N, I] -> y [T, N, H] and the final state."""
        if len(x.shape) != 3:
            raise ValueError(
                f"Recurrent: input {list(x.shape)}: [T, N, I] is needed (time, batch, input)"
            )
        if lengths is not None:
            lengths = checked_lengths(lengths, *x.shape[:2])
        result = fast.unroll(self, x, state, lengths)
        if result is not None:
            return result
        if self.traced is not None:
            return tracing.unroll(self, x, state, lengths)
        return self.unroll(x, state, lengths)

    def unroll(self, x: Tensor, state: Any, lengths: Any | None) -> tuple[Tensor, State]:
        """The same, step by step; `lengths` as checked."""
        steps, n = x.shape[:2]
        state = self.cell.checked(state, n)
        valid = None
        if lengths is not None:
            valid = np.arange(steps)[:, None, None] < lengths[:, None]
            x = where(from_numpy(valid), x, 0.0)  # 0 · NaN is NaN, also in the gradient of W
        z = self.cell.project(x)
        if steps == 0:
            return zeros(0, n, self.output_size, dtype=z.dtype), state
        zs = unbind(z)
        ys: list[Any] = [None] * steps
        for t in reversed(range(steps)) if self.reverse else range(steps):
            ys[t], new = self.cell.step(zs[t], state)
            if valid is not None and not valid[t].all():
                mask = from_numpy(valid[t])
                ys[t] = where(mask, ys[t], 0.0)
                new = tuple(where(mask, s, old) for s, old in zip(new, state))
            state = new
        return stack(ys), state


class Bidirectional(Module):
    """Two layers over the same sequence, one of them backwards in time; outputs side by side.

    y [T, N, Ha + Hb]; the state is the pair of their states.  M. Schuster and K. Paliwal,
    Bidirectional Recurrent Neural Networks, 1997.
    """

    def __init__(self, ahead: Cell, back: Cell, fused: Any = "auto") -> None:
        super().__init__()
        self.ahead = Recurrent(ahead, fused=fused)
        self.back = Recurrent(back, reverse=True, fused=fused)

    @property
    def output_size(self) -> int:
        """The width of y."""
        return self.ahead.output_size + self.back.output_size

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """x [T, N, I] -> y [T, N, Ha + Hb] and the pair of final states."""
        first, second = (None, None) if state is None else state
        a, state_a = self.ahead(x, first, lengths)
        b, state_b = self.back(x, second, lengths)
        return cat([a, b], -1), (state_a, state_b)


class Stack(Module):
    """Layers on top of each other, each reading the outputs of the one below, with dropout in between.

    The state is a tuple with the state of each layer.
    """

    def __init__(self, layers: Sequence[Module], dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout={dropout}: a probability, from 0 to 1, is needed")
        self.layers = ModuleList(layers)
        self.dropout = dropout

    @property
    def output_size(self) -> int:
        """The width of y: that of the topmost layer."""
        return self.layers[-1].output_size

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """x [T, N, I] -> y [T, N, H of the last layer] and the tuple of final states."""
        layers = list(self.layers)
        states: Sequence[Any] = [None] * len(layers) if state is None else state
        if len(states) != len(layers):
            raise ValueError(f"Stack: {len(states)} states for {len(layers)} layers")
        new = []
        for i, (layer, s) in enumerate(zip(layers, states)):
            if i:
                x = F.dropout(x, self.dropout, self.training)
            x, after = layer(x, s, lengths)
            new.append(after)
        return x, tuple(new)
