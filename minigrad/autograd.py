"""Reverse-mode automatic differentiation: record what is computed, then replay it backwards.

The whole engine is in this file.  It knows neither C nor any particular operation.

* An **op** is a function of arrays with one rule per argument (`op`, below).  Calling it computes the
  result; if an argument is tracked, it also records a `Node`.
* A **node** refers to the nodes of the arguments and keeps exactly those arrays which the rules name.
  It does not refer to its own result, so there is no reference cycle: when the last tensor that needs
  a graph goes, the graph goes with it.
* **`grad`** visits the nodes from the youngest to the oldest.  That is the chain rule's order, since
  whatever used a result was recorded after it.  There is no recursion: a chain of 100 000 steps, such
  as a recurrent network on a long text, is a loop like any other.

Rules are written with tensors, so the backward pass is itself differentiable: `create_graph=True`
records it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Sequence
from functools import wraps
from heapq import heapify, heappop, heappush, heappushpop
from inspect import Parameter
from itertools import count
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
)

import numpy as np

from . import core
from .rules import Rules, of, same  # noqa: F401 (ops are written with these)

OUTPUT, SAME = Rules.OUTPUT, Rules.SAME
_age = count(0, -1).__next__  # of nodes and in-place writes: the younger, the smaller


class _Mode(threading.local):
    recording = True  # per thread: one may evaluate while another trains


_mode = _Mode()
_pauses = 0  # in all threads: while it is 0, _mode, which takes 30 ns to read, need not be asked
_pauses_lock = threading.Lock()


def _set_recording(value: bool, pauses: int) -> bool:
    """Record in this thread, or do not; returns what was before."""
    global _pauses
    with _pauses_lock:
        _pauses += pauses
    before, _mode.recording = _mode.recording, value
    return before


_last_write = 1  # the age of the youngest in-place write


def written(x: Tensor) -> None:
    """Note that `x` was written in place: a node that still needs what it held will refuse."""
    global _last_write
    x.written = _last_write = _age()


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
        self.before = _set_recording(self.recording, 1)

    def __exit__(self, *_: object) -> None:
        _set_recording(self.before, -1)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
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
    return _mode.recording


# ---- what the tape is made of ----------------------------------------------------------------


class Leaf:
    """The node of a tensor that the user made with requires_grad=True: where a gradient ends up."""

    __slots__ = ("grad", "layout")
    parents: tuple[Any, ...] = ()

    def __init__(self, layout: core.Layout) -> None:
        self.layout = layout
        self.grad: Tensor | None = None

    def add(self, g: Tensor, fresh: bool, create_graph: bool) -> None:
        """grad += g.  `fresh`: nobody else uses the memory of g, so it may be kept."""
        if create_graph:
            self.grad = g if self.grad is None else self.grad + g
        elif self.grad is None:
            self.grad = g if fresh and g.layout.strides is None else core.astype(g, g.layout.code)
        else:
            core.add_into(self.grad, g)


class Node(core.Array):
    """One recorded application of an op.

    If a rule reads the op's result, the node is the array of that result as well, so that it need not
    refer to the tensor, which refers to it.  (If there are several: `ptr` is a tuple of such arrays,
    `layout` is None.)
    """

    __slots__ = ("age", "parents", "rules", "saved")
    rules: Rules
    parents: Sequence[Any]  #: the node of each argument, None where that is not tracked
    saved: Any  #: the arguments, None in place of those that no rule reads
    age: int  #: the younger, the smaller; FREED once what was saved is gone


class Part:
    """The node of one of the results of an op that has several: an entry in that op's gradient."""

    __slots__ = ("age", "count", "index", "layout", "parents")
    rules = None

    def __init__(self, whole: Node, index: int, count: int, layout: core.Layout) -> None:
        self.parents = (whole,)
        self.index, self.count, self.layout = index, count, layout
        self.age = _age()


FREED = sys.maxsize


