"""The recorded graph, shown: unrolled networks, and what sharing a weight means."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from cell_table import Kind, every_kind, leaf, weighted
from draw import seeded

import minigrad as mg
from minigrad import nn, viz


@every_kind
@pytest.mark.parametrize("steps", [1, 3])
def test_the_same_parameters_at_every_step(kind: Kind, steps: int) -> None:
    """U is read once per step, W once for the whole sequence; the graph has no others."""
    cell = kind.make(2, 3)
    y, _ = nn.Recurrent(cell, fused=False)(mg.randn(steps, 2, 2, dtype="float64"))
    one, _ = nn.Recurrent(cell, fused=False)(mg.randn(1, 2, 2, dtype="float64"))
    shown, step = viz.graph(y, cell), viz.graph(one, cell)
    assert shown.uses(cell.W) == 1
    assert step.uses(cell.U) == 1
    assert shown.uses(cell.U) == steps
    names = set(re.findall(r"^\d+ +(\w+)", str(shown), re.MULTILINE))
    assert set(dict(cell.named_parameters())) <= names


@every_kind
def test_the_gradient_of_a_shared_weight_is_the_sum_over_its_uses(kind: Kind) -> None:
    """Unrolled with a copy of every parameter for each step: the gradients of the copies add up."""
    cell, draw, steps = kind.make(2, 3), seeded(0), 4
    x = draw.normal(steps, 2, 2)
    y, _ = nn.Recurrent(cell)(mg.from_numpy(x))
    shared = mg.grad(weighted(y), list(cell.parameters()))
    copies, ys = [], []
    state = cell.initial(2)
    for t in range(steps):
        own = kind.make(2, 3)
        own.load_state_dict(cell.state_dict())
        out, state = own.advance(own.project(mg.from_numpy(x[t])), state)
        copies.append(own)
        ys.append(out)
    loss = weighted(mg.stack(ys))
    uses = [mg.grad(loss, list(own.parameters()), retain_graph=True) for own in copies]
    for k, total in enumerate(shared):
        np.testing.assert_allclose(total.numpy(), sum(u[k].numpy() for u in uses), atol=1e-12)


def test_the_text() -> None:
    x, w = leaf(np.ones((2, 3))), leaf(np.ones((3, 2)))
    a, b = (x @ w).chunk(2, -1)
    assert str(viz.graph([a * b, a.sum()], w=w)) == (
        "0  w       [3, 2]\n"
        "1  leaf    [2, 3]\n"
        "2  matmul  [2, 2]  #1 w\n"
        "3  split           #2\n"
        "4  mul     [2, 1]  #3.0 #3.1\n"
        "5  sum     []      #3.0"
    )
    assert str(viz.graph(x)) == "0  leaf  [2, 3]"


def test_the_drawing() -> None:
    """Every op is a node, every argument that is tracked an arrow."""
    x, w = leaf(np.ones((2, 3))), leaf(np.ones((3, 2)))
    y = (x @ w).tanh()
    assert (
        viz.graph(y * y, x=x, w=w).dot()
        == """digraph {
  rankdir=LR
  0 [shape=box, label="x [2, 3]"]
  1 [shape=box, label="w [3, 2]"]
  2 [shape=ellipse, label="matmul [2, 2]"]
  3 [shape=ellipse, label="tanh [2, 2]"]
  4 [shape=ellipse, label="mul [2, 2]"]
  0 -> 2
  1 -> 2
  2 -> 3
  3 -> 4
  3 -> 4
}"""
    )


def test_nothing_to_show() -> None:
    for y in (mg.ones(2), [leaf(np.ones(2)), mg.ones(2)], []):
        with pytest.raises(ValueError, match="not tracked: there is nothing to show"):
            viz.graph(y)


def test_a_long_chain() -> None:
    """No recursion."""
    y: Any = leaf(np.ones(1))
    for _ in range(3000):
        y = y * 1.0
    assert len(str(viz.graph(y)).splitlines()) == 3001
