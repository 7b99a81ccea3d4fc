"""Whole sequences: a recurrent layer in one direction, all its time steps in one call of C.

Letters and shapes are those of `enum mg_sequence_array` in cextension/minigrad.h:

    x [T, N, I]   W [I, G H]   U [P, V H]   Un [H, H]   P [H, P]   b [G H]   c [H]
    p_i, p_f, p_o [H]   h0 [N, P]   c0 [N, H]   ->   y [T, N, P]   hn [N, P]   cn [N, H]

and of the options (minigrad/nn/cells/regularize.py)

    gU [V H]   gUn, gc, bc [H]   m [N, P]   k_h [T, N, P] or [P]   k_c [T, N, H] or [H]

Without W, x [T, N, G H] is the product already; so it is with gains.

Of sequences with different lengths only the rows that exist are there: x [R, I], y [R, P] (`Counts`).
x [N, I] without counts is one step, of which y is the new state.  A clockwork RNN has a `Clock`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from minigrad._core import ffi, lib

from .array import (
    DTYPES,
    F64,
    NULL,
    Array,
    Layout,
    check,
    contiguous,
    describe,
    empty,
    layout,
    numbers,
)

SEQ = numbers("seq")
#: how many blocks of width H there are in W, in U, and in what is saved of a row
_BLOCKS = {
    "rnn_tanh": (1, 1, 0),
    "rnn_relu": (1, 1, 0),
    "lstm": (4, 4, 4),
    "lstm_coupled_input": (3, 3, 3),
    "lstm_coupled_forget": (3, 3, 3),
    "gru": (3, 2, 3),
    "gru_keep": (3, 2, 3),
    "gru_after": (3, 2, 4),
    "gru_after_keep": (3, 2, 4),
    "clockwork_tanh": (1, 1, 0),  # U: those weights that are
    "clockwork_relu": (1, 1, 0),
}
#: the gates that can have peepholes, of those cells that have a cell state
_PEEPHOLES = {"lstm": "ifo", "lstm_coupled_input": "fo", "lstm_coupled_forget": "io"}
#: what a layer is given, by the letters of the equations, in the order of enum mg_sequence_array
_WEIGHTS = ("W", "U", "Un", "P", "b", "c", "p_i", "p_f", "p_o")
OPERANDS = ("x", *_WEIGHTS, "h0", "c0")
#: and of enum mg_sequence_option
_GAINS = ("gU", "gUn", "gc", "bc")
OPTIONS = (*_GAINS, "m", "k_h", "k_c")
PARAMETERS = (*_WEIGHTS, *_GAINS)
_PLACES = {name: place for place, name in enumerate((*OPERANDS, *OPTIONS))}
_BASE = len(OPERANDS)
_NO_GAINS = [NULL] * len(_GAINS)
_NOWHERE, _NO_OPTION = [NULL] * _BASE, [NULL] * len(_PLACES)

# Bound once, see array.py.
_forward, _backward = lib.mg_sequence_forward, lib.mg_sequence_backward
_step = lib.mg_sequence_step
_new = ffi.new_allocator(should_clear_after_alloc=False)
_FORWARD, _BACKWARD = (
    ffi.typeof(f"void *[{n}]") for n in (lib.MG_ARG_CELLS + 1, lib.MG_ARG_DC0 + 1)
)
_OPTIONS = ffi.typeof(f"void *[{lib.MG_OPT_DBC + 1}]")


class Counts:
    """How many of n sequences take part in each step, at least one and never more than before."""

    __slots__ = ("ptr", "shape")

    def __init__(self, counts: Sequence[int], n: int) -> None:
        if not n >= counts[0] or counts[-1] < 1 or any(a < b for a, b in zip(counts, counts[1:])):
            raise ValueError(
                f"counts {list(counts)}: from {n} or less, never increasing, to 1 or more"
            )
        self.ptr = ffi.new("int64_t[]", counts)
        self.shape = (len(counts), n, sum(counts))  #: T, N, R


class Clock(NamedTuple):
    """Where the clock of a clockwork RNN stands, and the groups of its units, the fast ones first."""

    t: int
    sizes: tuple[int, ...]
    periods: tuple[int, ...]

    def weights(self) -> int:
        """How many numbers U has: of each group to those that are not slower."""
        return sum(size * end for size, end in zip(self.sizes, accumulate(self.sizes)))


class _Plan:
    """The sizes of a call, worked out once for each combination of layouts."""

    __slots__ = (
        "c",
        "cells",
        "extras",
        "form",
        "gates",
        "h",
        "nowhere",
        "operands",
        "places",
        "ragged",
        "results",
        "y",
    )

    def __init__(
        self,
        cell: str,
        reverse: bool,
        lead: bool,
        counts: tuple[int, int, int] | None,
        clock: Clock | None,
        letters: tuple[str, ...],
        given: tuple[Layout, ...],
    ) -> None:
        of = dict(zip(letters, given))
        x, U = of["x"], of["U"]
        W = of.get("W", U)
        for name, a in of.items():
            if a.code != W.code or a.code > F64:
                raise TypeError(
                    f"{cell}: {name} {DTYPES[a.code]} {list(a.shape)} and {'WU'[W is U]} "
                    f"{DTYPES[W.code]} {list(W.shape)}: one floating type is needed"
                )
        if cell not in _BLOCKS:
            raise ValueError(f"{cell}: the cells with kernels are {', '.join(_BLOCKS)}")
        if cell.startswith("clockwork") != (clock is not None):
            raise ValueError(f"{cell}: a Clock is what a clockwork RNN needs, and no other cell")
        if len(W.shape) != 2 or len(U.shape) != (2 if clock is None else 1):
            raise ValueError(
                f"{cell}: W {list(W.shape)} and U {list(U.shape)}: two matrices are needed"
            )
        in_w, in_u, saved = _BLOCKS[cell]
        h, p = W.shape[1] // (in_w if "W" in of else in_u), U.shape[0]
        i, p = W.shape[0] if "W" in of else in_w * h, p if clock is None else h
        if counts is not None:
            steps, n, rows = counts
            time: tuple[int, ...] = (rows,)
        else:
            time = x.shape[:-1]
            steps, n = (1, *time)[-2:] if time else (0, 0)
        before: tuple[int, ...] = (1, n) if lead else (n,)
        lstm = cell in _PEEPHOLES
        wanted: dict[str, tuple[int, ...] | None] = {
            "x": (*time, i),
            "W": (i, in_w * h),
            "U": (p if "P" in of else h, in_u * h) if clock is None else (clock.weights(),),
            "Un": (h, h) if cell.startswith("gru") else None,
            "P": (h, p) if lstm and "P" in of else None,
            "b": (in_w * h,),
            "c": (h,) if cell.startswith("gru_after") else None,
            **{f"p_{gate}": (h,) if gate in _PEEPHOLES.get(cell, "") else None for gate in "ifo"},
            "h0": (*before, p),
            "c0": (*before, h) if lstm else None,
        }
        norm = "gU" in of
        if norm:
            second, needs = (h,), {"W": None, "gU": (in_u * h,)}
            wanted.update(needs, **dict.fromkeys(("gc", "bc") if lstm else (), second))
            wanted["gUn"] = second if "Un" in of else None
        else:
            wanted.update(dict.fromkeys(("gU", "gUn", "gc", "bc")))
        constant = all(len(of[k].shape) == 1 for k in ("k_h", "k_c") if k in of)
        wanted["m"] = (n, p)
        wanted["k_h"] = (p,) if constant else (*time, p)
        wanted["k_c"] = ((h,) if constant else (*time, h)) if lstm else None
        optional = ("W", "b", "c", "p_i", "p_f", "p_o", "h0", "c0", "m", "k_h", "k_c")
        for name, shape in wanted.items():
            has: Any = of[name].shape if name in of else None
            if has == shape or (has is None and name in optional):
                continue
            has, needed = "none" if has is None else list(has), shape and list(shape)
            raise ValueError(f"{cell}: {name} {has}: {needed or 'none'} is needed")
        if counts is not None and reverse:
            raise ValueError(f"{cell}: with counts, sequences are given in the order of the steps")
        if len(time) not in (1, 2) or not (steps and n):
            raise ValueError(
                f"{cell}: x {list(x.shape)}: at least one step of one sequence is needed"
            )
        code = W.code
        form = [code, SEQ[cell], steps, n, i, h, p, reverse + 2 * constant]
        if clock is not None:
            if len(clock.sizes) != len(clock.periods):
                raise ValueError(f"{cell}: {clock}: a period for each group is needed")
            form += [clock.t, len(clock.sizes), *clock.sizes, *clock.periods]
        self.form = ffi.new("int64_t[]", form)
        self.y = layout((*time, p), None, code)
        one_step = counts is None and len(time) == 1
        self.h = None if one_step else layout((*before, p), None, code)
        self.c = layout((*before, h), None, code) if lstm else None
        self.gates = layout((*time, saved * h), None, code) if saved else None
        self.cells = layout((*time, h), None, code) if lstm else None
        #: what the options need to be saved, if there are any: TILDE, NORM, NORM2, RSTD
        self.extras: list[Any] | None = None
        self.nowhere = _NOWHERE
        if not of.keys().isdisjoint(OPTIONS):
            tilde = "k_c" in of or ("k_h" in of and not saved)
            widths = tilde * h, norm * in_u * h, norm * bool(saved) * h, norm * 2
            self.extras = [layout((*time, w), None, code) if w else None for w in widths]
            self.nowhere = _NO_OPTION
        #: what the backward call may be given gradients of: place among dy, dhn, dcn, and layout
        self.results = [(k, a) for k, a in enumerate((self.y, self.h, self.c)) if a is not None]
        self.operands = [layout(a.shape, None, code) for a in given]
        self.places = [_PLACES[name] for name in letters]
        self.ragged = any(a.strides is not None for a in given)


class _Plans(dict[Any, _Plan]):
    """The plans made so far, by what a call is given."""

    def __missing__(self, key: Any) -> _Plan:
        if len(self) > 4096:  # as many different shapes: begin anew rather than grow for ever
            self.clear()
        plan = self[key] = _Plan(*key)
        return plan


_plans = _Plans()


class Step:
    """One step of one cell without gradients, its operands checked and its parameters at hand.

    Made of operands as `sequence_forward` takes them; later ones have the same layouts, and the
    parameters are where they were.  ValueError if one is not contiguous.
    """

    __slots__ = ("c", "form", "h", "memory", "pointers")

    def __init__(self, cell: str, letters: tuple[str, ...], operands: Sequence[Any]) -> None:
        plan = _plans[cell, False, False, None, None, letters, tuple([a.layout for a in operands])]
        if plan.ragged or plan.h is not None:
            raise ValueError(f"{cell}: one step of contiguous operands is needed")
        self.form, self.h = plan.form, plan.y
        self.c: Any = plan.c
        self.pointers = ffi.new("void *[]", _NOWHERE)
        for place, a in zip(plan.places, operands):
            self.pointers[place] = a.ptr
        #: keeps the memory of the parameters alive
        self.memory = [
            (a.ptr, a.base) for k, a in zip(letters, operands) if k not in ("x", "h0", "c0")
        ]

    def __call__(self, x: Any, h: Any, c: Any = None) -> tuple[Any, Any]:
        """(new h, new c or None)"""
        h_new = empty(self.h)
        if self.c is None:
            c_new = None
            status = _step(self.form, self.pointers, x.ptr, h.ptr, NULL, h_new.ptr, NULL)
        else:
            c_new = empty(self.c)
            status = _step(self.form, self.pointers, x.ptr, h.ptr, c.ptr, h_new.ptr, c_new.ptr)
        if status:
            check(status, "step", x, h)
        return h_new, c_new


class Saved:
    """What the forward call leaves for the backward call.  It does not refer to the results."""

    __slots__ = ("cells", "counts", "extras", "gates", "options", "plan", "pointers")

    def __init__(
        self,
        plan: _Plan,
        pointers: list[Any],
        counts: Counts | None,
        gates: Any,
        cells: Any,
        options: Any,
        extras: Any,
    ) -> None:
        self.plan, self.counts = plan, counts
        self.options, self.extras = options, extras  #: as pointers and gates, for the options
        self.pointers = pointers  #: where operands and results lie, which keeps the memory alive
        self.gates, self.cells = gates, cells  #: [T, N, S H] or [R, S H]; [T, N, H] or [R, H]

    def results(self) -> list[Array]:
        """The arrays of the forward call that the backward call reads: y, gates, cells."""
        y = Array()
        y.ptr, y.layout, y.base = self.pointers[lib.MG_ARG_Y], self.plan.y, None
        return [y, *(a for a in (self.gates, self.cells) if a is not None)]


def sequence_forward(
    cell: str,
    letters: tuple[str, ...],
    operands: Sequence[Any],
    reverse: bool = False,
    lead: bool = False,
    counts: Counts | None = None,
    save: bool = False,
    clock: Clock | None = None,
) -> tuple[tuple[Any, ...], Saved | None]:
    """((y, hn[, cn]), what is saved, if asked for); one step, x [N, I]: (y[, cn]).

    `SEQ` lists the cells; `letters` are those of the operands, some of `OPERANDS` in their order.  No
    h0, no c0: zeros.  reverse: the last step comes first; sequences with `counts` go forward.  lead:
    states are [1, N, P] and [1, N, H].
    """
    shape = None if counts is None else counts.shape
    plan = _plans[cell, reverse, lead, shape, clock, letters, tuple([a.layout for a in operands])]
    if plan.ragged:
        operands = [contiguous(a) for a in operands]
    y = empty(plan.y)
    hn = None if plan.h is None else empty(plan.h)
    cn = None if plan.c is None else empty(plan.c)
    gates = empty(plan.gates) if save and plan.gates is not None else None
    cells = empty(plan.cells) if save and plan.cells is not None else None
    pointers = plan.nowhere.copy()
    for place, a in zip(plan.places, operands):
        pointers[place] = a.ptr
    options, given, extras = None, NULL, None
    if plan.extras is not None:
        options, pointers = pointers[_BASE:], pointers[:_BASE]
        extras = [a and empty(a) if save else None for a in plan.extras]
        options += [NULL if a is None else a.ptr for a in extras]
        given = _new(_OPTIONS, options + _NO_GAINS)
    pointers += (
        y.ptr,
        NULL if hn is None else hn.ptr,
        NULL if cn is None else cn.ptr,
        NULL if gates is None else gates.ptr,
        NULL if cells is None else cells.ptr,
    )
    if status := _forward(
        plan.form, _new(_FORWARD, pointers), given, NULL if counts is None else counts.ptr
    ):
        check(status, cell, *operands[:3])
    results = (y,) if hn is None else (y, hn)
    if cn is not None:
        results += (cn,)
    if not save:
        return results, None
    return results, Saved(plan, pointers, counts, gates, cells, options, extras)


def sequence_backward(saved: Saved, gs: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
    """The gradients of the operands, in their order, None for those not wanted.

    `gs`: those of the results, None for zeros.
    """
    plan = saved.plan
    given = [NULL, NULL, NULL]
    for g, (k, like) in zip(gs, plan.results):
        if g is None:
            continue
        if g.layout is not like and (g.layout.shape, g.layout.code) != (like.shape, like.code):
            raise ValueError(
                f"gradient {describe(g)} of a result {DTYPES[like.code]} {list(like.shape)}"
            )
        given[k] = g.ptr if g.layout is like else contiguous(g).ptr
    gradients: list[Any] = []
    pointers = [*saved.pointers, *given, *_NOWHERE]
    if saved.options is not None:
        pointers += _NO_GAINS
    for place, a, w in zip(plan.places, plan.operands, wanted):
        gradients.append(empty(a) if w else None)
        if w:
            pointers[lib.MG_ARG_DX + place] = gradients[-1].ptr
    options = NULL
    if saved.options is not None:
        options = _new(_OPTIONS, saved.options + pointers[-len(_GAINS) :])
        del pointers[-len(_GAINS) :]
    counts = saved.counts
    if status := _backward(
        plan.form, _new(_BACKWARD, pointers), options, NULL if counts is None else counts.ptr
    ):
        check(status, "the gradient of a sequence", *(g for g in gradients if g is not None))
    return gradients
