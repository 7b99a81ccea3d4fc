"""What the tape is made of: nodes, their ages, and whether anything is recorded."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import wraps
from itertools import count
from typing import Any, Callable
from weakref import ref

from . import core
from .rules import Rules

# ---- whether to record -------------------------------------------------------------------------


class _Mode(threading.local):
    recording = True  # per thread: one may evaluate while another trains


mode = _Mode()
pauses: list[
    bool
] = []  # in all threads: while empty, `mode`, which takes 30 ns to read, need not be


def set_recording(value: bool) -> bool:
    """Begin a stretch in which this thread records, or does not; returns what was before."""
    before, mode.recording = mode.recording, value
    pauses.append(value)
    return before


def end_recording(before: bool) -> None:
    """End the stretch."""
    mode.recording = before
    pauses.pop()


class no_grad:
    """Record nothing inside the `with` block (or in the function decorated): results are untracked.

    >>> import minigrad
    >>> x = minigrad.ones(2, requires_grad=True)
    >>> with minigrad.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    recording = False

    def __enter__(self) -> None:
        self.before = set_recording(self.recording)

    def __exit__(self, *_: object) -> None:
        end_recording(self.before)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """As a decorator."""

        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapped


class enable_grad(no_grad):
    """Record again inside a `no_grad` block."""

    recording = True


def is_grad_enabled() -> bool:
    """Whether ops record."""
    return mode.recording


# ---- ages ----------------------------------------------------------------------------------------

#: of nodes and of in-place writes: the younger, the smaller
next_age = count(0, -1).__next__
_last_write = 1
#: id of what owns the memory: [a weak reference to it, age of the last write to it]
_writes: dict[int, list[Any]] = {}


def written(*arrays: core.Array) -> None:
    """Note that the memory of these was written: a node that still needs what it held will refuse."""
    global _last_write
    _last_write = age = next_age()
    for x in arrays:
        owner = x.ptr if x.base is None else x.base
        entry = _writes.get(id(owner))
        if entry is not None and entry[0]() is owner:
            entry[1] = age
        else:
            _writes[id(owner)] = [ref(owner), age]
    if len(_writes) > 10_000:  # forget what is gone
        for key in [key for key, (owner, _) in _writes.items() if owner() is None]:
            del _writes[key]


def mark(x: core.Array) -> list[Any]:
    """written(x), for who will write there again and again: returns what `written_at` takes.

    It is the entry of `_writes`, which stays the same one as long as the memory lives.
    """
    written(x)
    return _writes[id(core.owner(x))]


def written_at(marks: Iterable[list[Any]]) -> None:
    """Note that the memory behind these marks was written."""
    global _last_write
    _last_write = age = next_age()
    for entry in marks:
        entry[1] = age


def last_write() -> int:
    """The age of the youngest write."""
    return _last_write


def written_since(x: core.Array, age: int) -> bool:
    """Whether the memory of `x`, or of what it is a view of, was written after `age`."""
    owner = core.owner(x)
    entry = _writes.get(id(owner))
    return entry is not None and entry[1] < age and entry[0]() is owner


# ---- nodes -----------------------------------------------------------------------------------


class Leaf:
    """The node of a tensor that the user made with requires_grad=True: where a gradient ends up."""

    __slots__ = ("grad", "layout")
    parents: tuple[Any, ...] = ()

    def __init__(self, layout: core.Layout) -> None:
        self.layout = layout
        self.grad: Any = None

    def add(self, g: Any, fresh: bool, create_graph: bool) -> None:
        """grad += g.  `fresh`: nobody else uses the memory of g, so it may be kept."""
        if create_graph:
            self.grad = g if self.grad is None else self.grad + g
        elif self.grad is None:
            self.grad = g if fresh and g.layout.strides is None else core.astype(g, g.layout.code)
        else:
            core.add_into(self.grad, g)


class Node(core.Array):
    """One recorded application of an op.

    If a rule reads the op's result, the node is the array of that result as well, so that it need
    not refer to the tensor, which refers to it.  (If there are several: `ptr` is a tuple of such
    arrays, `layout` is None.)
    """

    __slots__ = ("age", "parents", "rules", "saved")
    rules: Rules
    parents: Sequence[Any]  #: the node of each argument, None where that is not tracked
    saved: Any  #: the arguments, None in place of those that no rule reads; None once freed
    age: int  #: the younger, the smaller


class Part:
    """The node of one of the results of an op that has several: an entry in that op's gradient."""

    __slots__ = ("age", "count", "index", "layout", "parents")
    rules, saved = None, ()

    def __init__(self, whole: Node, index: int, count: int, layout: core.Layout) -> None:
        self.parents = (whole,)
        self.index, self.count, self.layout = index, count, layout
        self.age = next_age()
