"""The derivatives of one step of a cell with a kernel, and how RTRL carries them forward.

Letters and shapes are those of `enum mg_jacobian_array` in cextension/minigrad.h; a state is h [N, H],
of an LSTM h and c, n numbers for each sequence in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad._core import ffi, lib

from .array import (
    NULL,
    check,
    contiguous,
    describe,
    empty_of,
    view,
)
from .elementwise import binary
from .sequence import OPERANDS, SEQ, sequence_forward

_STATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 2, "gru": 1, "gru_after": 1}
#: columns of E, in blocks of width H
_COLUMNS = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3, "gru_after": 4}
_mul = binary("mul")


class StepJacobian:
    """One step of a cell with W, U, b, Un, c and no other parameters: the new state, its derivatives.

    parameters: {letter: array} of `sequence_forward`.  The derivatives of the new state are

        J [N, n, n]      by the state before, [s, i, j]: of number i by number j
        E [N, n / H, Z]  by the pre-activations: of the states of unit k by column k of each gate
        R [N, H, H]      of a GRU that resets before the product: of unit i by column k of the reset
                         gate, which acts on all units; else None

    ValueError where shapes do not fit.
    """

    #: what there is in C
    cells = tuple(_STATES)
    #: of the parameters, in the order in which C takes their places
    letters = ("W", "U", "b", "Un", "c")
    __slots__ = ("E", "J", "R", "form", "h", "memory", "n", "name", "pointers", "states")

    def __init__(self, cell: str, x: Any, parameters: dict[str, Any], state: Sequence[Any]) -> None:
        x, *state = (contiguous(a) for a in (x, *state))
        p = {name: contiguous(a) for name, a in parameters.items()}
        if more := set(p).difference(self.letters):
            raise ValueError(f"{cell}: the derivatives of a cell with {sorted(more)} are not in C")
        h, c = (*state, None)[:2]
        W, U, Un = p["W"], p["U"], p.get("Un")
        given = {"x": x, **p, **dict(zip(("h0", "c0"), state))}
        letters = tuple(letter for letter in OPERANDS if letter in given)
        new, saved = sequence_forward(
            cell, letters, [given[letter] for letter in letters], save=True
        )
        assert saved is not None
        if len(state) != _STATES[cell] or len(x.shape) != 2:
            raise ValueError(
                f"{cell}: x {describe(x)} and {len(state)} states: one step [N, I] and "
                f"{_STATES[cell]} are needed"
            )
        (N, H), code, self.name = h.shape, h.layout.code, cell
        self.states, self.h = new, h
        self.n = n = _STATES[cell] * H
        transposed = empty_of((N, n, n), code)
        #: of the memory in which C writes it, where ∂s'_i/∂s_j lies at [j, i]
        self.J = view(transposed, 0, (N, n, n), (n * n, 1, n))
        self.E = empty_of((N, _STATES[cell], _COLUMNS[cell] * H), code)
        self.R = empty_of((N, H, H), code) if cell == "gru" else None
        h_new, c_new = (*new, None)[:2]
        rh = _mul(_columns(saved.gates, 0, H), h) if cell == "gru" else None
        self.form = [code, SEQ[cell], N, W.shape[0], H]
        arrays = (x, U, Un, h, c, h_new, c_new, saved.gates, transposed, self.E, self.R, rh)
        self.memory = arrays
        self.pointers = [NULL if a is None else a.ptr for a in arrays]
        pointers = ffi.new("void *[]", [*self.pointers, NULL, NULL])
        check(lib.mg_step_jacobian(ffi.new("int64_t[]", self.form), pointers), cell, x, W, U)

    def advance(self, S: Any, places: dict[str, int], size: int, masked: bool = False) -> Any:
        """S' = J S + ∂⁺s'/∂θ [N, n, P], the derivatives of the new state by P = `size` parameters.

        places: where each letter's parameter begins among them, which they fill.  S: that of the step
        before, None for zeros.  masked (not of a "gru"): only the derivatives of a unit's states by
        the columns of that unit, S [N, n / H, P]; all others are taken for zero.
        """
        N, H = self.h.shape
        shape = (N, self.n // H if masked else self.n, size)
        if S is not None and (S.shape != shape or S.layout.code != self.h.layout.code):
            raise ValueError(f"S {describe(S)}: {self.h.dtype} {list(shape)} is needed")
        old = None if S is None else contiguous(S)
        new = empty_of(shape, self.h.layout.code)
        form = [*self.form, size, masked, *(places.get(letter, -1) for letter in self.letters)]
        pointers = [*self.pointers, NULL if old is None else old.ptr, new.ptr]
        status = lib.mg_rtrl(ffi.new("int64_t[]", form), ffi.new("void *[]", pointers))
        check(status, f"{self.name}: a step of RTRL", new)
        return new


def _columns(x: Any, begin: int, width: int) -> Any:
    """Columns of a contiguous matrix."""
    return view(x, begin, (x.shape[0], width), (x.shape[1], 1))
