"""The derivative of an op, as the engine sees it: rules, and what they read.

A rule is a function whose parameters say what it needs, by name: `g`, the gradient of the op's result;
`y`, the result; `shape`, the shape of the argument that the rule is for; or any argument of the op.
The names are read once, when the rule is set; an unknown one is an error there and then.  What the tape
keeps alive is derived from them: in back-propagation through time that is the memory bill.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable


class Rules:
    """Which rule belongs to which argument of one op, and what each of them reads."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        self.name = forward.__name__
        parameters = inspect.signature(forward).parameters
        self.arguments = list(parameters)
        self.defaults = [p.default for p in parameters.values()]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
        self.pull: list[Any] = [None] * len(parameters)  # how to call the rule of each argument
        self.pull_into: list[Any] = [None] * len(parameters)
        self.joint: Any = None
        self._reads: list[set[str]] = [set() for _ in parameters]
        self.plans = _Plans(self)

    def _caller(self, rule: Callable[..., Any], *first: str) -> Any:
        """The function f(*first, saved) that hands `rule` the values which its parameters name."""
        names = list(inspect.signature(rule).parameters)
        sources = {name: f"saved[{i}]" for i, name in enumerate(self.arguments)}
        sources.update((name, name) for name in first)
        for name in names:
            if name not in sources:
                raise TypeError(
                    f"{self.name}: a rule names {name!r}, which is none of {[*sources]}"
                )
        # Written out as source once, since this runs for every recorded op: 60 ns against 200 ns for
        # picking the values out of a tuple each time.
        call = ", ".join(sources[name] for name in names)
        return eval(f"lambda {', '.join(first)}, saved: rule({call})", {"rule": rule}), set(names)

    def vjp(self, **rules: Callable[..., Any]) -> None:
        """Set a rule for each argument named: it returns the gradient of that argument."""
        for argument, rule in rules.items():
            i = self._position(argument)
            self.pull[i], self._reads[i] = self._caller(rule, "g", "y", "shape")

    def vjp_into(self, **rules: Callable[..., Any]) -> None:
        """Set, for an argument that has a rule, a second form that adds to `total` in place.

        The engine uses it from the second contribution on, for the weights of a recurrent network
        from the second time step on: no array for each contribution, no pass over memory to add it.
        An op with such a rule promises that the first form returns memory of its own.
        """
        for argument, rule in rules.items():
            i = self._position(argument)
            self.pull_into[i], reads = self._caller(rule, "total", "g", "y", "shape")
            if not reads <= self._reads[i] | {"total"}:
                raise TypeError(
                    f"{self.name}: the rule that adds reads more than the rule for {argument}"
                )

    def vjp_all(self, rule: Callable[..., Any]) -> None:
        """Set one rule for all arguments: it returns their gradients in order.

        It may name `tracked`, which says of each whether it is wanted.  The arguments of an op with
        *xs go by that one name.
        """
        self.joint, reads = self._caller(rule, "g", "y", "tracked")
        self._reads = [reads] * len(self.arguments)

    def _position(self, argument: str) -> int:
        if argument not in self.arguments:
            raise TypeError(
                f"{self.name}: {argument!r} is no argument, these are: {self.arguments}"
            )
        return self.arguments.index(argument)

    def plan(self, tracked: int) -> tuple[bool, Any]:
        """Whether the output is kept, and which arguments, if those in the bit set are tracked."""
        read: set[str] = set()
        for i, reads in enumerate(self._reads):
            if tracked >> i & 1:
                if self.joint is None and self.pull[i] is None:
                    raise TypeError(f"{self.name}: no gradient for argument {self.arguments[i]!r}")
                read |= reads
        keep = tuple(name in read for name in self.arguments)
        return "y" in read, all(keep) or (keep if any(keep) else False)


class _Plans(dict[int, tuple[bool, Any]]):
    """rules.plan of each bit set, worked out when it is first asked for."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules = rules

    def __missing__(self, tracked: int) -> tuple[bool, Any]:
        plan = self[tracked] = self.rules.plan(tracked)
        return plan
