"""Weights averaged along the way, and stopping in time: what makes the end of a training robust."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..nn.module import Module
from ..tape import no_grad

State = dict[str, Any]


def _copies(model: Module) -> State:
    return {name: np.array(x) for name, x in model.state_dict().items()}


class WeightAverage:
    """The exponential moving average of a model's weights: w̄ ← d w̄ + (1 - d) w after each step.

    For 0 ≤ d < 1 (`decay`).  To begin with, when few steps have been made, d is at most
    (1 + steps) / (10 + steps), so that the first weights do not linger.  Buffers that are not
    floats are copied.  `update()` follows each step of the optimiser; inside `with average:` the
    model has the averaged weights, its own come back afterwards.

    B. Polyak and A. Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992.

    >>> import minigrad
    >>> from minigrad import learn, nn
    >>> model = nn.Linear(1, 1, bias=False)
    >>> average = learn.WeightAverage(model, decay=0.5, warm_up=False)
    >>> with minigrad.no_grad():
    ...     start = model.weight.item()
    ...     _ = model.weight.fill_(start + 2)
    ...     average.update()
    >>> with average:
    ...     round(model.weight.item() - start, 5)
    1.0
    >>> round(model.weight.item() - start, 5)
    2.0
    """

    def __init__(self, model: Module, decay: float = 0.999, warm_up: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"WeightAverage: decay={decay}: from 0 to below 1")
        self.model, self.decay, self.warm_up = model, decay, warm_up
        self.steps = 0
        self.values = _copies(model)
        self._own: State | None = None

    @no_grad()
    def update(self) -> None:
        """Take the weights of now into the average."""
        if self._own is not None:
            raise RuntimeError("WeightAverage.update: the model has the averaged weights just now")
        self.steps += 1
        d = self.decay
        if self.warm_up:
            d = min(d, (1 + self.steps) / (10 + self.steps))
        for name, x in self.model.state_dict().items():
            mean, now = self.values[name], np.asarray(x)
            if mean.dtype.kind == "f":
                mean += (1 - d) * (now - mean)
            else:
                mean[...] = now

    def __enter__(self) -> Module:
        self._own = _copies(self.model)
        self.model.load_state_dict(self.values)
        return self.model

    def __exit__(self, *_: object) -> None:
        own, self._own = self._own, None
        assert own is not None
        self.model.load_state_dict(own)

    def state_dict(self) -> State:
        """What goes on exactly: the averages and the number of steps."""
        return {"steps": self.steps, "values": {k: v.copy() for k, v in self.values.items()}}

    def load_state_dict(self, state: State) -> None:
        """Take over copies; ValueError if the names or shapes are not those of the model."""
        theirs = {k: np.asarray(v) for k, v in state["values"].items()}
        if {k: v.shape for k, v in theirs.items()} != {k: v.shape for k, v in self.values.items()}:
            raise ValueError("WeightAverage.load_state_dict: the averages are of another model")
        self.values = {k: v.astype(self.values[k].dtype) for k, v in theirs.items()}
        self.steps = int(state["steps"])


class EarlyStopping:
    """Stop when the validation loss has not fallen by more than `min_delta` for `patience` checks.

    `stop(loss)` tells whether to; the weights of the best check are kept, `restore()` gives them
    back to the model.  A NaN is no improvement.

    >>> from minigrad import learn, nn
    >>> stop = learn.EarlyStopping(nn.Linear(1, 1), patience=2)
    >>> [stop(loss) for loss in (3.0, 2.0, 2.5, 2.1)], stop.best, stop.best_check
    ([False, False, False, True], 2.0, 2)
    """

    def __init__(self, model: Module, patience: int = 5, min_delta: float = 0.0) -> None:
        if patience < 1 or not min_delta >= 0:
            raise ValueError(
                f"EarlyStopping: patience={patience}, min_delta={min_delta}: at least 1, and 0"
            )
        self.model, self.patience, self.min_delta = model, patience, min_delta
        self.best, self.checks, self.best_check = math.inf, 0, 0
        self.weights: State | None = None

    def __call__(self, loss: float) -> bool:
        """Note the validation loss of now: is it time to stop?"""
        self.checks += 1
        if loss < self.best - (self.min_delta if self.best_check else 0.0):
            self.best, self.best_check, self.weights = float(loss), self.checks, _copies(self.model)
        return self.checks - self.best_check >= self.patience

    def restore(self) -> None:
        """Give the model the weights of the best check."""
        if self.weights is None:
            raise RuntimeError("EarlyStopping.restore: no check has had a finite loss yet")
        self.model.load_state_dict(self.weights)


@contextmanager
def evaluating(model: Module) -> Iterator[Module]:
    """The model in eval mode and without gradients; each module's own mode comes back afterwards."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield model
    finally:
        for m, training in modes:
            m.training = training
