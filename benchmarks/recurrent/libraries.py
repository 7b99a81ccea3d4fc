"""Training steps of minigrad and of PyTorch: one text, run in either."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad
from minigrad import nn

from ..engines import torch
from .cases import Case

CLIP, RATE = 1.0, 1e-6  # the same step again and again must not carry the weights away


def layer(library: Any, case: Case) -> Any:
    """nn.RNN, nn.LSTM or nn.GRU without weights; the GRU is PyTorch's form."""
    options: dict[str, Any] = {"num_layers": case.layers, "bidirectional": case.bidirectional}
    if library is minigrad and case.cell == "GRU":
        options["reset_after"] = True
    return getattr(library.nn, case.cell)(case.I, case.H, **options)


def in_layout(case: Case, weights: dict[str, Any]) -> nn.Module:
    """minigrad's layer with numbers that are in PyTorch's layout."""
    made = layer(minigrad, case)
    made.load_torch(weights)
    return made  # type: ignore[no-any-return]


class Step:
    """Forward and backward of the whole sequence, seeded with dy; x needs no gradient."""

    def __init__(
        self,
        library: Any,
        case: Case,
        optimize: bool = False,
        lengths: Any = None,
        mask: Any = None,
    ) -> None:
        self.library, self.case, self.lengths, self.mask = library, case, lengths, mask
        self.x, self.dy = map(library.tensor, case.data())
        weights = case.weights()
        if library is minigrad:
            self.layer = in_layout(case, weights)
        else:
            self.layer = layer(torch, case)
            self.layer.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
            if lengths is not None:
                self.lengths = torch.tensor(lengths)
        self.parameters = list(self.layer.parameters())
        self.adam = library.optim.Adam(self.parameters, lr=RATE) if optimize else None

    def run(self) -> Any:
        """y; the gradients are in the parameters."""
        for p in self.parameters:
            p.grad = None
        if self.library is minigrad:
            y, _ = self.layer(self.x, lengths=self.lengths, mask=self.mask)
        elif self.lengths is None:
            y, _ = self.layer(self.x)
        else:
            y = self.packed()
        y.backward(self.dy)
        return y

    def packed(self) -> Any:
        """PyTorch's way with lengths: there and back."""
        rnn = torch.nn.utils.rnn
        x = rnn.pack_padded_sequence(self.x, self.lengths, enforce_sorted=False)
        y, _ = self.layer(x)
        return rnn.pad_packed_sequence(y, total_length=self.case.T)[0]

    def __call__(self) -> None:
        """What is timed."""
        self.run()
        if self.adam is not None:
            self.library.nn.utils.clip_grad_norm_(self.parameters, CLIP)
            self.adam.step()

    def results(self) -> dict[str, Any]:
        """y and the gradients, before clipping."""
        y = self.run().detach().numpy()
        gradients = {name: p.grad.numpy() for name, p in self.layer.named_parameters()}
        return {"y": np.array(y), **{name: np.array(value) for name, value in gradients.items()}}


def translated(case: Case, results: dict[str, Any]) -> dict[str, Any]:
    """y and gradients by PyTorch's names as y and gradients by minigrad's.

    Loading weights is linear, and minigrad's single bias has the gradient that each of PyTorch's two
    has: one of them counts, but for the second bias of the GRU's candidate, which minigrad has, too.
    """
    results = dict(results)
    y = results.pop("y")
    for name in results:
        if name.startswith("bias_hh"):
            results[name] = results[name].copy()
            results[name][: 2 * case.H if case.cell == "GRU" else None] = 0
    parameters = in_layout(case, results).named_parameters()
    return {"y": y, **{name: p.detach().numpy() for name, p in parameters}}
