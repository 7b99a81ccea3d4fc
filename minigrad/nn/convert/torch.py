"""PyTorch: gates r, z, n and i, f, g, o, in rows; two biases."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells import GRUCell, LSTMCell, RNNCell
from .gates import Gates, assign, cells_of, check_wiring, compare, gates_of, label

_ORDER: dict[type, str] = {RNNCell: "h", LSTMCell: "ifgo", GRUCell: "rzn"}


def _cells(layer: Any, what: str) -> list[Any]:
    """The cells; ValueError where PyTorch has no such layer."""
    cells = cells_of(layer, what)
    check_wiring(layer, what, "PyTorch")
    for cell in cells:
        if isinstance(cell, GRUCell) and not cell.reset_after:
            raise ValueError(
                f"{what}: PyTorch's GRU resets after the product: make this one with "
                f"convention='torch', or reset_after=True"
            )
        if isinstance(cell, LSTMCell) and cell.peephole:
            raise ValueError(f"{what}: PyTorch's LSTM has no peepholes")
    return cells


def to_torch(layer: Any) -> dict[str, Any]:
    """The state_dict of the PyTorch layer with the same arguments, as arrays.

    PyTorch has two biases: bias_hh is zero, but for the candidate of a GRU.  ValueError for what
    PyTorch does not have: the GRU that resets before the product, peepholes, other connections.
    """
    result = {}
    for i, cell in enumerate(_cells(layer, "to_torch")):
        gates, order = gates_of(cell), _ORDER[type(cell)]
        rows = {
            name: np.concatenate([weights[g].T for g in order])
            for name, weights in (
                ("weight_ih", gates.W),
                ("weight_hh", gates.U),
                ("bias_ih", gates.b),
                ("bias_hh", gates.c),
            )
            if cell.b is not None or name.startswith("weight")
        }
        if gates.P is not None:
            rows["weight_hr"] = gates.P.T.copy()
        result.update({f"{name}_{label(layer, i)}": a for name, a in rows.items()})
    return result


def from_torch(layer: Any, state_dict: dict[str, Any], what: str = "from_torch") -> None:
    """Take the weights of the PyTorch layer with the same arguments (GRU: convention="torch").

    Its two biases are added up.  A GRU may also be made with reset_after=True alone: then PyTorch's
    z, the share of the old state, changes sign.  ValueError where the layers differ, in which case
    nothing is changed.
    """
    cells = _cells(layer, what)
    given = {name: np.asarray(value) for name, value in state_dict.items()}
    compare(f"{what}: the state_dict", given, to_torch(layer))
    every = []
    for i, cell in enumerate(cells):
        order, end = _ORDER[type(cell)], label(layer, i)

        def parts(name: str, order: str = order, end: str = end) -> dict[str, Any]:
            a = given.get(f"{name}_{end}", np.zeros(len(order)))  # no bias
            return dict(zip(order, (rows.T for rows in np.split(a, len(order)))))

        W, U, b, c = map(parts, ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        P = given.get(f"weight_hr_{end}")
        every.append(Gates(W, U, b, c, {}, None if P is None else P.T))
    assign(layer, what, every)
