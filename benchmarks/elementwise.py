"""Functions of each element, over vectors of 10³ to 10⁷ elements."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, NamedTuple

import numpy as np

import minigrad

from .engines import random, torch, triple
from .harness import Bench, Calls, elements

SIZES = (10**3, 10**4, 10**5, 10**6, 10**7)
FEWER_SIZES = (10**3, 10**5, 10**6)
FEWER = ("add", "mul", "div", "maximum", "sqrt", "exp", "log", "tanh", "sigmoid", "relu")
FLOAT64 = ("add", "div", "exp", "log", "tanh", "sigmoid")  # the few for which float64 is timed, too
LARGE = 10**6  # from here on fresh memory costs as much as the work: torch into given memory, too
TARGET, TARGET_SIGMOID = 1.0, 1 / 1.3  # of issue 2


class Case(NamedTuple):
    """An op: how many tensors it takes, whether they must be positive, and how NumPy says it."""

    arguments: int
    positive: bool
    numpy: Callable[..., Any] | None


# sqrt, log and powers of negative numbers would time the way of NaN
OPS = {
    "add": Case(2, False, np.add),
    "sub": Case(2, False, np.subtract),
    "mul": Case(2, False, np.multiply),
    "div": Case(2, True, np.divide),
    "pow": Case(2, True, np.power),
    "maximum": Case(2, False, np.maximum),
    "minimum": Case(2, False, np.minimum),
    "lt": Case(2, False, np.less),
    "eq": Case(2, False, np.equal),
    "neg": Case(1, False, np.negative),
    "abs": Case(1, False, np.absolute),
    "sign": Case(1, False, np.sign),
    "exp": Case(1, False, np.exp),
    "expm1": Case(1, False, np.expm1),
    "log": Case(1, True, np.log),
    "log1p": Case(1, True, np.log1p),
    "sqrt": Case(1, True, np.sqrt),
    "square": Case(1, False, np.square),
    "reciprocal": Case(1, True, np.reciprocal),
    "sin": Case(1, False, np.sin),
    "cos": Case(1, False, np.cos),
    "tanh": Case(1, False, np.tanh),
    "sigmoid": Case(1, False, lambda x: 1 / (1 + np.exp(-x))),
    "relu": Case(1, False, lambda x: np.maximum(x, 0)),
    "leaky_relu": Case(1, False, None),
    "elu": Case(1, False, None),
    "gelu": Case(1, False, None),
    "softplus": Case(1, False, None),
    "logsigmoid": Case(1, False, None),
    "clip": Case(1, False, lambda x: np.clip(x, -1, 1)),
    "where": Case(2, False, None),  # see calls()
}


def calls(name: str, n: int, dtype: Any) -> Calls:
    """The op in each library, on tensors [n] of its own."""
    case = OPS[name]
    data = [random(n, dtype=dtype, seed=seed) * dtype(2) for seed in range(case.arguments)]
    if case.positive:
        data = [np.abs(x) + dtype(0.1) for x in data]
    ours, theirs, arrays = (list(side) for side in zip(*map(triple, data)))
    f, of_torch, of_numpy = getattr(minigrad, name), getattr(torch, name, None), case.numpy
    if name == "where":
        for side in (ours, theirs, arrays):
            side.insert(0, side[0] > 0)
        of_numpy = np.where
    if name == "clip":
        f, of_torch = partial(f, min=-1, max=1), partial(torch.clip, min=-1, max=1)
    of_torch = of_torch or getattr(torch.nn.functional, name)
    result = {"minigrad": partial(f, *ours), "torch": partial(of_torch, *theirs)}
    if n >= LARGE and name in FEWER and name != "relu":  # torch.relu has no out=
        result["torch out="] = partial(of_torch, *theirs, out=torch.empty_like(theirs[0]))
    if of_numpy is not None:
        result["numpy"] = partial(of_numpy, *arrays)
    return result


def run(bench: Bench) -> None:
    """Time against torch's and NumPy's functions, results in new memory; targets are for both."""
    for threads in bench.threads:
        for dtype in (np.float32, np.float64):
            for name in FEWER if bench.quick else OPS:
                if dtype is np.float64 and (name not in FLOAT64 or bench.quick):
                    continue
                for n in FEWER_SIZES if bench.quick else SIZES:
                    libraries = calls(name, n, dtype)
                    target = TARGET_SIGMOID if name == "sigmoid" else TARGET
                    targets = {peer: target for peer in ("torch", "numpy") if peer in libraries}
                    case = f"{np.dtype(dtype).name} {name} {elements(n)}"
                    bench.measure(case, libraries, threads, targets, check=n <= 10**5)
