"""Sums, maxima, softmax, normalisation, cross-entropy: without a target, but in every training."""

from __future__ import annotations

from functools import partial

import numpy as np

import minigrad
from minigrad.nn import functional as F

from .engines import random, torch, triple
from .harness import Bench, Calls, elements

VECTORS = (10**3, 10**5, 10**7)
MATRICES = ((64, 64), (2048, 100), (2048, 1000))  # rows, classes; 2048 = 32 · 64 characters


def over_all(n: int) -> dict[str, Calls]:
    """Reductions of [n] to one number."""
    x, X, x_ = triple(random(n))
    ops = (("sum", "sum"), ("max", "max"), ("var", None), ("logsumexp", None))
    cases: dict[str, Calls] = {}
    for name, of_numpy in ops:
        options = {"dim": 0} if name == "logsumexp" else {}
        cases[name] = {
            "minigrad": partial(getattr(minigrad, name), x, **options),
            "torch": partial(getattr(torch, name), X, **options),
        }
        if of_numpy:
            cases[name] = {**cases[name], "numpy": partial(getattr(np, of_numpy), x_)}
    return cases


def over_axes(rows: int, classes: int) -> dict[str, Calls]:
    """Reductions of [rows, classes] along an axis, and functions of each row."""
    x, X, x_ = triple(random(rows, classes))
    t, T, _ = triple(np.arange(rows) % classes)
    f = torch.nn.functional
    return {
        "sum dim=0": {
            "minigrad": partial(minigrad.sum, x, 0),
            "torch": partial(torch.sum, X, 0),
            "numpy": partial(np.sum, x_, 0),
        },
        "sum dim=1": {
            "minigrad": partial(minigrad.sum, x, 1),
            "torch": partial(torch.sum, X, 1),
            "numpy": partial(np.sum, x_, 1),
        },
        "argmax dim=1": {
            "minigrad": partial(minigrad.argmax, x, 1),
            "torch": partial(torch.argmax, X, 1),
            "numpy": partial(np.argmax, x_, 1),
        },
        "softmax": {"minigrad": partial(F.softmax, x, -1), "torch": partial(f.softmax, X, -1)},
        "log_softmax": {
            "minigrad": partial(F.log_softmax, x, -1),
            "torch": partial(f.log_softmax, X, -1),
        },
        "layer_norm": {
            "minigrad": partial(F.layer_norm, x, (classes,)),
            "torch": partial(f.layer_norm, X, (classes,)),
        },
        "cross_entropy": {
            "minigrad": partial(F.cross_entropy, x, t),
            "torch": partial(f.cross_entropy, X, T),
        },
    }


def run(bench: Bench) -> None:
    """Time against torch and, where it has the function, NumPy."""
    for threads in bench.threads:
        for n in VECTORS[1:2] if bench.quick else VECTORS:
            for name, libraries in over_all(n).items():
                case = f"{name} {elements(n)}"
                bench.measure(case, libraries, threads, check=n <= 10**5)
        for rows, classes in MATRICES[1:2] if bench.quick else MATRICES:
            for name, libraries in over_axes(rows, classes).items():
                bench.measure(f"{name} {rows}x{classes}", libraries, threads, check=True)
