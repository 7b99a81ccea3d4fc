"""ONNX: gates z, r, h and i, o, f, c, in rows, a dimension for the directions; two biases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cells import GRUCell, LSTMCell, RNNCell
from .gates import Gates, assign, cells_of, compare, gates_of, label

#: in the letters used here: ONNX' h is n, its c is g
_ORDER: dict[type, str] = {RNNCell: "h", LSTMCell: "iofg", GRUCell: "zrn"}
_PEEPHOLES = "iof"
#: what an attribute is if a node does not say it
_DEFAULTS = {"direction": "forward", "linear_before_reset": 0, "input_forget": 0, "clip": 0.0}
_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "RNN": ("Tanh",),
    "GRU": ("Sigmoid", "Tanh"),
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
}


def _cells(layer: Any, what: str) -> list[Any]:
    """The cells; ValueError where ONNX has no such operator."""
    cells = cells_of(layer, what)
    for cell in cells:
        if isinstance(cell, LSTMCell) and cell.peephole == "full":
            raise ValueError(f"{what}: ONNX' peepholes are diagonal: peephole='diagonal'")
        if isinstance(cell, LSTMCell) and cell.proj_size:
            raise ValueError(f"{what}: ONNX' LSTM has no projection: proj_size=0")
    return cells


def to_onnx(layer: Any) -> list[dict[str, Any]]:
    """The nodes RNN, LSTM or GRU of the layer, one each: {attribute or letter of an input: value}.

    W [D, G H, I], R [D, G H, H], with biases B [D, 2 G H], with peepholes P [D, 3 H], for D
    directions; op_type, direction, hidden_size, and activations, linear_before_reset or
    input_forget.  In B the biases on the side of h are zero, but for that of the candidate of a GRU
    with reset_after=True, which is linear_before_reset=1.  Coupled gates, whichever is left, are
    input_forget=1, of which ONNX says f = 1 - i.  ValueError for full peepholes and projections.
    """
    cells, each = _cells(layer, "to_onnx"), 1 + layer.bidirectional
    return [_node(cells[k : k + each]) for k in range(0, len(cells), each)]


def _node(cells: Sequence[Any]) -> dict[str, Any]:
    cell = cells[0]
    op = type(cell).__name__[: -len("Cell")]
    node: dict[str, Any] = {
        "op_type": op,
        "direction": "bidirectional" if len(cells) > 1 else "forward",
        "hidden_size": cell.hidden_size,
    }
    if op == "RNN":
        node["activations"] = [cell.nonlinearity.capitalize()] * len(cells)
    elif op == "GRU":
        node["linear_before_reset"] = int(cell.reset_after)
    else:
        node["input_forget"] = int(cell.coupled is not None)
    gates, order = [gates_of(c) for c in cells], _ORDER[type(cell)]
    node["W"] = np.stack([np.concatenate([g.W[k].T for k in order]) for g in gates])
    node["R"] = np.stack([np.concatenate([g.U[k].T for k in order]) for g in gates])
    if cell.b is not None:
        both = [[w[k] for w in (g.b, g.c) for k in order] for g in gates]
        node["B"] = np.stack([np.concatenate(biases) for biases in both])
    if any(g.p for g in gates):
        none = np.zeros(cell.hidden_size, cell.W.dtype)
        node["P"] = np.stack(
            [np.concatenate([g.p.get(k, none) for k in _PEEPHOLES]) for g in gates]
        )
    return node


def from_onnx(layer: Any, nodes: Sequence[dict[str, Any]]) -> None:
    """Take the weights of nodes in the form that `to_onnx` gives.

    Attributes that are not there have ONNX' defaults; without B or P they are zeros.  ValueError
    where the layers differ, in which case nothing is changed.
    """
    what = "from_onnx"
    cells, own = _cells(layer, what), to_onnx(layer)
    if len(nodes) != len(own):
        raise ValueError(f"{what}: {len(nodes)} nodes: {len(own)} are needed, one for each layer")
    every, each = [], 1 + layer.bidirectional
    for k, (node, like) in enumerate(zip(nodes, own)):
        where = f"{what}: {label(layer, k * each)}"
        _compare_attributes(where, node, like)
        arrays = {name: np.asarray(node[name]) for name in "WRBP" if name in node}
        rows, order = like["W"].shape[1], _ORDER[type(cells[k * each])]
        wanted = {"W": like["W"], "R": like["R"], "B": np.zeros((each, 2 * rows))}
        if like["op_type"] == "LSTM":
            wanted["P"] = np.zeros((each, 3 * like["hidden_size"]))
        arrays = {**{name: a for name, a in wanted.items() if name in "BP"}, **arrays}
        compare(where, arrays, wanted)
        for d in range(each):
            W, R, B = (
                [part.T for part in np.split(arrays[name][d], len(order) * (1 + (name == "B")))]
                for name in "WRB"
            )
            c = dict(zip(order, B[len(order) :]))
            gates = Gates(dict(zip(order, W)), dict(zip(order, R)), dict(zip(order, B)), c, {})
            if "P" in arrays:
                gates.p.update(zip(_PEEPHOLES, np.split(arrays["P"][d], len(_PEEPHOLES))))
            if node.get("input_forget"):  # whatever stands there for f
                for weights in gates[:5]:
                    weights["f"] = -weights["i"]
            every.append(gates)
    assign(layer, what, every)


def _compare_attributes(where: str, node: dict[str, Any], like: dict[str, Any]) -> None:
    """ValueError for the first that differs."""
    directions = len(like["W"])
    usual = {**_DEFAULTS, "activations": [*_ACTIVATIONS[like["op_type"]]] * directions}
    for name in ("op_type", "hidden_size", *usual):
        ours = like.get(name, usual.get(name))
        theirs = node.get(name, ours if name in ("op_type", "hidden_size") else usual[name])
        if _lower(theirs) != _lower(ours):
            raise ValueError(
                f"{where}: {name}={theirs!r} there, {ours!r} here: the layers must compute the same"
            )


def _lower(value: Any) -> Any:
    """ONNX does not distinguish Tanh from tanh."""
    return str(value).lower() if isinstance(value, (str, list, tuple)) else value
