"""How many ways lead from a result back to a weight: what back-propagation adds up without counting."""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush
from typing import Any

from ..autograd import Tensor


def count_paths(y: Tensor, x: Tensor) -> int:
    """The number of paths in the recorded graph from y back to x; 0 where there is none.

    Each use of a tensor as an argument of an op is an edge of its own, so x * x has two.  The chain
    rule has one term per path; autograd goes over each edge once all the same.  In a scalar LSTM with
    the gates written one by one, 1, 5 and 24 paths lead from c_1, c_2 and c_3 to the weight of the
    forget gate, and 30 from h_3.  (MISSION L9)

    RuntimeError if y was not recorded.

    >>> import minigrad
    >>> from minigrad import learn
    >>> x = minigrad.tensor(2.0, requires_grad=True)
    >>> y = x * x
    >>> learn.count_paths(y, x), learn.count_paths(y * y + x, x)
    (2, 5)
    """
    if y.node is None or x.node is None:
        which = "first" if y.node is None else "second"
        raise RuntimeError(
            f"count_paths: nothing was recorded of the {which} tensor: it requires no gradient, or was "
            f"computed under no_grad"
        )
    ways: defaultdict[Any, int] = defaultdict(int)
    ways[y.node] = 1
    queue: list[tuple[float, int, Any]] = []
    _push(queue, y.node)
    while queue:  # the youngest node first: all that use it have been counted
        node = heappop(queue)[2]
        if node is x.node:
            break
        for parent in node.parents:
            if parent is None:
                continue
            if parent not in ways:
                _push(queue, parent)
            ways[parent] += ways[node]
    return ways[x.node]


def _push(queue: list[Any], node: Any) -> None:
    age = getattr(node, "age", 1)  # ages are below 1; leaves are older than all
    heappush(queue, (age, len(queue) if age != 1 else id(node), node))
