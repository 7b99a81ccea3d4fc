"""onnxruntime as oracle: RNN, LSTM and GRU as ONNX models compute what the layers compute."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cell_table import Kind, as_tuple
from draw import Draw, seeded
from hypothesis import given
from hypothesis import strategies as st
from test_convert import HAS, drawn

import minigrad as mg
from minigrad import nn
from minigrad.nn import convert

THERE = HAS["onnx"]
each_kind = pytest.mark.parametrize("kind", THERE.values(), ids=THERE)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def session(path: Path) -> Any:
    """The model, on one thread."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pytest.importorskip("onnx")
    return tmp_path / "layer.onnx"


class Example:
    """x, states and lengths for a layer."""

    def __init__(self, layer: Any, draw: Draw) -> None:
        self.layer = layer
        self.steps, self.n = draw.pick(1, 9), draw.pick(1, 5)
        time = (self.n, self.steps) if layer.batch_first else (self.steps, self.n)
        self.feed = {"x": draw.normal(*time, layer.input_size).astype("float32")}
        cells = layer.cells()
        for s in cells[0].states:
            shape = len(cells), self.n, layer.hidden_size
            self.feed[f"{s}0"] = draw.normal(*shape).astype("float32")
        self.lengths = draw.integers(1, self.steps + 1, (self.n,)) if draw.flag() else None
        if self.lengths is not None:
            self.feed["lengths"] = self.lengths.astype("int32")

    def here(self) -> list[Any]:
        """y, hn, cn of the layer."""
        x, *state = (mg.from_numpy(a) for name, a in self.feed.items() if name != "lengths")
        with mg.no_grad():
            y, final = self.layer(x, tuple(state), self.lengths)
        return [a.numpy() for a in (y, *as_tuple(final))]


@each_kind
@given(data=st.data())
def test_onnxruntime_computes_the_same(kind: Kind, data: Any, path: Path) -> None:
    """Over layers, directions, sizes, lengths, initial states; both implementations of the layer."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    options = {"batch_first": draw.flag(), "fused": draw.choice("auto", False)}
    layer = drawn(kind, draw, "float32", **options)
    example = Example(layer, draw)
    convert.save_onnx(layer, path, lengths=example.lengths is not None)
    there = session(path).run(None, example.feed)
    for a, b in zip(example.here(), there):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, **TOLERANCE)


@each_kind
def test_onnxruntime_computes_the_same_in_wider_layers(kind: Kind, path: Path) -> None:
    """Of several vectors, with small weights as a new layer has them."""
    layer = kind.layers(19, 67, 2, bidirectional=True, dtype="float32")
    example = Example(layer, seeded(1))
    convert.save_onnx(layer, path, lengths=example.lengths is not None)
    for a, b in zip(example.here(), session(path).run(None, example.feed)):
        np.testing.assert_allclose(a, b, **TOLERANCE)


@each_kind
@given(data=st.data())
def test_onnxruntime_computes_the_same_in_reverse(kind: Kind, data: Any, path: Path) -> None:
    """direction="reverse" is Recurrent(cell, reverse=True); a sequence begins at its own end."""
    onnx = pytest.importorskip("onnx")
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    layer = drawn(kind, draw, "float32")
    cell = layer.cells()[0]
    alone = kind.layers(cell.input_size, cell.hidden_size, dtype="float32")
    alone.cells()[0].load_state_dict(cell.state_dict())
    (node,) = convert.to_onnx(alone)
    example = Example(alone, draw)
    lengths = np.full(example.n, example.steps) if example.lengths is None else example.lengths

    arrays = {name: node.pop(name) for name in "WRBP" if name in node}
    W, R, B, P = (name if name in arrays else "" for name in "WRBP")
    states = [f"{s}0" for s in cell.states]
    names = ["X", W, R, B, "lengths", *states, *([P] if P else [])]
    results = ["y", *(f"{s}n" for s in cell.states)]
    op = node.pop("op_type")
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node(op, names, results, **{**node, "direction": "reverse"})],
        "reverse",
        [
            helper.make_tensor_value_info("X", 1, ("T", "N", cell.input_size)),
            helper.make_tensor_value_info("lengths", 6, ("N",)),
            *(helper.make_tensor_value_info(s, 1, (1, "N", cell.hidden_size)) for s in states),
        ],
        [helper.make_tensor_value_info(name, 1, None) for name in results],
        [onnx.numpy_helper.from_array(a, name) for name, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.save(model, str(path))
    feed = {"X": example.feed["x"], "lengths": lengths.astype("int32")}
    there = session(path).run(None, {**feed, **{s: example.feed[s] for s in states}})

    x, *state = (mg.from_numpy(a) for a in (feed["X"], *(example.feed[s][0] for s in states)))
    y, final = nn.Recurrent(alone.cells()[0], reverse=True)(x, tuple(state), lengths)
    for a, b in zip((y, *final), (there[0][:, 0], *(s[0] for s in there[1:]))):
        np.testing.assert_allclose(a.detach().numpy(), b, **TOLERANCE)


@each_kind
@given(data=st.data())
def test_weights_come_back_from_the_file(kind: Kind, data: Any, path: Path) -> None:
    """Bit by bit."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    layer = drawn(kind, draw, draw.choice("float32", "float64"))
    convert.save_onnx(layer, path)
    same = kind.layers(
        layer.input_size, layer.hidden_size, layer.num_layers,
        bidirectional=layer.bidirectional, dtype=layer.cells()[0].W.dtype,
    )  # fmt: skip
    convert.load_onnx(same, path)
    for name, p in same.state_dict().items():
        np.testing.assert_array_equal(p.numpy(), layer.state_dict()[name].numpy())


def test_weights_may_be_constants_of_nodes_but_not_computed(path: Path) -> None:
    """As some exporters write them."""
    onnx = pytest.importorskip("onnx")
    layer, same = nn.GRU(3, 4), nn.GRU(3, 4)
    convert.save_onnx(layer, path)
    model = onnx.load(str(path))
    arrays = list(model.graph.initializer)
    del model.graph.initializer[:]
    for a in arrays:
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], [a.name], value=a))
    onnx.save(model, str(path))
    convert.load_onnx(same, path)
    for name, p in same.state_dict().items():
        np.testing.assert_array_equal(p.numpy(), layer.state_dict()[name].numpy())
    with pytest.raises(ValueError, match=r"1 nodes: 2 are needed"):
        convert.load_onnx(nn.GRU(3, 4, 2), path)
    (node,) = (node for node in model.graph.node if node.op_type == "GRU")
    node.input[2] = "x"
    onnx.save(model, str(path))
    with pytest.raises(ValueError, match=r"R of the node GRU is x, which is computed"):
        convert.load_onnx(same, path)


def test_other_connections_are_refused(path: Path) -> None:
    for layer in (nn.GRU(3, [4, 5]), nn.GRU(3, 4, 2, connect="residual")):
        with pytest.raises(ValueError, match=r"save_onnx: .*such a model has layers of one width"):
            convert.save_onnx(layer, path)
    assert not path.exists()


def test_without_the_package_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    for f in (convert.save_onnx, convert.load_onnx):
        with pytest.raises(ImportError, match=r"pip install 'minigrad\[onnx\]'"):
            f(nn.GRU(3, 4), tmp_path / "a.onnx")
    assert convert.to_onnx(nn.GRU(3, 4))
