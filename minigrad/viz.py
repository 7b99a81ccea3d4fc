"""What was recorded, to look at: the graph as text, or as a drawing by Graphviz.

>>> import minigrad
>>> from minigrad import nn, viz
>>> cell = nn.RNNCell(2, 3, bias=False)
>>> y, state = nn.Recurrent(cell, fused=False)(minigrad.zeros(2, 1, 2))
>>> print(viz.graph(y.sum(), cell))
0   W        [2, 3]
1   U        [3, 3]
2   matmul   [2, 3]     · W
3   reshape  [2, 1, 3]  #2
4   unbind              #3
5   matmul   [1, 3]     · U
6   add      [1, 3]     #4.0 #5
7   tanh     [1, 3]     #6
8   matmul   [1, 3]     #7 U
9   add      [1, 3]     #4.1 #8
10  tanh     [1, 3]     #9
11  stack    [2, 1, 3]  #7 #10
12  sum      []         #11

A layer with a kernel is one op; `fused=False` shows its time steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .autograd import Tensor
from .nn.module import Module
from .tape import Leaf, Part

#: ops whose own name is that of a kernel
_SPOKEN = {"_nn": "matmul", "_nt": "matmul_nt", "_tn": "matmul_tn", "_affine": "linear"}


def graph(
    outputs: Tensor | Iterable[Tensor], module: Module | None = None, **names: Tensor
) -> Graph:
    """The graph behind `outputs`, as far as it is tracked; before `backward`, which frees it.

    Leaves go by the names that they have in `module`, or that are given here.  ValueError where
    nothing was recorded.
    """
    ys = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    if not ys or any(y.node is None for y in ys):
        raise ValueError("graph: an output is not tracked: there is nothing to show")
    known = dict(module.named_parameters()) if module is not None else {}
    return Graph(ys, {**known, **names})


class Graph:
    """Leaves first, then ops in the order in which they were recorded; see `graph`.

    str(…): a line for each, with what it was computed from: #i is the result of line i, #i.k its k-th
    one, a name a leaf, · an argument that is not tracked.
    """

    def __init__(self, outputs: list[Tensor], names: dict[str, Tensor]) -> None:
        self._names = {x.node: name for name, x in names.items() if x.node is not None}
        seen: dict[Any, None] = {}  # in the order in which they are found
        stack = [_whole(y.node) for y in outputs]
        while stack:
            node = stack.pop()
            if node not in seen:
                seen[node] = None
                stack += [_whole(p) for p in node.parents if p is not None]
        leaves = [node for node in seen if isinstance(node, Leaf)]
        order = {node: k for k, node in enumerate(self._names)}
        leaves.sort(key=lambda node: order.get(node, len(order)))
        ops: list[Any] = [node for node in seen if not isinstance(node, Leaf)]
        ops.sort(key=lambda node: -node.age)
        self.nodes: list[Any] = [*leaves, *ops]
        self._line = {node: i for i, node in enumerate(self.nodes)}

    def uses(self, x: Tensor) -> int:
        """How many ops read x: the gradient of x is the sum over these uses."""
        return sum(parent is x.node for node in self.nodes for parent in node.parents)

    def _label(self, node: Any) -> str:
        if isinstance(node, Leaf):
            return self._names.get(node, "leaf")
        name = node.rules.name
        return _SPOKEN.get(name, name.strip("_"))

    def _reference(self, node: Any) -> str:
        if node is None:
            return "·"
        whole = f"#{self._line[_whole(node)]}"
        return f"{whole}.{node.index}" if isinstance(node, Part) else self._names.get(node, whole)

    def __str__(self) -> str:
        rows = []
        for i, node in enumerate(self.nodes):
            args = " ".join(map(self._reference, node.parents)).rstrip(" ·")
            rows.append((str(i), self._label(node), _shape(node), args))
        widths = [max(len(row[k]) for row in rows) for k in range(3)]
        return "\n".join(
            "  ".join([*(f"{part:{w}}" for part, w in zip(row, widths)), row[3]]).rstrip()
            for row in rows
        )

    def dot(self) -> str:
        """The same for Graphviz: leaves are boxes, ops ellipses, arrows go as the data went."""
        lines = ["digraph {", "  rankdir=LR"]
        for i, node in enumerate(self.nodes):
            shape = "box" if isinstance(node, Leaf) else "ellipse"
            lines.append(f'  {i} [shape={shape}, label="{self._label(node)} {_shape(node)}"]')
        lines += [
            f"  {self._line[_whole(parent)]} -> {i}"
            for i, node in enumerate(self.nodes)
            for parent in node.parents
            if parent is not None
        ]
        return "\n".join([*lines, "}"])


def _whole(node: Any) -> Any:
    """The op that gave this result."""
    return node.parents[0] if isinstance(node, Part) else node


def _shape(node: Any) -> str:
    return "" if node.layout is None else str(list(node.layout.shape))
