"""A recurrent layer as an ONNX model, which onnxruntime and others run; weights from such a file."""

from __future__ import annotations

import importlib
import os
from typing import Any, Union

import numpy as np

from .gates import check_wiring
from .onnx import from_onnx, to_onnx

PathLike = Union[str, "os.PathLike[str]"]

_OPSET, _IR = 14, 8  # of 2021: what has RNN, LSTM and GRU as they are now, and old runtimes read


def _package() -> Any:
    try:
        return importlib.import_module("onnx")
    except ImportError:
        raise ImportError(
            "ONNX files need the package onnx: pip install 'minigrad[onnx]'.  nn.convert.to_onnx gives "
            "the weights without it"
        ) from None


class _Graph:
    """Nodes and constants, in the order in which they are added; each result gets a name."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, op: str, inputs: Any, results: Any = 1, **attributes: Any) -> list[str]:
        """The names of the results, given or made up."""
        if isinstance(results, int):
            results = [f"{op}{len(self.nodes)}_{k}" for k in range(results)]
        self.nodes.append(self.onnx.helper.make_node(op, inputs, results, **attributes))
        return list(results)

    def save(self, path: PathLike, inputs: Any, outputs: Any) -> None:
        """inputs and outputs: {name: (type, dimensions, by name where they are free)}"""
        helper = self.onnx.helper
        named = (
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), dimensions
                )
                for name, (dtype, dimensions) in values.items()
            ]
            for values in (inputs, outputs)
        )
        graph = helper.make_graph(self.nodes, "minigrad", *named, self.constants)
        opset = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opset, producer_name="minigrad")
        model.ir_version = _IR
        self.onnx.checker.check_model(model)
        self.onnx.save(model, os.fspath(path))


def save_onnx(layer: Any, path: PathLike, lengths: bool = False) -> None:
    """Write nn.RNN, nn.LSTM or nn.GRU to `path` as an ONNX model, as it is in eval().

    Inputs: x, [T, N, I] or with batch_first [N, T, I]; with lengths=True, lengths [N], int32; the
    state before, h0 [L D, N, H], and c0 of an LSTM.  Outputs: y and the state after, hn and cn.
    T and N are free.  ValueError for what ONNX does not have (see `to_onnx`), for layers of several
    widths and other connections than one on top of the other; ImportError without the package onnx.
    """
    nodes, graph, cells = to_onnx(layer), _Graph(_package()), layer.cells()
    check_wiring(layer, "save_onnx", "such a model")
    turn = {"perm": [1, 0, 2]} if layer.batch_first else None
    x = graph.add("Transpose", ["x"], **turn)[0] if turn else "x"
    states, each = cells[0].states, 1 + layer.bidirectional
    each_layer = graph.constant([each] * layer.num_layers)
    before = [graph.add("Split", [f"{s}0", each_layer], layer.num_layers, axis=0) for s in states]
    after = []
    for node, initial in zip(nodes, zip(*before)):
        op = node.pop("op_type")
        W, R, B, P = (graph.constant(node.pop(k)) if k in node else "" for k in "WRBP")
        given = [x, W, R, B, "lengths" if lengths else "", *initial, P]
        y, *new = graph.add(op, given[:8] if P else given[:-1], 1 + len(states), **node)
        after.append(new)
        (y,) = graph.add("Transpose", [y], perm=[0, 2, 1, 3])  # [T, D, N, H] -> [T, N, D, H]
        (x,) = graph.add("Reshape", [y, graph.constant([0, 0, -1])])
    graph.add("Transpose" if turn else "Identity", [x], ["y"], **(turn or {}))
    for s, parts in zip(states, zip(*after)):
        graph.add("Concat", parts, [f"{s}n"], axis=0)

    dtype, time = cells[0].W.dtype, ("N", "T") if turn else ("T", "N")
    inputs: dict[str, Any] = {"x": (dtype, (*time, layer.input_size))}
    if lengths:
        inputs["lengths"] = (np.int32, ("N",))
    outputs: dict[str, Any] = {"y": (dtype, (*time, each * layer.hidden_size))}
    for s in states:
        inputs[f"{s}0"] = outputs[f"{s}n"] = (dtype, (len(cells), "N", layer.hidden_size))
    graph.save(path, inputs, outputs)


def load_onnx(layer: Any, path: PathLike) -> None:
    """Take the weights of the RNN, LSTM or GRU nodes in an ONNX model, whoever wrote it.

    They must be constants of the model, one node for each layer here, in their order.  ValueError
    where the layers differ, and then nothing is changed; ImportError without the package onnx.
    """
    onnx = _package()
    graph = onnx.load(os.fspath(path)).graph
    constants = {a.name: a for a in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    nodes = []
    for node in graph.node:
        if node.op_type not in ("RNN", "LSTM", "GRU"):
            continue
        found: dict[str, Any] = {"op_type": node.op_type}
        for a in node.attribute:
            found[a.name] = _text(onnx.helper.get_attribute_value(a))
        for place, letter in ((1, "W"), (2, "R"), (3, "B"), (7, "P")):
            name = node.input[place] if place < len(node.input) else ""
            if name and name not in constants:
                raise ValueError(
                    f"load_onnx: {letter} of the node {node.name or node.op_type} is {name}, which is "
                    f"computed: a constant of the model is needed"
                )
            if name:
                found[letter] = onnx.numpy_helper.to_array(constants[name])
        nodes.append(found)
    from_onnx(layer, nodes)


def _text(value: Any) -> Any:
    """Strings, which are bytes in the file."""
    if isinstance(value, bytes):
        return value.decode()
    return list(map(_text, value)) if isinstance(value, list) else value
