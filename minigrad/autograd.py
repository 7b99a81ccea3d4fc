"""Reverse-mode automatic differentiation: record what is computed, then replay it backwards.

This file has the tensor, the ops and `grad`.  What the tape is made of is in `tape.py`, what an op's
derivative says in `rules.py`, the backward pass in `replay.py`.  None of them knows C, or any
particular operation.

* An **op** is a function of arrays with one rule per argument (`op`, below).  Calling it computes the
  result; if an argument is tracked, it also records a `Node`.
* A **node** refers to the nodes of the arguments and keeps exactly those arrays which the rules name.
  It does not refer to its own result, so there is no reference cycle: when the last tensor that needs
  a graph goes, the graph goes with it.
* The **backward pass** visits the nodes from the youngest to the oldest.  That is the chain rule's
  order, since whatever used a result was recorded after it.  There is no recursion: a chain of 100 000
  steps, such as a recurrent network on a long text, is a loop like any other.

Rules are written with tensors, so the backward pass is itself differentiable: `create_graph=True`
records it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from inspect import Parameter
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
)

import numpy as np

from . import core
from .replay import replay
from .rules import Rules
from .tape import (
    Leaf,
    Node,
    Part,
    mode,
    next_age,
    pauses,
)  # fmt: skip


class Tensor(core.Array):
    """An array that remembers how it was computed.

    Made by `tensor`, `zeros`, `randn`, `from_numpy` …, or by an op.  Its operators and methods are
    the ops of `minigrad.ops`, under the names that PyTorch gives them.
    """

    __slots__ = ("__weakref__", "node")
    node: Any  #: a Leaf, a Node, a Part, or None: not tracked
    __array_ufunc__ = None  # ndarray + tensor: leave it to the tensor

    if TYPE_CHECKING:  # ops are attached by minigrad/ops/__init__.py

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, key: Any) -> Any: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __neg__(self) -> Any: ...
        def __add__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __rsub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __pow__(self, other: Any) -> Any: ...
        def __matmul__(self, other: Any) -> Any: ...

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this tensor."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not value:
            if isinstance(self.node, (Node, Part)):
                raise RuntimeError("this tensor is the result of an op: detach() it instead")
            self.node = None
        elif self.node is None:
            if self.layout.code > core.F64:
                raise TypeError(
                    f"only float tensors can require gradients, not {core.describe(self)}: "
                    f"convert it with .to(minigrad.float32)"
                )
            self.node = Leaf(self.layout)

    def requires_grad_(self, value: bool = True) -> Tensor:
        """Set `requires_grad`; returns the tensor."""
        self.requires_grad = value
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it: not the result of a recorded op."""
        return not isinstance(self.node, (Node, Part))

    @property
    def grad(self) -> Tensor | None:
        """What `backward` has added up for this leaf so far; None before."""
        return self.node.grad if isinstance(self.node, Leaf) else None

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if not isinstance(self.node, Leaf):
            raise RuntimeError(
                "only a leaf that requires gradients has a .grad: set requires_grad=True"
            )
        if value is not None and (value.shape, value.dtype) != (self.shape, self.dtype):
            raise ValueError(f"grad {core.describe(value)} of a tensor {core.describe(self)}")
        self.node.grad = value

    def detach(self) -> Tensor:
        """The same memory, not tracked."""
        return core.alias(self)

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add d(self)/d(leaf) to the `.grad` of every leaf that this tensor was computed from.

        `gradient` is the gradient of the final scalar with respect to this tensor; it may be left
        out if this tensor is that scalar.  The graph is freed unless retain_graph (or create_graph)
        is set.

        >>> import minigrad
        >>> x = minigrad.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
        """
        roots = _roots([self], [gradient])
        keep = create_graph if retain_graph is None else retain_graph
        replay(roots, None, keep, create_graph)


core.results_are(Tensor)


# ---- ops ---------------------------------------------------------------------------------------


def op(forward: Callable[..., Any]) -> Any:
    """Make an op of a function of arrays.  Give it its rules with `.vjp(argument=rule, …)`.

    >>> import minigrad
    >>> from minigrad import core
    >>> power = core.binary("pow")
    >>> @minigrad.op
    ... def cube(x):
    ...     return power(x, 3.0)
    >>> cube.vjp(x=lambda g, x: g * 3 * x * x)
    >>> x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    >>> cube(x).sum().backward()
    >>> x.grad
    tensor([ 3., 12.])
    """
    rules = Rules(forward)
    names = rules.arguments
    apply: Any
    record: Any  # gives the result its node

    # Three times the same; the first two save 250 ns where an op has one or two arguments.
    plans: list[Any] = [None] * 4
    if len(names) == 1 and not rules.variadic:

        def record(y: Any, x: Any, parent: Any) -> None:
            if pauses and not mode.recording:
                return
            plan = plans[1]
            if plan is None:
                plan = plans[1] = rules.plan(1)
            keep_output, keep, _ = plan
            node = Node()
            node.rules = rules
            node.parents = (parent,)
            node.age = next_age()
            node.saved = (x,) if keep is True else keep
            node.layout = y.layout
            if keep_output:
                node.ptr, node.base = y.ptr, y.base
            y.node = node

        def apply(x: Any) -> Any:
            y = forward(x)
            if y.__class__ is tuple:
                _record(rules, y, (x,))
            elif x.node is not None:
                record(y, x, x.node)
            return y

    elif len(names) == 2 and not rules.variadic and rules.defaults == [Parameter.empty] * 2:

        def record(y: Any, a: Any, b: Any, m: Any, n: Any) -> None:
            if pauses and not mode.recording:
                return
            tracked = 2 if m is None else 1 if n is None else 3
            plan = plans[tracked]
            if plan is None:
                plan = plans[tracked] = rules.plan(tracked)
            keep_output, keep, mask = plan
            node = Node()
            node.rules = rules
            node.parents = (m, n)
            node.age = next_age()
            if mask is None:
                node.saved = (a, b) if keep is True else keep
            else:
                node.saved = (a, None) if mask[0] else (None, b)
            node.layout = y.layout
            if keep_output:
                node.ptr, node.base = y.ptr, y.base
            y.node = node

        def apply(a: Any, b: Any) -> Any:
            y = forward(a, b)
            try:
                m, n = a.node, b.node
            except AttributeError:  # one of them is a number
                m, n = getattr(a, "node", None), getattr(b, "node", None)
            if y.__class__ is tuple:
                _record(rules, y, (a, b))
            elif m is not None or n is not None:
                record(y, a, b, m, n)
            return y

    else:

        def record(y: Any, *args: Any) -> None:
            _record(rules, y, args)

        def apply(*args: Any, **options: Any) -> Any:
            y = forward(*args, **options)
            for x in args:
                if isinstance(x, Tensor) and x.node is not None:
                    _record(rules, y, args, options)
                    break
            return y

    if recorded_by := getattr(forward, "recorded_by", None):  # a kernel that calls `record` itself
        apply = recorded_by(record)
    apply = wraps(forward)(apply)
    apply.vjp, apply.vjp_into, apply.vjp_all = rules.vjp, rules.vjp_into, rules.vjp_all
    apply.rules, apply.forward = rules, forward
    return apply


def _record(rules: Rules, y: Any, args: Any, options: Any = {}) -> None:  # noqa: B006 (only read)
    """Give the result y, or each of several, of an op its node; what it keeps is in Rules.plan."""
    parents = [a.node if isinstance(a, Tensor) else None for a in args]
    tracked, bit = 0, 1
    for parent in parents:
        if parent is not None:
            tracked |= bit
        bit <<= 1
    if not tracked or (pauses and not mode.recording):
        return
    if rules.variadic:
        args, tracked = (args, *options.values()), 1
    if len(args) < len(rules.arguments):
        rest = slice(len(args), None)
        args += tuple(map(options.get, rules.arguments[rest], rules.defaults[rest]))
    keep_output, keep, mask = rules.plans[tracked]
    node: Any = Node()
    node.rules = rules
    node.parents = parents
    node.age = next_age()
    if keep is True:
        node.saved = args
    elif mask is None:
        node.saved = keep
    else:
        node.saved = tuple([a if k else None for a, k in zip(args, mask)])
    if y.__class__ is tuple:
        node.layout = None
        node.ptr = tuple(map(core.alias, y)) if keep_output else None
        for i, part in enumerate(y):
            part.node = Part(node, i, len(y), part.layout)
        return
    node.layout = y.layout
    if keep_output:
        node.ptr, node.base = y.ptr, y.base
    y.node = node


# ---- the backward pass -----------------------------------------------------------------------


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs`, weighted by `grad_outputs`, with respect to each of `inputs`.

    Nothing is added to any `.grad`.  `inputs` may be leaves or results in between, such as the
    hidden states of a recurrent network.  With create_graph the gradients are themselves
    differentiable.

    >>> import minigrad
    >>> x = minigrad.tensor(3.0, requires_grad=True)
    >>> (dx,) = minigrad.grad(x**3, x, create_graph=True)
    >>> (ddx,) = minigrad.grad(dx, x)
    >>> dx.item(), ddx.item()
    (27.0, 18.0)
    """
    ys = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    xs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    gs = [grad_outputs] if isinstance(grad_outputs, Tensor) else grad_outputs or [None] * len(ys)
    for i, x in enumerate(xs):
        if x.node is None:
            raise ValueError(f"input {i} does not require gradients: nothing was recorded for it")
    keep = create_graph if retain_graph is None else retain_graph
    found = replay(_roots(ys, gs), [x.node for x in xs], keep, create_graph)
    for i, dx in enumerate(found):
        if dx is None and not allow_unused:
            raise ValueError(f"input {i} was not used to compute the outputs (see allow_unused)")
    return tuple(found)


