"""What recording costs: chains of 100 small ops, where the arithmetic is next to nothing."""

from __future__ import annotations

import operator
from functools import partial
from typing import Any, Callable

import numpy as np

import minigrad

from .engines import torch, triple
from .harness import Bench, Calls

LENGTH, SIZE = 100, 8
FORWARD, BOTH = 0.6, 0.4  # the targets of issue 2

Step = Callable[[Any, Any], Any]
STEPS: dict[str, tuple[Step, Step]] = {  # y ← step(y, b) in minigrad and in torch
    "mul": (operator.mul, operator.mul),
    "add": (operator.add, operator.add),
    "tanh": (lambda y, _: y.tanh(), lambda y, _: y.tanh()),
    "sigmoid": (lambda y, _: minigrad.sigmoid(y), lambda y, _: torch.sigmoid(y)),
    "matmul": (operator.matmul, operator.matmul),
}


def chain(step: Step, a: Any, b: Any) -> Any:
    """y ← step(y, b), LENGTH times, from y = a."""
    y = a
    for _ in range(LENGTH):
        y = step(y, b)
    return y


def there_and_back(step: Step, a: Any, b: Any, g: Any) -> None:
    """The chain's y, and g's way back to a.grad and b.grad."""
    chain(step, a, b).backward(g)


def chains(name: str) -> tuple[Calls, Calls]:
    """The chain, and the chain and its backward pass, in both libraries; a and b are tracked."""
    # numbers that stay near 1 along the chain: denormal ones would be timed otherwise
    b = 1 / SIZE if name == "matmul" else 1.0
    starts = [np.full((SIZE, SIZE), value, np.float32) for value in (0.99, b, 1.0)]
    forward: dict[str, Callable[[], Any]] = {}
    both: dict[str, Callable[[], Any]] = {}
    for engine, step, tensors in zip(("minigrad", "torch"), STEPS[name], zip(*map(triple, starts))):
        x, w, g = tensors
        x.requires_grad, w.requires_grad = True, True
        forward[engine] = partial(chain, step, x, w)
        both[engine] = partial(there_and_back, step, x, w, g)
    return forward, both


def run(bench: Bench) -> None:
    """Time against torch eager, one thread; gradients add up in place from chain to chain."""
    for name in STEPS:
        forward, both = chains(name)
        case = f"{SIZE}x{SIZE} {name}, {LENGTH} times"
        bench.measure(f"{case}: forward", forward, 1, {"torch": FORWARD})
        bench.measure(f"{case}: forward and backward", both, 1, {"torch": BOTH})
