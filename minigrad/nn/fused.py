"""The fast path of `Recurrent`: all time steps in one call of C, in place of a loop over `cell.step`.

It is the second implementation of that loop: the same parameters, state and result, to rounding.
tests/test_fused.py compares the two, outputs, states and every gradient.  A cell says with `kernel`
which kernel it has; that takes its parameters by the letters of the equations, as the cell's
attributes are named.

Sequences with lengths or a mask are packed: their valid steps move together, from the sequence's own
end if time runs backwards; the sequences are sorted, the longest first, and the rows of each step come
behind those of the step before.  So there is no work for a step that is not valid, and nothing of it
is read.
"""

from __future__ import annotations

import copy
import math
from contextlib import suppress
from functools import lru_cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import anomaly, core
from ..autograd import Tensor
from ..ops.create import from_numpy, full
from ..ops.index import take
from ..ops.sequence import Run, sequence
from ..ops.shape import reshape
from ..tape import mode, no_grad, pauses
from .packing import Packing

if TYPE_CHECKING:
    from .cells.base import Cell, State

_EQUATION = ("project", "activations", "step")  # what a kernel stands for
_NOTHING: dict[str, Any] = {}  #: no options

# ---- which cells -------------------------------------------------------------------------------


class _Kernel:
    """The kernel of a cell, and what it is given of the cell: a cell keeps it until it is changed."""

    __slots__ = ("letters", "name", "parameters", "zeros")

    def __init__(self, cell: Cell) -> None:
        kind: Any = cell.__class__
        exact, zeros = _facts(kind)
        self.zeros = zeros and not cell.learn_initial  #: whether the initial state is
        unchanged = exact and vars(cell).keys().isdisjoint(_EQUATION)
        self.name = cell.kernel() if unchanged else None
        outside = ("W", "b") if cell.layer_norm else ()  # x W + b is for `project`
        there = [k for k in core.PARAMETERS if getattr(cell, k) is not None and k not in outside]
        self.parameters: Any = attrgetter(*there)  #: the function of a cell
        #: of the operands, by the number of states that are given
        self.letters = [("x", *there, *states) for states in ((), ("h0",), ("h0", "c0"))]


def _kernel(cell: Cell) -> Any:
    """The cell's _Kernel; its name is None where there is none.

    A subclass that changes the equation, or a cell whose `step` was replaced, has not its parent's.
    """
    kept = vars(cell)
    found = kept.get("kept_kernel")
    if found is None:
        found = kept["kept_kernel"] = _Kernel(cell)
    return found


def kernel_of(cell: Cell) -> str | None:
    """The name of the kernel that computes `cell`, as it is now; None where there is none."""
    name: str | None = _kernel(cell).name
    return name


@lru_cache(maxsize=256)
def _facts(kind: Any) -> tuple[bool, bool]:
    """(is the equation still that of the class that named the kernel?, is the initial state zeros?)"""
    named: list[Any] = [c for c in kind.__mro__ if "kernel" in vars(c)]
    author, base = named[0], named[-1]
    exact = all(getattr(kind, f) is getattr(author, f) for f in _EQUATION)
    return exact, kind.initial is base.initial


def checked_choice(fused: Any, cell: Cell) -> Any:
    """`fused` as Recurrent takes it: "auto", True or False; ValueError where True cannot be."""
    if fused not in ("auto", True, False):
        raise ValueError(f'fused={fused!r}: "auto", True or False')
    if fused is True and _kernel(cell).name is None:
        raise ValueError(
            f"fused=True: there is no kernel for {type(cell).__name__}, or for what a subclass made "
            f'of it; with fused="auto" it is unrolled step by step'
        )
    return fused


# ---- the call ----------------------------------------------------------------------------------


def unroll(
    layer: Any, x: Tensor, state: Any, valid: Any | None, lead: bool = False
) -> tuple[Tensor, State] | None:
    """What layer.unroll gives for x [T, N, I]; lead: with states [1, N, H], and all steps valid.

    None if that has to do it: there is no kernel, nothing to compute, or something does not fit, of
    which it knows more.
    """
    cell, record = layer.cell, layer.traced
    kernel = _kernel(cell) if layer.fused else None
    if kernel is None or kernel.name is None:
        return None
    if not x.layout.size or not (valid is None or valid.any()) or anomaly.watching is not None:
        return None
    options = _NOTHING
    if cell.draws or cell.zoneout:
        cell = cell.drawn(x.layout.shape[1])
        options = _options(cell, cell.kept(*x.layout.shape[:2]))
    if state is None:
        state = () if kernel.zeros else _initial(cell, x.layout.shape[1], lead)
    else:
        state = (state,) if isinstance(state, Tensor) else tuple(state)
    packing, counts = None, None
    if valid is not None:
        packing = Packing.of(valid.tobytes(), valid.shape, layer.reverse)
        counts = packing.counts
    again = partial(_readable, layer, cell, packing, lead)
    run = Run(
        kernel.name, again, layer.reverse and packing is None, lead, counts, record is not None
    )
    try:
        if packing is None:
            y, *new = _call(run, kernel, cell, x, state, options)
        else:
            packed, state, options = (
                packing.pack(x),
                packing.sorted(state),
                packing.options(options),
            )
            y, *new = _call(run, kernel, cell, packed, state, options, packing.lengths)
            y, new = packing.unpack(y), packing.unsorted(new)
    except (TypeError, ValueError):
        if layer.fused is True:
            raise
        return None
    if record is not None:
        with no_grad():
            _fill(record, cell, y.detach(), run.saved, packing)
            if cell.periods:
                record["t"] = _clocks(new[-1], x.layout.shape[0], layer.reverse, packing)
    return y, tuple(new)


