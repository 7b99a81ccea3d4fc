"""Cells through time: unrolled, stacked, in both directions.

All take the same call, `(x, state=None, lengths=None, mask=None) -> (y, state)`, time first:

    x [T, N, I]   y [T, N, H]   lengths: N integers, how many steps of each sequence are valid
    mask [T, N]: True where a step is valid; it may have holes (with lengths, too: both must agree)

Where a step is not valid, y is zero and the state stands still: the sequence skips it, as if it were
not there.  So the state returned is that of the last valid step; in the reverse direction a sequence
starts from its own end.  What x holds there changes nothing.  State goes in and comes out; for
truncated BPTT, detach it in between.
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


def checked_valid(lengths: Any, mask: Any, steps: int, n: int, face: str = "TN") -> Any | None:
    """Which steps are valid: a boolean ndarray [steps, n]; None if all are.

    face: the dimensions of `mask`, in the order in which the user gives them: "TN", "NT" or "T".
    """
    valid = None
    if mask is not None:
        mask = np.asarray(mask)
        wanted = tuple({"T": steps, "N": n}[d] for d in face)
        if mask.shape != wanted or mask.dtype != bool:
            raise ValueError(
                f"mask: bool {list(wanted)}, [{', '.join(face)}], is needed, True where a step is "
                f"valid, not {mask.dtype} {list(mask.shape)}"
            )
        valid = mask.T if face == "NT" else mask.reshape(steps, n)
    if lengths is not None:
        lengths = np.asarray(lengths)
        if lengths.shape != (n,) or (n and lengths.dtype.kind not in "iu"):
            raise ValueError(
                f"lengths: {n} integers are needed, one per sequence of the batch, not "
                f"{lengths.dtype} {list(lengths.shape)}"
            )
        if n and not 0 <= lengths.min() <= lengths.max() <= steps:
            raise ValueError(f"lengths: from 0 to T={steps}, not {lengths.min()} … {lengths.max()}")
        inside = np.arange(steps)[:, None] < lengths
        valid = inside if valid is None else valid & inside
    return None if valid is None or valid.all() else valid


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

    def forward(
        self, x: Tensor, state: Any = None, lengths: Any = None, mask: Any = None
    ) -> tuple[Tensor, State]:
        """x [T, N, I] -> y [T, N, H] and the final state."""
        if len(x.shape) != 3:
            raise ValueError(
                f"Recurrent: input {list(x.shape)}: [T, N, I] is needed (time, batch, input)"
            )
        valid = None
        if lengths is not None or mask is not None:
            valid = checked_valid(lengths, mask, *x.shape[:2])
        result = fast.unroll(self, x, state, valid)
        if result is not None:
            return result
        if self.traced is not None:
            return tracing.unroll(self, x, state, valid)
        return self.unroll(x, state, valid)

    def unroll(self, x: Tensor, state: Any, valid: Any | None) -> tuple[Tensor, State]:
        """The same, step by step; `valid` as `checked_valid` gives it."""
        steps, n = x.shape[:2]
        state = self.cell.checked(state, n)
        if valid is not None:
            valid = valid[..., None]
            x = where(from_numpy(valid), x, 0.0)  # 0 · NaN is NaN, also in the gradient of W
        z = self.cell.project(x)
        if steps == 0:
            return zeros(0, n, self.output_size, dtype=z.dtype), state
        zs = unbind(z)
        ys: list[Any] = [None] * steps
        for t in reversed(range(steps)) if self.reverse else range(steps):
            ys[t], new = self.cell.step(zs[t], state)
            if valid is not None and not valid[t].all():
                here = from_numpy(valid[t])
                ys[t] = where(here, ys[t], 0.0)
                new = tuple(where(here, s, old) for s, old in zip(new, state))
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

    def forward(
        self, x: Tensor, state: Any = None, lengths: Any = None, mask: Any = None
    ) -> tuple[Tensor, Any]:
        """x [T, N, I] -> y [T, N, Ha + Hb] and the pair of final states."""
        first, second = (None, None) if state is None else state
        a, state_a = self.ahead(x, first, lengths, mask)
        b, state_b = self.back(x, second, lengths, mask)
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

    def forward(
        self, x: Tensor, state: Any = None, lengths: Any = None, mask: Any = None
    ) -> tuple[Tensor, Any]:
        """x [T, N, I] -> y [T, N, H of the last layer] and the tuple of final states."""
        layers = list(self.layers)
        states: Sequence[Any] = [None] * len(layers) if state is None else state
        if len(states) != len(layers):
            raise ValueError(f"Stack: {len(states)} states for {len(layers)} layers")
        new = []
        for i, (layer, s) in enumerate(zip(layers, states)):
            if i:
                x = F.dropout(x, self.dropout, self.training)
            x, after = layer(x, s, lengths, mask)
            new.append(after)
        return x, tuple(new)
