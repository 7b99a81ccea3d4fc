"""Keras: gates z, r, h and i, f, c, o, in columns; two biases in a GRU with reset_after=True."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cells import GRUCell, LSTMCell, RNNCell
from .gates import Gates, assign, cells_of, compare, gates_of, label

#: in the letters used here: Keras' h is n, its c is g
_ORDER: dict[type, str] = {RNNCell: "h", LSTMCell: "ifgo", GRUCell: "zrn"}


def _cells(layer: Any, what: str) -> list[Any]:
    """The cells; ValueError where Keras has no such layer."""
    cells = cells_of(layer, what)
    for cell in cells:
        if isinstance(cell, LSTMCell) and (cell.peephole or cell.proj_size):
            raise ValueError(f"{what}: Keras' LSTM has neither peepholes nor a projection")
    return cells


def to_keras(layer: Any) -> list[dict[str, Any]]:
    """kernel [I, G H], recurrent_kernel [H, G H] and bias of each cell, layer by layer.

    They are what get_weights() of SimpleRNN, LSTM and GRU lists, in this order; of a Bidirectional,
    those of the forward layer and then those of the backward one.  bias is [G H]; of a GRU with
    reset_after=True [2, 3 H], for x and for h; with bias=False there is none.  Keras' LSTM and GRU
    must have recurrent_activation="sigmoid".  ValueError for peepholes and projections.
    """
    return [_arrays(cell) for cell in _cells(layer, "to_keras")]


def _arrays(cell: Any) -> dict[str, Any]:
    gates, order = gates_of(cell), _ORDER[type(cell)]

    def columns(weights: dict[str, Any]) -> Any:
        return np.concatenate([weights[g] for g in order], -1)

    result = {"kernel": columns(gates.W), "recurrent_kernel": columns(gates.U)}
    if cell.b is not None:
        b, c = columns(gates.b), columns(gates.c)
        result["bias"] = np.stack([b, c]) if getattr(cell, "reset_after", False) else b
    return result


def from_keras(layer: Any, weights: Sequence[dict[str, Any]]) -> None:
    """Take the weights of Keras layers, in the form that `to_keras` gives.

    A GRU is to be made with convention="keras" and Keras' reset_after; any other whose reset is the
    same will do (the biases tell; without any, nobody can).  ValueError where the layers differ, in
    which case nothing is changed.
    """
    what = "from_keras"
    cells = _cells(layer, what)
    if len(weights) != len(cells):
        raise ValueError(
            f"{what}: weights of {len(weights)} cells: {len(cells)} are needed, one for each layer and "
            f"direction"
        )
    every = []
    for i, (cell, given) in enumerate(zip(cells, weights)):
        given = {name: np.asarray(a) for name, a in given.items()}  # noqa: PLW2901
        _check_reset(cell, given, f"{what}: {label(layer, i)}")
        compare(f"{what}: {label(layer, i)}", given, _arrays(cell))
        order = _ORDER[type(cell)]

        def parts(a: Any, order: str = order) -> dict[str, Any]:
            return dict(zip(order, np.split(a, len(order), -1)))

        none = np.zeros(len(order) * cell.hidden_size)
        b, c = (*given.get("bias", none).reshape(-1, len(none)), none)[:2]
        every.append(
            Gates(parts(given["kernel"]), parts(given["recurrent_kernel"]), parts(b), parts(c), {})
        )
    assign(layer, what, every)


def _check_reset(cell: Any, given: dict[str, Any], where: str) -> None:
    """The biases say where a GRU resets."""
    if isinstance(cell, GRUCell) and "bias" in given:
        there = given["bias"].ndim == 2
        if there != cell.reset_after:
            raise ValueError(
                f"{where}: a bias {list(given['bias'].shape)} is that of reset_after={there}: make this "
                f"GRU with convention='keras', reset_after={there}"
            )