class Tensor(core.Array):
    """An array that remembers how it was computed.

    Made by `tensor`, `zeros`, `randn`, `from_numpy` …, or by an op.  Its operators and methods are the
    ops of `minigrad.ops`, under the names that PyTorch gives them.
    """

    __slots__ = ("__weakref__", "node", "written")
    node: Any  #: a Leaf, a Node, a Part, or None: not tracked
    written: int  #: the age of its last in-place write; unset if there was none
    __array_ufunc__ = None  # ndarray + tensor: leave it to the tensor

    if TYPE_CHECKING:  # ops are attached by minigrad/ops/__init__.py

        def __getattr__(self, name: str) -> Any: ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = (
            __rtruediv__
        ) = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __lt__ = __le__ = __gt__ = __ge__ = (
            lambda *_: Any
        )

        def __neg__(self) -> Tensor: ...
        def __getitem__(self, key: Any) -> Tensor: ...

    __hash__ = object.__hash__

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
        return core.alias(self)  # type: ignore[no-any-return]

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add d(self)/d(leaf) to the `.grad` of every leaf that this tensor was computed from.

        `gradient` is the gradient of the final scalar with respect to this tensor; it may be left out
        if this tensor is that scalar.  The graph is freed unless retain_graph (or create_graph) is set.

        >>> import minigrad
        >>> x = minigrad.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
        """
        roots = _roots([self], [gradient])
        keep = create_graph if retain_graph is None else retain_graph
        _replay(roots, None, keep, create_graph)


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

    # Three times the same; the first two save 200 ns where an op has one or two arguments.
    if len(names) == 1 and not rules.variadic:

        def apply(x: Any) -> Any:
            y = forward(x)
            if x.node is not None and (not _pauses or _mode.recording):
                _record(rules, y, (x,), (x.node,), 1)
            return y

    elif len(names) == 2 and not rules.variadic and rules.defaults == [Parameter.empty] * 2:

        def apply(a: Any, b: Any) -> Any:
            y = forward(a, b)
            if not _pauses or _mode.recording:
                try:
                    m, n = a.node, b.node
                except AttributeError:  # one of them is a number
                    m, n = getattr(a, "node", None), getattr(b, "node", None)
                if m is not None:
                    _record(rules, y, (a, b), (m, n), 1 if n is None else 3)
                elif n is not None:
                    _record(rules, y, (a, b), (m, n), 2)
            return y

    else:

        def apply(*args: Any, **options: Any) -> Any:
            y = forward(*args, **options)
            if not _pauses or _mode.recording:
                parents = [a.node if isinstance(a, Tensor) else None for a in args]
                tracked = sum(1 << i for i, node in enumerate(parents) if node is not None)
                if tracked:
                    if rules.variadic:
                        args, tracked = (args, *options.values()), 1
                    rest = slice(len(args), None)
                    args += tuple(map(options.get, names[rest], rules.defaults[rest]))
                    _record(rules, y, args, parents, tracked)
            return y

    apply = wraps(forward)(apply)
    apply.vjp, apply.vjp_into, apply.vjp_all = rules.vjp, rules.vjp_into, rules.vjp_all
    apply.rules, apply.forward = rules, forward
    return apply


def _record(rules: Rules, y: Any, args: Any, parents: Any, tracked: int) -> None:
    """Give the result y of an op its node; `tracked` is the bit set of the arguments that have one."""
    node = Node()
    node.rules = rules
    node.parents = parents
    keep_output, keep, mask = rules.plans[tracked]
    if keep is True:
        node.saved = args
    elif mask is None:
        node.saved = keep
    else:
        node.saved = tuple([a if k else None for a, k in zip(args, mask)])
    node.age = _age()
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


# ---- the backward pass ----------------------------------------------------------------------------


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs`, weighted by `grad_outputs`, with respect to each of `inputs`.

    Nothing is added to any `.grad`.  `inputs` may be leaves or results in between, such as the hidden
    states of a recurrent network.  With create_graph the gradients are themselves differentiable.

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
    found = _replay(_roots(ys, gs), [x.node for x in xs], keep, create_graph)
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
            g = core.from_numpy(np.ones(y.shape, y.dtype))
        elif (g.shape, g.dtype) != (y.shape, y.dtype):
            raise ValueError(f"gradient {core.describe(g)} for a tensor {core.describe(y)}")
        roots[y.node] = roots[y.node] + g if y.node in roots else g  # type: ignore[operator]
    return roots


def _between(roots: Iterable[Any], wanted: Sequence[Any]) -> set[Any]:
    """The nodes on the ways from the roots to the wanted nodes."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    useful = set(wanted)
    for node in sorted(seen.difference(wanted), key=lambda n: -getattr(n, "age", 1)):
        if not useful.isdisjoint(node.parents):
            useful.add(node)
    return useful


