"""A training step of a character model, and its twin in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

import minigrad
from minigrad.model import CharModel
from minigrad.nn import functional as F

from .engines import torch
from .harness import Bench

RATE, CLIP = 4e-3, 1.0


@dataclass(frozen=True)
class Sizes:
    """Of the model and its batches; as they stand, those of `minigrad train`."""

    T: int = 64
    B: int = 32
    vocabulary: int = 100
    embedding: int = 64
    hidden: int = 256
    layers: int = 1

    def __str__(self) -> str:
        return f"LSTM {self.layers}x{self.hidden}, {self.B} x {self.T} characters, clip, Adam"

    def batch(self) -> tuple[Any, Any]:
        """Random characters [T, B], and those that follow, [T · B]."""
        text = np.random.default_rng(0).integers(self.vocabulary, size=(self.T + 1, self.B))
        return text[:-1], text[1:].reshape(-1)


class Twin(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """minigrad.model.CharModel in PyTorch."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(sizes.vocabulary, sizes.embedding)
        self.recurrent = torch.nn.LSTM(sizes.embedding, sizes.hidden, sizes.layers)
        self.linear = torch.nn.Linear(sizes.hidden, sizes.vocabulary)

    def forward(self, x: Any) -> tuple[Any, Any]:
        """Codes [T, N] → scores [T, N, vocabulary] and the state."""
        y, state = self.recurrent(self.embedding(x))
        return self.linear(y), state


def model_like(twin: Any, sizes: Sizes) -> CharModel:
    """minigrad's model with the twin's weights."""
    model = CharModel(sizes.vocabulary, sizes.embedding, sizes.hidden, sizes.layers)
    model.recurrent.load_torch(twin.recurrent.state_dict())
    with minigrad.no_grad():
        model.embedding.weight.copy_(twin.embedding.weight.detach().numpy())
        model.linear.weight.copy_(twin.linear.weight.detach().numpy())
        assert model.linear.bias is not None
        model.linear.bias.copy_(twin.linear.bias.detach().numpy())
    return model


class Step:
    """Forward, loss, backward, clipping and Adam: written once, run in either library."""

    def __init__(self, library: Any, sizes: Sizes) -> None:
        self.library, twin = library, Twin(sizes)
        self.model: Any = model_like(twin, sizes) if library is minigrad else twin
        self.cross_entropy = (F if library is minigrad else torch.nn.functional).cross_entropy
        self.x, self.target = map(library.tensor, sizes.batch())
        self.adam = library.optim.Adam(self.model.parameters(), lr=RATE)

    def run(self) -> float:
        """The loss; gradients are in the parameters."""
        scores, _ = self.model(self.x)
        loss = self.cross_entropy(scores.reshape(-1, scores.shape[-1]), self.target)
        self.adam.zero_grad()
        loss.backward()
        return float(loss.item())

    def __call__(self) -> None:
        """What is timed."""
        self.run()
        self.library.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.adam.step()

    def results(self) -> dict[str, Any]:
        """The loss and, of the layers that both libraries lay out alike, the gradients."""
        loss, model = np.array(self.run()), self.model
        weights = {"embedding": model.embedding.weight, "linear": model.linear.weight}
        return {"loss": loss, **{k: np.array(w.grad.numpy()) for k, w in weights.items()}}


def steps() -> dict[str, Callable[[], Any]]:
    """A step of each library, on the same random characters."""
    return {"minigrad": Step(minigrad, Sizes()), "torch": Step(torch, Sizes())}


def run(bench: Bench) -> None:
    """Time against torch's nn.LSTM; no target in issue 2."""
    sizes = Sizes()
    for threads in bench.threads:
        row = bench.measure(str(sizes), steps(), threads)
        row.extra["characters/s"] = sizes.B * sizes.T / min(row.times["minigrad"])
