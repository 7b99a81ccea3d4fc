"""The derivative of an op, as the engine sees it: rules, and what they read.

A rule is a function whose parameters say what it needs, by name: `g`, the gradient of the op's
result; `y`, the result; `shape`, the shape of the argument that the rule is for; or any argument of
the op. The names are read once, when the rule is set; an unknown one is an error there and then.
What the tape keeps alive is derived from them: in back-propagation through time that is the memory
bill.

The rules of the most frequent ops are one call, of the gradient and one thing saved.  These may be
written as `of(mul, "g", "b")` in place of `lambda g, b: mul(g, b)`.  The engine then makes the call
itself, which saves 250 ns of 700, a large part of a small op's backward pass.
"""

from __future__ import annotations

import inspect
from inspect import Parameter
from typing import Any, Callable


def _parameters(function: Any) -> tuple[str, ...]:
    """The names of a function's parameters, *xs first.

    Read off its code: `inspect.signature` takes 25 µs, for 350 functions at import.
    """
    function = getattr(function, "forward", function)  # of an op
    code = function.__code__
    named = code.co_argcount + code.co_kwonlyargcount
    variadic = code.co_flags & inspect.CO_VARARGS
    return (*code.co_varnames[named : named + bool(variadic)], *code.co_varnames[:named])


class Of:
    """`function` applied to what is named; see `of`."""

    def __init__(self, function: Callable[..., Any], names: tuple[str, ...]) -> None:
        self.function, self.names = function, names

    def __call__(self, *args: Any) -> Any:
        """As a rule is called."""
        return self.function(*args)


def of(function: Callable[..., Any], *names: str) -> Of:
    """The rule that applies `function`, an op or a kernel, to the values named, in this order."""
    return Of(function, names)


def same(g: Any) -> Any:
    """The rule whose gradient is g itself."""
    return g


