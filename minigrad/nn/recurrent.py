"""A cell through time.

All recurrent layers take the same call, `(x, state=None, lengths=None, mask=None) -> (y, state)`, time
first:

    x [T, N, I]   y [T, N, H]   lengths: N integers, how many steps of each sequence are valid
    mask [T, N]: True where a step is valid; it may have holes (with lengths, too: both must agree)

Where a step is not valid, y is zero and the state stands still: the sequence skips it, as if it were
not there.  So the state returned is that of the last valid step; in the reverse direction a sequence
starts from its own end.  What x holds there changes nothing.  State goes in and comes out; for
truncated BPTT, detach it in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import anomaly
from ..autograd import Tensor
from ..ops.create import from_numpy, zeros
from ..ops.elementwise import where
from ..ops.shape import stack, unbind
from . import fused as fast
from . import tracing, watched
from .cells.base import Cell, State
from .cells.regularize import hold
from .module import Module


def checked_valid(lengths: Any, mask: Any, steps: int, n: int, face: str = "TN") -> Any | None:
    """Which steps are valid: a boolean ndarray [steps, n]; None if all are.

    face: the dimensions of `mask`, in the order in which the user gives them: "TN", "NT" or "T".
    """
    valid = None
    if mask is not None:
        mask = np.array(mask)  # a copy: the tape keeps it, and the caller may write into theirs
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
    def input_size(self) -> int:
        """The width of x."""
        return self.cell.input_size

    @property
    def output_size(self) -> int:
        """The width of y."""
        return self.cell.output_size

    def final(self, state: State) -> Any:
        """The output of the step that ended in this state, [N, H].

        That is y in the last valid step, or, if reverse, in the first one.
        """
        return self.cell.output(state)

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Any = None,
        mask: Any = None,
        targets: Any = None,
    ) -> tuple[Tensor, State]:
        """x [T, N, I] -> y [T, N, H] and the final state.

        targets [T, N, H]: for a cell whose output is fed back, what is fed back in its place (teacher
        forcing).
        """
        if len(x.shape) != 3:
            raise ValueError(
                f"Recurrent: input {list(x.shape)}: [T, N, I] is needed (time, batch, input)"
            )
        valid = None
        if lengths is not None or mask is not None:
            valid = checked_valid(lengths, mask, *x.shape[:2])
        if anomaly.watching is not None:
            return watched.unroll(self, x, state, valid, targets)
        result = fast.unroll(self, x, state, valid) if targets is None else None
        if result is not None:
            return result
        if self.traced is not None:
            return tracing.unroll(self, x, state, valid, targets)
        return self.unroll(x, state, valid, targets)

    def unroll(
        self,
        x: Tensor,
        state: Any,
        valid: Any | None,
        targets: Any = None,
        kept: Any = None,
        watch: Any = None,
    ) -> tuple[Tensor, State]:
        """The same, step by step; `valid` as `checked_valid` gives it.

        kept: what zoneout keeps, where it has been drawn; watch(cell, z, old state, new state) is
        called after each step.
        """
        steps, n = x.shape[:2]
        cell = self.cell.drawn(n)
        kept = cell.kept(steps, n) if kept is None else kept
        state = cell.checked(state, n)
        if targets is not None and targets.shape != (steps, n, self.output_size):
            raise ValueError(
                f"targets {list(targets.shape)}: {[steps, n, self.output_size]} is needed, what each "
                f"output should be"
            )
        if valid is not None:
            valid = valid[..., None]
            x = where(from_numpy(valid), x, 0.0)  # 0 · NaN is NaN, also in the gradient of W
        z = cell.project(x)
        if steps == 0:
            return zeros(0, n, self.output_size, dtype=z.dtype), state
        zs = unbind(z)
        ys: list[Any] = [None] * steps
        for t in reversed(range(steps)) if self.reverse else range(steps):
            ys[t], new = cell.step(zs[t], state)
            if kept is not None:
                ys[t], new = hold(kept, t, ys[t], new, state)
            if watch is not None:
                watch(cell, zs[t], state, new)
            if targets is not None:
                new = cell.forced(new, targets[t])
            if valid is not None and not valid[t].all():
                here = from_numpy(valid[t])
                ys[t] = where(here, ys[t], 0.0)
                new = tuple(where(here, s, old) for s, old in zip(new, state))
            state = new
        return stack(ys), state
