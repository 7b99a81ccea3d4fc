"""The backward pass: gradients sent from the youngest node to the oldest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from . import core, tape
from .rules import Rules
from .tape import Leaf, Node, Part, end_recording, set_recording

OUTPUT, GIVEN = Rules.OUTPUT, Rules.GIVEN


def replay(
    roots: dict[Any, Any], wanted: list[Any] | None, keep: bool, create_graph: bool
) -> list[Any]:
    """Send gradients from the roots back, into the leaves (wanted None) or to the nodes wanted.

    Always the youngest node that has a gradient is next: whatever used its result is younger still,
    so its gradient is complete.
    """
    useful = None if wanted is None else _between(roots, wanted)
    grads = dict(roots)
    targets, found = set(wanted or ()), {}  # wanted nodes, and their gradients
    fresh = set()  # nodes whose gradient is memory of its own, and so may be added to in place
    ready = [(node.age, node) for node in roots if node.__class__ is not Leaf]
    heapify(ready)
    add_into, last_write = core.add_into, tape.last_write()
    before = set_recording(create_graph)
    try:
        # One node stays in hand, `waiting` with its gradient `held`: in a chain it is the next, and
        # neither the heap nor the dict is used.
        waiting, held = (heappop(ready)[1], None) if ready else (None, None)
        while waiting is not None:
            node, g = waiting, held
            if g is None:
                g = grads.pop(node)
            waiting = held = None
            if node in targets:
                found[node] = g
            rules, saved = node.rules, node.saved
            rows: Any = ()
            if rules is None:  # a part: its gradient is an entry in that of the whole
                waiting = _collect(node, g, grads)
            else:
                if saved is None or last_write < node.age:
                    _check_saved(node)
                y = _output(node) if create_graph else node
                rows = rules.rows if create_graph else rules.bare
                if rows is None and rules.joint is None:
                    rules.write_rows()
                    rows = rules.rows if create_graph else rules.bare
                elif rows is None:
                    rows = _jointly(node, g, useful)
            for parent, (f, k, into, into_k) in zip(node.parents, rows):
                if parent is None or (useful is not None and parent not in useful):
                    continue
                total = held if parent is waiting else grads.get(parent)
                if total is not None and into is not None and parent in fresh:
                    if into_k >= 0:
                        into(total, g, saved[into_k])
                    elif into_k == GIVEN:
                        into(total, f)
                    else:
                        into(total, g, parent.layout.shape, _output(node), saved)
                    continue
                if k >= 0:
                    dx = f(g, saved[k])
                elif k == GIVEN:
                    dx = f
                elif f is None:
                    dx = g
                elif k == OUTPUT:
                    dx = f(g, y)
                else:
                    dx = f(g, parent.layout.shape, _output(node), saved)
                if dx.layout is not parent.layout and dx.layout.shape != parent.layout.shape:
                    dx = dx.sum_to(parent.layout.shape)  # the argument was broadcast
                if total is None:
                    if parent.__class__ is Leaf:
                        grads[parent] = dx
                        if into is not None and not create_graph:
                            fresh.add(parent)
                        continue
                    if waiting is not None:
                        grads[waiting] = held
                        heappush(ready, (waiting.age, waiting))
                    waiting, held = parent, dx
                elif parent in fresh:
                    add_into(total, dx)
                else:
                    dx = total + dx
                    if not create_graph:
                        fresh.add(parent)
                    if parent is waiting:
                        held = dx
                    else:
                        grads[parent] = dx
            if saved and not keep:
                node.saved = node.ptr = None
            if ready and (waiting is None or ready[0][0] < waiting.age):
                if waiting is not None:
                    if held is not None:
                        grads[waiting] = held
                    heappush(ready, (waiting.age, waiting))
                waiting, held = heappop(ready)[1], None
    finally:
        end_recording(before)
    if wanted is not None:
        return [found.get(node, grads.get(node)) for node in wanted]
    for node, g in grads.items():
        node.add(g, node in fresh, create_graph)
    return []


def _collect(part: Part, g: Any, grads: dict[Any, Any]) -> Node | None:
    """Put the gradient of one result of an op with several into the list of them all.

    Returns the node of the op if it is new in `grads`.
    """
    (whole,) = part.parents
    gs = grads.setdefault(whole, [None] * part.count)
    new = all(entry is None for entry in gs)
    i = part.index  # a result may have two parts: its own and an attached one
    gs[i] = g if gs[i] is None else gs[i] + g
    return whole if new else None


def _jointly(node: Node, g: Any, useful: set[Any] | None) -> list[Any]:
    """What the joint rule of an op gives, in the form of one rule per argument."""
    rules, parents = node.rules, node.parents
    if useful is None:
        tracked = [p is not None for p in parents]
    else:
        tracked = [p is not None and p in useful for p in parents]
    gradients = rules.joint(g, tracked, _output(node), node.saved)
    add = core.add_into if rules.fresh else None
    rows = []
    for dx, wanted in zip(gradients, tracked):
        if dx is None and wanted:
            raise TypeError(f"{rules.name}: its rule gave no gradient for a tracked argument")
        rows.append((dx, GIVEN, add, GIVEN))
    return rows


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
    """Refuse if what the rules read was freed, or was written in place after the node was made.

    They read arguments, the result, and what an argument that is no array keeps for them: it lists
    that in `kept()`.
    """
    name = node.rules.name
    if node.saved is None:
        raise RuntimeError(
            f"backward a second time through {name}, whose saved arrays were freed by the first: pass "
            f"retain_graph=True there; or, if a hidden state from an earlier batch is still attached "
            f"to its graph, detach() it (truncated BPTT), or let nn.Stateful keep it"
        )
    arguments = (node.saved[0] or ()) if node.rules.variadic else node.saved
    for a in arguments:
        if isinstance(a, core.Array) and tape.written_since(a, node.age):
            raise RuntimeError(
                f"{core.describe(a)}, needed for the gradient of {name}, was written in place after it "
                f"was used, for example by an optimiser step: go backward before that"
            )
    results: list[Any] = [a for owner in node.saved if hasattr(owner, "kept") for a in owner.kept()]
    if getattr(node, "ptr", None) is not None:
        results += [node] if node.layout is not None else node.ptr
    for y in results:
        if tape.written_since(y, node.age):
            raise RuntimeError(
                f"{core.describe(y)}, a result of {name} that is needed for its gradient, was written "
                f"in place after it was computed: go backward before that, or write into a clone()"
            )


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
