"""Every state and every gate of recurrent layers, for all time steps."""

from __future__ import annotations

from typing import Any

from ..autograd import Tensor
from ..ops.create import from_numpy, zeros
from ..ops.elementwise import where
from ..ops.shape import stack
from ..tape import no_grad
from .cells.base import Cell, State
from .module import Module


class trace:
    """Keep what the recurrent layers in `layer` compute inside the `with` block, the last call each.

    The record is a list with one dict per layer and direction, in the order of the states of
    nn.LSTM.  It maps the letters of the cell's states and gates (LSTM: "h c", "i f g o"; GRU: "h",
    "r z n") to tensors [T, N, H], not tracked: states after each step, gates after their
    nonlinearity, zeros where a step is not valid.  A cell of one's own has its states; and its gates,
    if it says what they are (`Cell.activations`).

    >>> import minigrad
    >>> from minigrad import nn
    >>> lstm = nn.LSTM(3, 5, bidirectional=True)
    >>> with nn.trace(lstm) as record:
    ...     y, (h, c) = lstm(minigrad.randn(7, 4, 3))
    >>> len(record), record[1]["f"].shape
    (2, (7, 4, 5))
    >>> (record[0]["c"][-1] == c[0]).numpy().all()
    np.True_
    """

    def __init__(self, layer: Module) -> None:
        self.layers = [m for m in layer.modules() if hasattr(m, "traced")]
        if not self.layers:
            raise ValueError(f"trace: there is no Recurrent in {type(layer).__name__}")

    def __enter__(self) -> list[dict[str, Any]]:
        self.before = [m.traced for m in self.layers]
        record: list[dict[str, Any]] = [{} for _ in self.layers]
        for m, values in zip(self.layers, record):
            m.traced = values
        return record

    def __exit__(self, *_: object) -> None:
        for m, before in zip(self.layers, self.before):
            m.traced = before


def unroll(
    layer: Any, x: Tensor, state: Any, valid: Any | None, targets: Any = None
) -> tuple[Tensor, State]:
    """layer.unroll, step by step; what it computes goes to layer.traced."""
    rows: list[tuple[Any, ...]] = []

    def watch(cell: Cell, z: Tensor, old: State, new: State) -> None:
        with no_grad():
            rows.append((*new, *cell.activations(z, old)))

    result = layer.unroll(x, state, valid, targets, watch=watch)
    _fill(layer.traced, layer.cell, rows[::-1] if layer.reverse else rows, x, valid)
    return result


def _fill(record: dict[str, Any], cell: Cell, rows: Any, x: Tensor, valid: Any) -> None:
    """Record the rows of values, one per time step."""
    record.clear()
    with no_grad():
        for letter, values in zip((*cell.states, *cell.gates), zip(*rows)):
            whole = stack([v.detach() for v in values])
            record[letter] = (
                whole if valid is None else where(from_numpy(valid[..., None]), whole, 0)
            )
        if not rows:
            for letter, first in zip(cell.states, cell.initial(x.shape[1])):
                record[letter] = zeros(0, *first.shape, dtype=first.dtype)
