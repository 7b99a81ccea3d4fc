"""How a group of parameters steps in one C call.

From step to step only the gradients change, as a rule.  So everything else that the call needs is
written down once, in a `Plan`, and at each step compared with what is there now: 0.2 µs for a
parameter.  If something differs, the plan is made anew.
"""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any

from .. import core
from ..tape import mark, written_at

if TYPE_CHECKING:
    from .optimizer import Optimizer

Buffers = tuple[tuple[str, int], ...]


class Run:
    """Parameters of one type that have made the same number of steps, `done`."""

    __slots__ = ("done", "marks", "names", "rows", "update")

    def __init__(
        self, kernel: str, names: list[Any], done: int, members: list[tuple[Any, Any, Any, Any]]
    ) -> None:
        self.names, self.done = names, done
        # what must be as it was, see `gradients`
        self.rows = [(p, p.node, p.ptr, *rest) for p, *rest in members]
        self.update = core.Update(kernel, [(p, s1, s2) for p, _, s1, s2 in members])
        self.marks = [mark(p) for p, *_ in members]

    def gradients(self, states: Any, clock: str | None) -> list[Any] | None:
        """The gradients of now; None if anything but these has changed."""
        (first, second), done = self.names, self.done
        found = []
        for p, node, ptr, state, s1, s2 in self.rows:
            g = node.grad
            if (
                g is None
                or p.node is not node
                or p.ptr is not ptr
                or states.get(p) is not state
                or state.get(first) is not s1
                or state.get(second) is not s2
                or (clock is not None and state.get(clock, 0) != done)
            ):
                return None
            found.append(g)
        return found

    def has_stepped(self, clock: str | None) -> None:
        """Count the step, and tell the tape."""
        self.done += 1
        if clock is not None:
            for row in self.rows:
                row[3][clock] = self.done
        written_at(self.marks)


class Plan:
    """The runs of one group of parameters, and the parameters that have no gradient."""

    def __init__(self, optimizer: Optimizer, group: dict[str, Any]) -> None:
        self.group = group
        self.params: list[Any] = list(group["params"])
        self.buffers = optimizer.buffers(group)
        self.idle = []
        members: dict[tuple[int, int], Any] = {}
        for p in self.params:
            if p.grad is None:
                self.idle.append(p)
                continue
            state = optimizer.state.setdefault(p, {})
            # a kernel whose steps nobody counts asks only whether there has been one
            done = bool(state) if optimizer.clock is None else int(state.get(optimizer.clock, 0))
            made = [_buffer(optimizer, state, name, p, k) for name, k in self.buffers]
            made += [None] * (2 - len(made))
            members.setdefault((p.layout.code, done), []).append((p, state, *made))
        names: list[Any] = [name for name, _ in self.buffers]
        names += [None] * (2 - len(names))  # no state has an entry None: get(None) is None
        self.runs = [
            Run(optimizer.kernel, names, done, rows) for (_, done), rows in members.items()
        ]

    def work(self, optimizer: Optimizer, group: dict[str, Any]) -> list[tuple[Run, Any]] | None:
        """Each run with its gradients; None if the plan is out of date."""
        params = group["params"]
        if (
            optimizer.buffers(group) is not self.buffers
            or len(params) != len(self.params)
            or not all(map(is_, params, self.params))
        ):
            return None
        for p in self.idle:
            if p.grad is not None:
                return None
        found = []
        for run in self.runs:
            gradients = run.gradients(optimizer.state, optimizer.clock)
            if gradients is None:
                return None
            found.append((run, gradients))
        return found


def _buffer(optimizer: Optimizer, state: dict[str, Any], name: str, p: Any, k: int) -> Any:
    """The tensor state[name], k times as large as p, zeros at first."""
    x = state.get(name)
    if x is None:
        shape = p.shape if k == 1 else (k, *p.shape)
        x = state[name] = core.zeros(core.layout(shape, None, p.layout.code))
    elif x.layout.code != p.layout.code:
        raise RuntimeError(
            f"{type(optimizer).__name__}: {name} is {x.dtype}, its parameter has become {p.dtype}: "
            f"make the optimiser after converting the model"
        )
    return x
