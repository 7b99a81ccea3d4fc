"""A training loop to read in a minute, with what a loop of one's own tends to lack."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any, Callable, NamedTuple

from ..nn.module import Module
from ..nn.utils import clip_grad_norm_
from .average import EarlyStopping, WeightAverage, evaluating

LossOf = Callable[[Module, Any], Any]


class Epoch(NamedTuple):
    """What happened in one pass over the data."""

    number: int
    loss: float  #: mean over the batches
    norm: float  #: of the gradient before clipping, mean over the steps
    clipped: float  #: the fraction of the steps whose gradient was clipped
    validation: float  #: NaN without validation

    def __str__(self) -> str:
        text = f"epoch {self.number}: loss {self.loss:.4f}"
        if not math.isnan(self.validation):
            text += f", validation {self.validation:.4f}"
        return text + f", gradient {self.norm:.3g}, clipped {self.clipped:.0%}"


def fit(
    model: Module,
    batches: Iterable[Any],
    loss_of: LossOf,
    optimizer: Any,
    epochs: int = 1,
    *,
    clip: float = math.inf,
    accumulate: int = 1,
    scheduler: Any = None,
    average: WeightAverage | None = None,
    validation: Iterable[Any] | None = None,
    stop: EarlyStopping | None = None,
    report: Callable[[Epoch], Any] | None = None,
) -> list[Epoch]:
    """Train `model`; the story of the epochs.

    `batches` is gone through once an epoch, for example a DataLoader or a list; loss_of(model,
    batch) is the mean loss of a batch, a tensor with one element.  clip: the largest norm of the
    gradient (`clip_grad_norm_`, which refuses NaN by name).  accumulate: a step follows so many
    batches, along the mean of their gradients.  scheduler: stepped once an epoch.  average: updated
    after each step, and its weights are the ones validated.  stop: asked after each validation; in
    the end the model has the best weights.  report: called after each epoch, for example `print`.

    >>> import minigrad
    >>> from minigrad import data, learn, nn, optim
    >>> minigrad.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> x = minigrad.randn(64, 1)
    >>> batches = data.DataLoader(data.TensorDataset(x, x**2), batch_size=16, shuffle=True)
    >>> def loss_of(model, batch):
    ...     return nn.functional.mse_loss(model(batch[0]), batch[1])
    >>> story = learn.fit(model, batches, loss_of, optim.Adam(model.parameters(), 0.02), epochs=40)
    >>> story[-1].loss < story[0].loss / 10
    True
    """
    if accumulate < 1 or epochs < 0:
        raise ValueError(f"fit: accumulate={accumulate}, epochs={epochs}: at least 1, and 0")
    if stop is not None and validation is None:
        raise ValueError(
            "fit: stop= asks for the loss of validation data: pass validation= as well"
        )
    story: list[Epoch] = []
    for number in range(1, epochs + 1):
        model.train()
        losses, norms = [], []
        for group in _groups(batches, accumulate):
            optimizer.zero_grad()
            for batch in group:
                loss = loss_of(model, batch)
                losses.append(loss.item())
                (loss / len(group)).backward()
            norms.append(clip_grad_norm_(model, clip).item())
            optimizer.step()
            if average is not None:
                average.update()
        if not losses:
            raise ValueError("fit: no batches: an iterator can be gone through only once")
        if scheduler is not None:
            scheduler.step()
        clipped = sum(norm > clip for norm in norms) / len(norms)
        valid, halt = math.nan, False
        if validation is not None:
            with average or nullcontext():
                valid = evaluate(model, validation, loss_of)
                halt = stop is not None and stop(valid)
        epoch = Epoch(number, _mean(losses), _mean(norms), clipped, valid)
        story.append(epoch)
        if report is not None:
            report(epoch)
        if halt:
            break
    if stop is not None and stop.weights is not None:
        stop.restore()
    return story


def evaluate(model: Module, batches: Iterable[Any], loss_of: LossOf) -> float:
    """The mean of loss_of(model, batch) over `batches`, in eval mode and without gradients."""
    with evaluating(model):
        return _mean([loss_of(model, batch).item() for batch in batches])


def _groups(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """`size` batches at a time; the last group may have fewer."""
    rest = iter(batches)
    while group := list(islice(rest, size)):
        yield group


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