def one_step(cell: Cell, x: Tensor, state: Any, kept: Any = None) -> State | None:
    """The state after cell.step, for x [N, I]; None as above.  kept: see Cell.kept."""
    kernel = _kernel(cell)
    if kernel.name is None or not x.layout.size or anomaly.watching is not None:
        return None
    if state is None:
        state = () if kernel.zeros else _initial(cell, x.layout.shape[0])
    else:
        state = (state,) if isinstance(state, Tensor) else tuple(state)
    options = _options(cell, kept)
    for letter, a in options.items():
        if len(a.shape) == 3:
            options[letter] = a[0]
    try:
        run = Run(kernel.name, partial(_readable_step, cell, kept))
        new = _call(run, kernel, cell, x, state, options)
    except (TypeError, ValueError):
        return None
    more = options or cell.layer_norm or cell.periods or hasattr(cell, "reservoir")
    if state and pauses and not (mode.recording or more):  # a stream has operands alone
        with suppress(ValueError):
            cell.stream = Stream(kernel, cell, x, state)
    return new


class Stream:
    """cell(x, state) again and again without gradients, as when a model is fed as its input arrives.

    What the first step found, the next ones need not look for: 2 µs in place of 4.  Setting an
    attribute of the cell ends it.
    """

    def __init__(self, kernel: Any, cell: Any, x: Tensor, state: State) -> None:
        self.W, self.where, self.two = cell.W, cell.W.ptr, len(state) == 2
        self.layouts = (x.layout, *(s.layout for s in state), None)[:3]
        operands = (x, *kernel.parameters(cell), *state)
        self.step = core.Step(kernel.name, kernel.letters[len(state)], operands)

    def __deepcopy__(self, memo: object) -> None:
        """A copy of the cell makes its own."""

    def __call__(self, x: Any, state: Any) -> Any:
        """What the cell gives, or None: not the same case."""
        try:
            if self.two:
                h, c = state
                same = (x.layout, h.layout, c.layout) == self.layouts
            else:
                h, c = state, None
                same = (x.layout, h.layout, None) == self.layouts
        except (AttributeError, TypeError, ValueError):  # no state, no tensors
            return None
        if not same or mode.recording or not pauses or self.W.ptr is not self.where:
            return None
        new = self.step(x, h, c)
        return new if self.two else new[0]


def _initial(cell: Cell, n: int, lead: bool = False) -> State:
    """The state before the first step, where that is not zeros, which need not be made."""
    state = cell.checked(None, n)
    return tuple(reshape(s, (1, *s.shape)) for s in state) if lead else state


def _call(
    run: Run,
    kernel: Any,
    cell: Any,
    x: Tensor,
    state: State,
    options: dict[str, Any],
    lengths: Any = None,
) -> State:
    if state and (len(state) != len(cell.states) or not isinstance(state[-1], Tensor)):
        raise ValueError(f"{type(cell).__name__}: the state is ({', '.join(cell.states)}), tensors")
    if hasattr(cell, "reservoir"):
        run.reservoir = cell.reservoir(x, *state)
    if not cell.periods:
        x = cell.project(x) if cell.layer_norm else x
        letters = kernel.letters[len(state)]
        if not options:
            return sequence(run, letters, x, *kernel.parameters(cell), *state)
        operands = (x, *kernel.parameters(cell), *state, *options.values())
        return sequence(run, letters + tuple(options), *operands)
    h, t = state
    again, ticks = run.readable, np.asarray(t)
    if ticks.shape != (*h.shape[:-1], 1):
        raise ValueError(f"{type(cell).__name__}: t {list(ticks.shape)} and h {list(h.shape)}")
    run.clock, run.readable = _clock(cell, ticks, lengths), lambda given: again({**given, "c0": t})
    results = sequence(run, kernel.letters[1], x, *kernel.parameters(cell), h)
    steps: Any = x.shape[0] if len(x.shape) == 3 else 1
    return *results, from_numpy(ticks + (steps if lengths is None else lengths[:, None]))


