"""A character model: it reads a text character by character and predicts the next one each time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minigrad import nn
from minigrad.autograd import Tensor
from minigrad.data.text import Codes, Vocabulary
from minigrad.ops.create import from_numpy
from minigrad.tape import no_grad

CELLS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}

State = Any  # of a recurrent layer: (h, c) for an LSTM, h for the others; None: zeros


class CharModel(nn.Module):
    """Embedding → recurrent layers → linear: scores of the next character at every position.

    With dropout, a fraction of the output of every recurrent layer is dropped in training.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding: int = 64,
        hidden: int = 256,
        layers: int = 1,
        cell: str = "lstm",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        between = dropout if layers > 1 else 0.0
        self.recurrent = CELLS[cell](embedding, hidden, layers, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden, vocabulary)

    def forward(self, x: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Codes x [T, N] and the state before → scores [T, N, vocabulary] and the state after."""
        y, state = self.recurrent(self.embedding(x), state)
        return self.linear(self.dropout(y)), state


# ---- reading -------------------------------------------------------------------------------------


def _read(model: Any, codes: Codes, state: State) -> tuple[NDArray[np.float64], State]:
    """Log-probabilities of the next character after each of `codes` [T]: [T, V], and the state."""
    with no_grad():
        scores, state = model(from_numpy(codes.reshape(-1, 1)), state)
        z = np.asarray(scores.numpy(), np.float64)[:, 0]
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True)), state


class Surprisal(NamedTuple):
    """How much a text surprised a model: `bits` of each character, -log₂ p(character | before)."""

    text: str
    bits: NDArray[np.float64]

    @property
    def log_probability(self) -> float:
        """ln p(text)"""
        return -math.log(2) * float(self.bits.sum())

    @property
    def bits_per_character(self) -> float:
        """The mean."""
        return float(self.bits.mean())


def score(model: Any, vocabulary: Vocabulary, text: str, before: str = "\n") -> Surprisal:
    """ln p(text | before) = Σ ln p(text[t] | before, text[:t]), by characters.

    A model has no first character: it is scored as following `before`, a new line unless said
    otherwise.  ValueError if `text` or `before` is empty.
    """
    if not text or not before:
        raise ValueError("score: there is no character to score")
    codes = vocabulary.encode(before + text)
    model.eval()
    log_p, _ = _read(model, codes[:-1], None)
    at = np.arange(len(before) - 1, len(codes) - 1)
    return Surprisal(text, -log_p[at, codes[len(before) :]] / math.log(2))


# ---- writing -------------------------------------------------------------------------------------


def choose(
    log_p: NDArray[np.float64],
    random: np.random.Generator,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> int:
    """Draw a code from log-probabilities [V].

    They are divided by `temperature` (0: the most probable is taken); then only the `top_k` most
    probable count (0: all), and of these the fewest that together have probability `top_p`.
    """
    if temperature == 0:
        return int(log_p.argmax())
    order = np.argsort(-log_p, kind="stable")[: top_k or None]
    p = np.exp((log_p[order] - log_p[order[0]]) / temperature)
    p /= p.sum()
    p[1:][np.cumsum(p)[:-1] >= top_p] = 0.0  # those before it suffice
    return int(order[random.choice(len(p), p=p / p.sum())])


def sample(
    model: Any,
    vocabulary: Vocabulary,
    prime: str = "\n",
    length: int = 400,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Iterator[str]:
    """Yield `length` characters that the model writes after `prime`, each as it is drawn.

    The same seed gives the same text.  The symbol for unknown characters is never drawn.
    """
    random = np.random.default_rng(seed)
    model.eval()
    log_p, state = _read(model, vocabulary.encode(prime or "\n"), None)
    for _ in range(length):
        last = log_p[-1]
        last[0] = -np.inf  # UNKNOWN
        code = choose(last, random, temperature, top_k, top_p)
        yield vocabulary.symbols[code]
        log_p, state = _read(model, np.array([code]), state)