class Rules:
    """Which rule belongs to which argument of one op, and what each of them reads.

    `rows` has for each argument (f, k, into, into_k).  The gradient is f(g, argument k) where k >=
    0, f(g, y) where k is OUTPUT, f where k is GIVEN, g itself where f is None, else f(g, shape, y,
    arguments).  `into` is the form that adds to a total, in the same way, or None.  `bare` is the
    same with kernels in place of ops, for when nothing is recorded.  Both are None until
    `write_rows`, and where one rule, `joint`, serves all arguments.
    """

    OUTPUT, GENERAL, GIVEN = -1, -2, -3

    def __init__(self, forward: Callable[..., Any]) -> None:
        self.name = forward.__name__
        code, defaults = forward.__code__, forward.__defaults__ or ()
        self.variadic = bool(code.co_flags & inspect.CO_VARARGS)
        self.arguments = list(_parameters(forward))
        missing = [Parameter.empty] * (code.co_argcount - len(defaults))
        self.defaults = [*missing, *defaults, *(forward.__kwdefaults__ or {}).values()]
        self.joint: Any = None
        self.fresh = False  #: the gradients that `joint` gives are memory of their own
        self._rules: list[Any] = [None] * len(self.arguments)
        self._rules_into: list[Any] = [None] * len(self.arguments)
        self._reads: list[set[str]] = [set() for _ in self.arguments]
        self.plans = _Plans(self)
        self.rows: Any = None
        self.bare: Any = None

    # ---- setting rules

    def vjp(self, **rules: Callable[..., Any]) -> None:
        """Set a rule for each argument named: it returns the gradient of that argument."""
        for argument, rule in rules.items():
            i = self._position(argument)
            self._rules[i], self._reads[i] = rule, self._names(rule, "g", "y", "shape")
        self.rows = self.bare = None

    def vjp_into(self, **rules: Callable[..., Any]) -> None:
        """Set, for an argument that has a rule, a second form that adds to `total` in place.

        The engine uses it from the second contribution on, for the weights of a recurrent network
        from the second time step on: no array for each contribution, no pass over memory to add it.
        An op with such a rule promises that the first form returns memory of its own.
        """
        for argument, rule in rules.items():
            i = self._position(argument)
            self._rules_into[i] = rule
            if not self._names(rule, "total", "g", "y", "shape") <= self._reads[i] | {"total"}:
                message = f"{self.name}: the rule that adds reads more than the rule for {argument}"
                raise TypeError(message)
        self.rows = self.bare = None

    def vjp_all(self, rule: Callable[..., Any], fresh: bool = False) -> None:
        """Set one rule for all arguments: it returns their gradients in order.

        It may name `tracked`, which says of each whether it is wanted.  The arguments of an op with
        *xs go by that one name.  fresh: the rule promises that each gradient is memory of its own,
        so that a leaf may keep it and the engine add to it.
        """
        self.fresh = fresh
        reads = self._names(rule, "g", "y", "tracked")
        self._reads = [reads] * len(self.arguments)
        self.joint = self._caller(rule, "g", "tracked", "y")

    def _position(self, argument: str) -> int:
        if argument not in self.arguments:
            raise TypeError(f"{self.name}: {argument!r} is none of its arguments {self.arguments}")
        return self.arguments.index(argument)

    def _names(self, rule: Any, *special: str) -> set[str]:
        names = self._names_of(rule)
        for name in names:
            if name not in special and name not in self.arguments:
                known = [*special, *self.arguments]
                raise TypeError(f"{self.name}: a rule names {name!r}, which is none of {known}")
        return set(names)

    # ---- what the engine asks

    def plan(self, tracked: int) -> tuple[bool, Any, Any]:
        """(save the output?, what to save, mask) if the arguments in the bit set are tracked.

        What to save is True for all arguments.  Without mask it is a constant: nothing of them;
        with a mask, those where it is true.
        """
        read: set[str] = set()
        for i, reads in enumerate(self._reads):
            if tracked >> i & 1:
                if self.joint is None and self._rules[i] is None:
                    raise TypeError(f"{self.name}: no gradient for argument {self.arguments[i]!r}")
                read |= reads
        mask = tuple(name in read for name in self.arguments)
        output = "y" in read
        if all(mask):
            return output, True, None
        if any(mask):
            return output, False, mask
        return output, (None,) * len(mask) if output else (), None

    def write_rows(self) -> None:
        """Set `rows` and `bare`: when they are first asked for, which keeps the import short."""
        self.rows, self.bare = (
            [
                (*self._call(rule, bare, "g"), *self._call(into, bare, "total", "g"))
                for rule, into in zip(self._rules, self._rules_into)
            ]
            for bare in (False, True)
        )

    def _call(self, rule: Any, bare: bool, *first: str) -> tuple[Any, int]:
        """(f, k) for a rule that begins with the arguments `first`."""
        if rule is None or rule is same:
            return None, self.GENERAL
        function, names = rule, self._names_of(rule)
        if isinstance(rule, Of):
            function = getattr(rule.function, "forward", rule.function) if bare else rule.function
        n = len(first)
        # y is a bare array there, which kernels take (Of), but the ops in a rule's text do not
        special = ("shape",) if isinstance(rule, Of) else ("shape", "y")
        if names[:n] == first and len(names) == n + 1 and names[n] not in special:
            return function, self.OUTPUT if names[n] == "y" else self.arguments.index(names[n])
        return self._caller(rule, *first, "shape", "y"), self.GENERAL

    @staticmethod
    def _names_of(rule: Any) -> tuple[str, ...]:
        return rule.names if isinstance(rule, Of) else _parameters(rule)

    def _caller(self, rule: Any, *first: str) -> Any:
        """The function f(*first, arguments) that hands `rule` the values which it names."""
        names = self._names_of(rule)
        sources = {name: f"saved[{i}]" for i, name in enumerate(self.arguments)}
        sources.update((name, name) for name in first)
        # Source, once, in place of picking values out of a dict for every recorded op: 60 ns, not
        # 200.
        call = ", ".join(sources[name] for name in names)
        return eval(f"lambda {', '.join(first)}, saved: rule({call})", {"rule": rule})


class _Plans(dict[int, tuple[bool, Any, Any]]):
    """rules.plan of each bit set, worked out when it is first asked for."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules = rules

    def __missing__(self, tracked: int) -> tuple[bool, Any, Any]:
        plan = self[tracked] = self.rules.plan(tracked)
        return plan