def _roots(ys: Sequence[Tensor], gs: Sequence[Tensor | None]) -> dict[Any, Tensor]:
    """{node: the gradient to start from}"""
    roots: dict[Any, Tensor] = {}
    for y, g in zip(ys, gs):
        if y.node is None:
            raise RuntimeError(
                "this tensor was not computed from one that requires gradients, or was computed "
                "under no_grad: there is nothing to go back through"
            )
        if g is None:
            if y.layout.size != 1:
                raise ValueError(
                    f"backward from a tensor of shape {list(y.shape)} needs its gradient: pass one of "
                    f"the same shape, or reduce the tensor to a number first, for example with .sum()"
                )
            if y.layout.shape == () and y.layout.code <= core.F64:  # as a loss: ten times as fast
                g = core.scalar(1.0, y.layout.code)  # noqa: PLW2901
            else:
                g = core.from_numpy(np.ones(y.shape, y.dtype))  # noqa: PLW2901
        elif (g.shape, g.dtype) != (y.shape, y.dtype):
            raise ValueError(f"gradient {core.describe(g)} for a tensor {core.describe(y)}")
        roots[y.node] = roots[y.node] + g if y.node in roots else g
    return roots


# The operators of Tensor are ops: the one import that points upward.
from . import ops  # noqa: E402, F401
