"""Where did the first NaN or infinity come from?

While a `detect_anomaly` block is open, the slot `Tensor.node`, where an op leaves what it recorded, is
replaced by a property.  So each recorded result passes here, is looked at, and gets rules that look at
the gradients as well.  Outside such blocks the slot is the slot: the mode costs nothing when it is off.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from . import autograd, core
from .autograd import Tensor
from .rules import Rules
from .tape import Leaf, Part

#: what users call the ops that their matmul and linear record
_NAMES = {"_nn": "matmul", "_nt": "matmul", "_tn": "matmul", "_affine": "linear"}
_PACKAGE = str(Path(__file__).parent)


class AnomalyError(RuntimeError):
    """The first NaN or infinity in a block of `detect_anomaly`: which op, and where."""

    at: tuple[int, ...] = ()  #: its index
    shape: tuple[int, ...] = ()  #: of the array that has it
    age = 0  #: of the node that was recorded, where it is a result


class _Settings:
    def __init__(self, nan: bool, inf: bool) -> None:
        self.nan, self.inf = nan, inf


class Place:
    """A stretch of the forward pass that messages name, such as a time step.

    `gates`: {age of a node: the gate that it leads to}; letters and width: that the columns of arrays
    wider than `width` belong to these gates, one block each.
    """

    def __init__(self, name: str, letters: str = "", width: int = 0) -> None:
        self.name, self.letters, self.width = name, letters, width
        self.gates: dict[int, str] = {}

    def __enter__(self) -> None:
        global _place
        self.before, _place = _place, self

    def __exit__(self, *_: object) -> None:
        global _place
        _place = self.before

    def gate_of(self, at: Any, shape: Any) -> str:
        """The gate to which the element `at` of an array belongs; "" if that cannot be told."""
        blocks = shape[-1] // self.width if shape and self.width else 0
        if not 1 < blocks <= len(self.letters) or shape[-1] % self.width:
            return ""
        return self.letters[at[-1] // self.width]


watching: _Settings | None = None  #: None: off
_place: Place | None = None
_slot: Any = vars(Tensor)["node"]

# ---- switching ---------------------------------------------------------------------------------


def _switch(settings: _Settings | None) -> None:
    global watching
    watching = settings
    # the slot itself when off, as the class was made
    type.__setattr__(Tensor, "node", property(_slot.__get__, _set) if settings else _slot)


class detect_anomaly:
    """Stop at the first NaN or infinity, forward or backward, and say where it came from.

    In the `with` block every result that is recorded is looked at; in the backward pass through what
    was recorded there, also after the block, every gradient.  The AnomalyError names the op and the
    line that called it; inside recurrent layers the cell, the time step and the gate as well.  They run
    step by step in the block, fused ones too, and everything takes longer.  Off, it costs nothing.

    check_nan, check_inf: what to look for; computations with logarithms of zero have infinities that
    are right.  Not looked at are ops without gradients, and the insides of fused ops.  One thread.

    >>> import minigrad
    >>> x = minigrad.tensor([1.0, 0.0], requires_grad=True)
    >>> with minigrad.detect_anomaly():
    ...     y = minigrad.sqrt(x).sum()
    >>> y.backward()
    Traceback (most recent call last):
    ...
    minigrad.anomaly.AnomalyError: the gradient of sqrt by its argument x is inf at [1] of float32 [2]; \