def _replay(
    roots: dict[Any, Any], wanted: list[Any] | None, keep: bool, create_graph: bool
) -> list[Tensor | None]:
    """Send gradients from the roots back, into the leaves (wanted None) or to the nodes wanted.

    Always the youngest node that has a gradient is next: whatever used its result is younger still,
    so its gradient is complete.
    """
    useful = None if wanted is None else _between(roots, wanted)
    grads = dict(roots)
    found: dict[Any, Any] = {}  # the gradients of wanted nodes
    fresh = set()  # nodes whose gradient is memory of its own, and so may be added to in place
    ready = [(node.age, node) for node in roots if node.__class__ is not Leaf]
    heapify(ready)
    add_into = core.add_into
    before = _set_recording(create_graph, 1)
    try:
        node = heappop(ready)[1] if ready else None
        while node is not None:
            g = grads.pop(node)
            if wanted is not None and node in wanted:
                found[node] = g
            rules, waiting = node.rules, None
            if rules is None:  # a part: its gradient is an entry in that of the whole
                (whole,) = node.parents
                if whole not in grads:
                    grads[whole] = [None] * node.count
                    waiting = whole
                grads[whole][node.index] = g
                rows = ()
            else:
                if _last_write < node.age:
                    _check_saved(node)
                saved = node.saved
                y = _output(node) if create_graph else node
                rows = rules.rows if create_graph else rules.bare
                if rows is None:
                    rows = _jointly(node, g, useful)
            for parent, (f, k, into, into_k) in zip(node.parents, rows):
                if parent is None or (useful is not None and parent not in useful):
                    continue
                total = grads.get(parent)
                if total is not None and into is not None and parent in fresh:
                    if into_k >= 0:
                        into(total, g, saved[into_k])
                    else:
                        into(total, g, parent.layout.shape, _output(node), saved)
                    continue
                if k >= 0:
                    dx = f(g, saved[k])
                elif k == SAME:
                    dx = g
                elif k == OUTPUT:
                    dx = f(g, y)
                else:
                    dx = f(g, parent.layout.shape, _output(node), saved)
                if dx.layout is not parent.layout and dx.layout.shape != parent.layout.shape:
                    dx = dx.sum_to(parent.layout.shape)  # the argument was broadcast
                if total is None:
                    grads[parent] = dx
                    if into is not None and not create_graph:
                        fresh.add(parent)
                    if parent.__class__ is not Leaf:
                        if waiting is not None:
                            heappush(ready, (waiting.age, waiting))
                        waiting = parent
                elif parent in fresh:
                    add_into(total, dx)
                else:
                    grads[parent] = total + dx
                    if not create_graph:
                        fresh.add(parent)
            if not keep and rules is not None and saved:
                node.saved = node.ptr = node.base = None
                node.age = FREED
            # One node stays in hand: in a chain it is the next, and the heap is never used.
            if waiting is None:
                node = heappop(ready)[1] if ready else None
            elif not ready or waiting.age < ready[0][0]:
                node = waiting
            else:
                node = heappushpop(ready, (waiting.age, waiting))[1]
    finally:
        _set_recording(before, -1)
    if wanted is not None:
        return [found.get(node, grads.get(node)) for node in wanted]
    for node, g in grads.items():
        node.add(g, node in fresh, create_graph)
    return []


def _collect(part: Part, g: Any, grads: dict[Any, Any], ready: list[Any]) -> None:
    """Put the gradient of one result of an op with several into the list of them all."""
    (whole,) = part.parents
    if whole not in grads:
        grads[whole] = [None] * part.count
        heappush(ready, (whole.age, whole))
    gs, i = grads[whole], part.index  # a result may have two parts: its own and an attached one
    gs[i] = g if gs[i] is None else gs[i] + g


def _jointly(node: Node, g: Any, useful: set[Any] | None) -> list[Any]:
    """What the joint rule of an op gives, in the form of one rule per argument."""
    tracked = tuple(p is not None and (useful is None or p in useful) for p in node.parents)
    gradients = node.rules.joint(g, tracked, _output(node), node.saved)
    for dx, wanted in zip(gradients, tracked):
        if wanted and dx is None:
            raise TypeError(f"{node.rules.name}: its rule gave no gradient for a tracked argument")
    return [(lambda *_, dx=dx: dx, Rules.GENERAL, None, 0) for dx in gradients]


def _output(node: Node) -> Any:
    """The result of `node` as a tensor that refers to it: second derivatives go through it as well."""
    if getattr(node, "ptr", None) is None:  # it was not saved: no rule reads it
        return None
    if node.layout is not None:
        y = core.alias(node)
        y.node = node
        return y
    ys = tuple(map(core.alias, node.ptr))
    for i, y in enumerate(ys):
        y.node = Part(node, i, len(ys), y.layout)
    return ys


def _check_saved(node: Node) -> None:
    """Refuse if what the rules read was freed, or was written in place after it was read."""
    name = node.rules.name
    if node.age == FREED:
        raise RuntimeError(
            f"backward a second time through {name}, whose saved arrays were freed by the first: pass "
            f"retain_graph=True there; or, if a hidden state from an earlier batch is still attached "
            f"to its graph, detach() it (truncated BPTT)"
        )
    for a in node.saved:
        if isinstance(a, Tensor) and getattr(a, "written", 1) < node.age:
            raise RuntimeError(
                f"{core.describe(a)}, needed for the gradient of {name}, was written in place after it "
                f"was used, for example by an optimiser step: go backward before that"
            )


# The operators of Tensor are ops: the one import that points upward.
from . import ops  # noqa: F401