# ---- clocks ------------------------------------------------------------------------------------


def _clock(cell: Any, t: Any, lengths: Any) -> core.Clock:
    """What C needs to know of the clocks t [N, 1]: it has one for all sequences that take a step."""
    if t.dtype != np.int64:
        raise TypeError(f"{type(cell).__name__}: the clock t is {t.dtype}: the steps done, int64")
    values = t if lengths is None else t[..., lengths > 0, :]
    if values.size > 1 and values.min() != values.max():
        raise ValueError(
            f"{type(cell).__name__}: clocks t from {values.min()} to {values.max()}: the kernel has "
            f'one for the whole batch; with fused="auto" it is unrolled step by step'
        )
    phase = values.item(0) % math.lcm(*cell.periods)
    return core.Clock(phase, cell.group_sizes, cell.periods)


def _clocks(t: Tensor, steps: int, reverse: bool, packing: Any) -> Tensor:
    """The clock after each step [T, N, 1], zeros where it is not valid, from that at the end, t."""
    last = np.asarray(t).reshape(-1)
    if packing is None:
        left = np.arange(steps) if reverse else np.arange(steps)[::-1]
        return from_numpy((last - left[:, None])[..., None])
    step, j = np.divmod(np.asarray(packing.places), packing.n)
    left = packing.lengths[j] - 1 - step
    whole = np.zeros((steps * packing.n, 1), np.int64)
    whole[np.asarray(packing.rows), 0] = last[np.asarray(packing.order)][j] - left
    return from_numpy(whole.reshape(steps, packing.n, 1))


def _options(cell: Any, kept: Any) -> dict[str, Any]:
    """What was drawn for a call, by the letters of the operands."""
    options = {} if cell.h_mask is None else {"m": cell.h_mask}
    for s, k in zip(cell.states, kept or ()):
        if isinstance(k, Tensor):
            options[f"k_{s}"] = k
        elif k:
            options[f"k_{s}"] = full((cell.state_size(s),), k, cell.U.dtype)
    return options


# ---- the same by the readable layer, for derivatives of derivatives ------------------------------


def _with(cell: Any, given: dict[str, Any]) -> tuple[Any, Any, Any]:
    """x, `cell` with these parameters and masks, and the state, from operands by letter."""
    twin = copy.copy(cell)
    x, *state = (given.pop(name, None) for name in ("x", "h0", "c0"))
    if "W" not in given:  # x is z already
        given["project"] = _itself
    given["h_mask"] = given.pop("m", None)
    vars(twin).update(given)
    return x, twin, None if state[0] is None else tuple(state[: len(cell.states)])


def _itself(z: Tensor) -> Tensor:
    return z


def _readable(layer: Any, cell: Any, packing: Any, lead: bool, given: dict[str, Any]) -> State:
    kept: Any = [given.pop(f"k_{s}", 0.0) for s in cell.states] if cell.zoneout else None
    if kept and not cell.training:
        kept = cell.zoneout
    x, cell, state = _with(cell, given)
    twin = copy.copy(layer)
    vars(twin).update(cell=cell, traced=None)
    if packing is None:
        if lead and state is not None:
            state = tuple(reshape(s, s.shape[1:]) for s in state)
        y, state = twin.unroll(x, state, None, None, kept)
        return y, *(reshape(s, (1, *s.shape)) if lead else s for s in state)
    twin.reverse = False  # packed rows are in the order of the steps
    if kept:
        kept = [packing.padded(k) if isinstance(k, Tensor) else k for k in kept]
    valid = np.arange(packing.longest)[:, None] < packing.lengths
    y, state = twin.unroll(packing.padded(x), state, None if valid.all() else valid, None, kept)
    return take(reshape(y, (-1, y.shape[-1])), packing.places), *state


def _readable_step(cell: Any, kept: Any, given: dict[str, Any]) -> State:
    for s in cell.states:
        given.pop(f"k_{s}", None)
    x, cell, state = _with(cell, given)
    old = cell.checked(state, x.shape[0])
    new: State = cell.advance(cell.project(x), old, kept)[1]
    return new


# ---- trace ---------------------------------------------------------------------------------------


def _fill(record: dict[str, Any], cell: Cell, y: Any, saved: Any, packing: Any) -> None:
    """What C saved, by letter; see tracing.py."""

    def padded(a: Any) -> Any:
        return a if packing is None else packing.unpack(a)

    record.clear()
    record["h"] = y
    if saved is None:  # of a reservoir
        return
    if saved.cells is not None:
        record["c"] = padded(saved.cells)
    if saved.gates is not None:
        gates, size = padded(saved.gates), cell.hidden_size
        for k, letter in enumerate(cell.gates):
            record[letter] = gates[..., k * size : (k + 1) * size]