recorded at <doctest minigrad.anomaly.detect_anomaly[2]>:2
    """

    def __init__(self, check_nan: bool = True, check_inf: bool = True) -> None:
        self.settings: _Settings | None = _Settings(check_nan, check_inf)

    def __enter__(self) -> None:
        self.before = watching
        _switch(self.settings)

    def __exit__(self, *_: object) -> None:
        _switch(self.before)


class set_detect_anomaly(detect_anomaly):
    """Switch the mode of `detect_anomaly` on or off from here on; or for a `with` block."""

    def __init__(self, mode: bool, check_nan: bool = True, check_inf: bool = True) -> None:
        super().__init__(check_nan, check_inf)
        self.before = watching
        if not mode:
            self.settings = None
        _switch(self.settings)

    def __enter__(self) -> None:
        """The switch was thrown when this was made."""


# ---- looking ---------------------------------------------------------------------------------------


def _found(x: Any, settings: _Settings) -> tuple[str, tuple[int, ...]] | None:
    """("nan" or "inf", index) of the first such element."""
    a = np.asarray(x)
    if a.dtype.kind != "f" or np.isfinite(a).all():
        return None
    wrong = np.isnan(a) & settings.nan | np.isinf(a) & settings.inf
    if not wrong.any():
        return None
    at = tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
    return str(a[at]), at


def _error(what: str, found: tuple[str, tuple[int, ...]], x: Any, rest: str) -> AnomalyError:
    value, at = found
    error = AnomalyError(f"{what} is {value} at {list(at)} of {core.describe(x)}{rest}")
    error.at, error.shape = at, x.shape
    return error


def _line() -> str:
    """The line outside this package that is being executed."""
    frame: Any = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _set(y: Tensor, node: Any) -> None:
    """Tensor.node = node while the mode is on."""
    _slot.__set__(y, node)
    if node is None or isinstance(node, Leaf):
        return
    whole = node.parents[0] if isinstance(node, Part) else node
    assert watching is not None
    if not isinstance(whole.rules, _Watched):
        whole.rules = _Watched(whole, watching)
    if found := _found(y, watching):
        watched = whole.rules
        arrays = [a for a in whole.saved or () if isinstance(a, core.Array)]
        before = any(_found(a, watching) for a in arrays)
        rest = "; an operand has one already" if before else ""
        error = _error(f"the result of {watched.name}", found, y, rest + watched.where())
        error.age = whole.age
        raise error


class _Watched(Rules):
    """The rules of one recorded op, which look at the gradients they give."""

    def __init__(self, node: Any, settings: _Settings) -> None:
        self.inner: Rules = node.rules
        self.settings = settings
        self.name, self.fresh = _NAMES.get(self.inner.name, self.inner.name.strip("_")), False
        self.rows = self.bare = None
        self.layouts = [None if p is None else p.layout for p in node.parents]
        self.age = node.age
        self.place, self.line = _place, _line()
        self.joint = self._look

    def where(self) -> str:
        """For messages: where it was recorded."""
        return f"; recorded at {self.line}" + (f", {self.place.name}" if self.place else "")

    def _look(self, g: Any, tracked: Any, y: Any, saved: Any) -> list[Any]:
        inner = self.inner
        if inner.joint is not None:
            gradients = inner.joint(g, tracked, y, saved)
        else:
            if inner.rows is None:
                inner.write_rows()
            each = zip(inner.rows, self.layouts, tracked)
            gradients = [self._one(row, g, y, saved, a) if t else None for row, a, t in each]
        for i, (dx, wanted) in enumerate(zip(gradients, tracked)):
            if wanted and dx is not None and (found := _found(dx, self.settings)):
                names = inner.arguments if not inner.variadic else []
                of = f"argument {names[i]}" if i < len(names) else f"argument {i}"
                rest = self.where()
                if self.place is not None:
                    gate = self.place.gates.get(self.age) or self.place.gate_of(found[1], dx.shape)
                    rest += f", gate {gate}" if gate else ""
                raise _error(f"the gradient of {self.name} by its {of}", found, dx, rest)
        return list(gradients)

    def _one(self, row: Any, g: Any, y: Any, saved: Any, layout: Any) -> Any:
        """One row of rules, as replay applies it."""
        f, k, _, _ = row
        if k >= 0:
            return f(g, saved[k])
        if k == self.GIVEN:
            return f
        if f is None:
            return g
        return f(g, y) if k == self.OUTPUT else f(g, layout.shape, y, saved)


# PyTorch has these two in torch.autograd.
autograd.detect_anomaly = detect_anomaly  # type: ignore[attr-defined]
autograd.set_detect_anomaly = set_detect_anomaly  # type: ignore[attr-defined]
