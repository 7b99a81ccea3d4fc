"""A training step of the character model that `minigrad train` trains by default, and its twin."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

import minigrad
from minigrad.model import CharModel
from minigrad.nn import functional as F

from .engines import torch, triple
from .harness import Bench

STEPS, BATCH, VOCABULARY, EMBEDDING, HIDDEN = 64, 32, 100, 64, 256
RATE, CLIP = 4e-3, 1.0


class Twin(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """minigrad.model.CharModel in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, EMBEDDING)
        self.recurrent = torch.nn.LSTM(EMBEDDING, HIDDEN)
        self.linear = torch.nn.Linear(HIDDEN, VOCABULARY)

    def forward(self, x: Any) -> tuple[Any, Any]:
        """Codes [T, N] → scores [T, N, VOCABULARY] and the state."""
        y, state = self.recurrent(self.embedding(x))
        return self.linear(y), state


def step(library: Any, F: Any, model: Any, x: Any, target: Any) -> Callable[[], float]:
    """Forward, loss, backward, clipping and Adam: written once, run in either library."""
    adam = library.optim.Adam(model.parameters(), lr=RATE)

    def one() -> float:
        scores, _ = model(x)
        loss = F.cross_entropy(scores.reshape(-1, VOCABULARY), target)
        adam.zero_grad()
        loss.backward()
        library.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        adam.step()
        return float(loss.item())

    return one


def steps() -> dict[str, Callable[[], float]]:
    """A step of each library, on the same random characters."""
    text = np.random.default_rng(0).integers(VOCABULARY, size=(STEPS + 1, BATCH))
    x, X, _ = triple(text[:-1])
    t, T, _ = triple(text[1:].reshape(-1))
    model = CharModel(VOCABULARY, EMBEDDING, HIDDEN)
    return {
        "minigrad": step(minigrad, F, model, x, t),
        "torch": step(torch, torch.nn.functional, Twin(), X, T),
    }


def run(bench: Bench) -> None:
    """Time against torch's nn.LSTM; no target in issue 2."""
    case = f"LSTM 1x{HIDDEN}, {BATCH} x {STEPS} characters, Adam"
    for threads in bench.threads:
        row = bench.measure(case, steps(), threads)
        row.extra["characters/s"] = BATCH * STEPS / min(row.times["minigrad"])
