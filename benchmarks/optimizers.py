"""One step of an optimiser over the parameters of an LSTM layer."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable

import minigrad

from .engines import random, torch, triple
from .harness import Bench

LAYERS = ((32, 32), (128, 256), (256, 512))  # inputs, hidden: 8 448, 395 264, 1 576 960 parameters
RATE = 1e-6  # the same gradient again and again must not carry the parameters away
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": RATE, "momentum": 0.9},
    "Adam": {"lr": RATE},
    "AdamW": {"lr": RATE},
    "RMSprop": {"lr": RATE},
}
FUSED = ("SGD", "Adam", "AdamW")


def parameters(inputs: int, hidden: int) -> tuple[list[Any], list[Any]]:
    """nn.LSTM's four parameters with gradients, in minigrad and in torch."""
    ours, theirs = [], []
    for shape in ((4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,)):
        p, P, _ = triple(random(*shape))
        g, G, _ = triple(random(*shape, seed=1))
        for parameter, gradient in ((p, g), (P, G)):
            parameter.requires_grad = True
            parameter.grad = gradient
        ours.append(p)
        theirs.append(P)
    return ours, theirs


def run(bench: Bench) -> None:
    """Time against torch's default, foreach=True and fused=True."""
    for threads in bench.threads:
        for name, options in OPTIMIZERS.items():
            for inputs, hidden in LAYERS[1:2] if bench.quick else LAYERS:
                ours, theirs = parameters(inputs, hidden)
                of_torch = partial(getattr(torch.optim, name), theirs, **options)
                calls: dict[str, Callable[[], Any]] = {
                    "minigrad": getattr(minigrad.optim, name)(ours, **options).step,
                    "torch": of_torch().step,
                    "foreach": of_torch(foreach=True).step,
                }
                if name in FUSED:
                    calls["fused"] = of_torch(fused=True).step
                size = sum(p.numel() for p in theirs)
                bench.measure(f"{name}, {size:,} parameters", calls, threads)
