"""Weights in the words of other libraries: against their equations in NumPy, there and back."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import oracles
import oracles_libraries as libraries
import pytest
from cell_table import KINDS, Kind, parameters
from draw import Draw
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.nn import convert

PEEPHOLE = {"peephole": "diagonal"}
FORMS = {
    **KINDS,
    "lstm-peephole-f": Kind(
        nn.LSTMCell, oracles.lstm, nn.LSTM, {**PEEPHOLE, "bias": False, "peephole_gates": "f"}
    ),
    **{
        f"lstm-coupled-{gate}{'-peephole' * bool(more)}": Kind(
            nn.LSTMCell, partial(oracles.lstm, coupled=gate), nn.LSTM, {"coupled": gate, **more}
        )
        for gate in ("input", "forget")
        for more in ({}, PEEPHOLE)
    },
}
CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
OPTIONS = {"nonlinearity", "bias", "reset_after", "convention", "coupled"}
MORE = {
    "torch": {"proj_size"},
    "keras": set(),
    "onnx": {"peephole", "peephole_gates"},
}


def has(library: str, kind: Kind) -> bool:
    """Whether the library has such a layer."""
    known = kind.cell in CELLS and kind.options.keys() <= OPTIONS | MORE[library]
    function = callable(kind.options.get("nonlinearity"))
    before = kind.cell is nn.GRUCell and not kind.make(1, 1).reset_after
    return known and not function and not (library == "torch" and before)


#: the forms that each library has
HAS = {
    library: {name: kind for name, kind in FORMS.items() if has(library, kind)} for library in MORE
}
PAIRS = [(library, name) for library, kinds in HAS.items() for name in kinds]
every_pair = pytest.mark.parametrize(("library", "kind"), PAIRS)


def to(library: str, layer: Any) -> Any:
    return getattr(convert, f"to_{library}")(layer)


def take(library: str, layer: Any, weights: Any) -> None:
    getattr(convert, f"from_{library}")(layer, weights)


def draw_from(data: Any) -> Draw:
    return Draw(lambda low, high: data.draw(st.integers(low, high)))


def drawn(kind: Kind, draw: Draw, dtype: str = "float64", **options: Any) -> Any:
    """A layer of random size with random weights."""
    layer = kind.layers(
        draw.pick(1, 3), kind.hidden(draw), draw.pick(1, 3), bidirectional=draw.flag(),
        dtype=dtype, **options,
    )  # fmt: skip
    for cell in layer.cells():
        parameters(cell, draw)
    return layer


def arrays(weights: Any) -> Any:
    """The arrays in the words of any library, in place."""
    for part in weights if isinstance(weights, list) else [weights]:
        for name, value in part.items():
            if isinstance(value, np.ndarray):
                yield part, name, value


def steps(library: str, layer: Any, weights: Any) -> list[Any]:
    """The library's cells by its own equations."""
    cell = layer.cells()[0]
    name = type(cell).__name__[: -len("Cell")].lower()
    if library == "onnx":
        directions = [one for node in weights for one in libraries.onnx_directions(node)]
        return [partial(getattr(libraries, f"onnx_{name}"), one) for one in directions]
    options = {
        "rnn": lambda: {"activation": cell.nonlinearity},
        "lstm": dict,
        "gru": lambda: {"reset_after": cell.reset_after},
    }[name]()
    return [partial(getattr(libraries, f"keras_{name}"), one, **options) for one in weights]


def agree(library: str, layer: Any, weights: Any, draw: Draw) -> None:
    """The layer gives what the library's equations give with these weights."""
    cells, n, size = layer.cells(), draw.pick(1, 3), layer.hidden_size
    x, names = draw.normal(draw.pick(1, 5), n, layer.input_size), cells[0].states
    states = [[draw.normal(n, size) for _ in names] for _ in cells]
    want, _ = oracles.layers(
        steps(library, layer, weights), x, states, np.full(x.shape[:2], True), layer.bidirectional
    )
    state = tuple(mg.from_numpy(np.stack(parts)) for parts in zip(*states))
    y, _ = layer(mg.from_numpy(x), state)
    np.testing.assert_allclose(y.detach().numpy(), want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("library", "kind"), [pair for pair in PAIRS if pair[0] != "torch"])
@given(data=st.data())
def test_both_compute_the_same(library: str, kind: str, data: Any) -> None:
    """With weights from here, and with weights from there: all of them random, second biases too."""
    draw = draw_from(data)
    layer = drawn(FORMS[kind], draw)
    weights = to(library, layer)
    agree(library, layer, weights, draw)
    if library == "keras" and "coupled" in kind:  # which it has with opposite weights only
        return
    for part, name, value in list(arrays(weights)):
        part[name] = draw.normal(*value.shape)
        if name == "P":  # only where the layer has peepholes
            part[name] *= value != 0
    if library == "onnx" and draw.flag():
        for node in weights:
            node.pop("B", None)  # which is zero, then
    take(library, layer, weights)
    agree(library, layer, weights, draw)


@every_pair
@given(data=st.data())
def test_there_and_back(library: str, kind: str, data: Any) -> None:
    """Bit by bit, in either type; the arrays are copies."""
    draw = draw_from(data)
    dtype = draw.choice("float64", "float32")
    layer = drawn(FORMS[kind], draw, dtype)
    before = {name: p.numpy().copy() for name, p in layer.state_dict().items()}
    weights = to(library, layer)
    again = to(library, layer)
    for part, name, value in list(arrays(weights)):
        assert value.dtype == dtype
        part[name] = value.copy()
        value[:] = 7
    same = FORMS[kind].layers(
        layer.input_size, layer.hidden_size, layer.num_layers,
        bidirectional=layer.bidirectional, dtype=dtype,
    )  # fmt: skip
    take(library, same, weights)
    for name, p in same.state_dict().items():
        np.testing.assert_array_equal(p.numpy(), before[name])
        np.testing.assert_array_equal(layer.state_dict()[name].numpy(), before[name])
    for (_, _, a), (_, _, b) in zip(arrays(to(library, same)), arrays(again)):
        np.testing.assert_array_equal(a, b)


# ---- between the forms here ------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
@given(data=st.data())
def test_z_on_the_candidate_and_on_the_old_state(after: bool, data: Any) -> None:
    """copy_weights between conventions: the same outputs, the gate z is 1 - z; and back, bit by bit."""
    draw = draw_from(data)
    paper = drawn(FORMS["gru-after" if after else "gru"], draw)
    other, back = (
        nn.GRU(
            paper.input_size, paper.hidden_size, paper.num_layers, dtype="float64",
            bidirectional=paper.bidirectional, reset_after=after, convention=convention,
        )
        for convention in ("onnx", "paper")
    )  # fmt: skip
    convert.copy_weights(paper, other)
    x = mg.from_numpy(draw.normal(4, 2, paper.input_size))
    with nn.trace(paper) as ours, nn.trace(other) as theirs:
        (y, h), (y_there, h_there) = paper(x), other(x)
    np.testing.assert_allclose(y.detach().numpy(), y_there.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(h.detach().numpy(), h_there.detach().numpy(), rtol=0, atol=1e-12)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a["z"].numpy(), 1 - b["z"].numpy(), rtol=0, atol=1e-12)
    convert.copy_weights(other, back)
    for name, p in back.state_dict().items():
        np.testing.assert_array_equal(p.numpy(), paper.state_dict()[name].numpy())


@pytest.mark.parametrize("kind", [name for name in FORMS if "coupled" in name])
@given(data=st.data())
def test_coupled_gates_are_two_with_opposite_weights(kind: str, data: Any) -> None:
    """copy_weights to the LSTM that is not coupled, to the other coupling, and back."""
    draw = draw_from(data)
    coupled = drawn(FORMS[kind], draw)
    how = coupled.cells()[0]
    sizes = coupled.input_size, coupled.hidden_size, coupled.num_layers
    x = mg.from_numpy(draw.normal(4, 2, coupled.input_size))
    want, _ = coupled(x)
    for coupling in (None, "input", "forget"):
        other, back = (
            nn.LSTM(
                *sizes, bidirectional=coupled.bidirectional, dtype="float64", coupled=c,
                peephole=how.peephole, proj_size=how.proj_size,
            )
            for c in (coupling, how.coupled)
        )  # fmt: skip
        convert.copy_weights(coupled, other)
        y, _ = other(x)
        np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), rtol=0, atol=1e-12)
        convert.copy_weights(other, back)
        for name, p in back.state_dict().items():
            np.testing.assert_array_equal(p.numpy(), coupled.state_dict()[name].numpy())


@given(data=st.data())
def test_layers_of_several_widths_in_keras(data: Any) -> None:
    """There, each layer is one of its own: so the weights of each are given."""
    draw = draw_from(data)
    layer = nn.LSTM(draw.pick(1, 3), [draw.pick(1, 4) for _ in range(2)], dtype="float64")
    same = nn.LSTM(layer.input_size, layer.hidden_size, dtype="float64")
    convert.from_keras(same, convert.to_keras(layer))
    other = nn.LSTM(layer.input_size, layer.hidden_size, dtype="float64")
    convert.from_onnx(other, convert.to_onnx(layer))
    x = mg.from_numpy(draw.normal(3, 2, layer.input_size))
    for copied in (same, other):
        np.testing.assert_array_equal(copied(x)[0].detach(), layer(x)[0].detach())


def test_peepholes_of_zero_are_none() -> None:
    x = mg.randn(4, 2, 3, dtype="float64")
    plain = nn.LSTM(3, 4, dtype="float64")
    for kind in ("diagonal", "full"):
        peeping, back = (
            nn.LSTM(3, 4, dtype="float64", peephole=kind),
            nn.LSTM(3, 4, dtype="float64"),
        )
        convert.copy_weights(plain, peeping)
        np.testing.assert_array_equal(peeping.cells()[0].p_f.numpy(), 0)
        np.testing.assert_allclose(peeping(x)[0].detach(), plain(x)[0].detach(), atol=1e-12)
        convert.copy_weights(peeping, back)
        np.testing.assert_array_equal(back(x)[0].detach().numpy(), plain(x)[0].detach().numpy())
        with mg.no_grad():
            peeping.cells()[0].p_o.add_(1.0)
        refused(convert.copy_weights, back, peeping, back, match=r"l0: p_o: \[4.*there, none here")


# ---- errors ----------------------------------------------------------------------------------------


def refused(f: Any, layer: Any, *given: Any, match: str) -> None:
    """ValueError, and nothing is changed."""
    before = {name: p.numpy().copy() for name, p in layer.state_dict().items()}
    with pytest.raises(ValueError, match=match):
        f(*(given or [layer]))
    for name, p in layer.state_dict().items():
        np.testing.assert_array_equal(p.numpy(), before[name])


def test_what_a_library_has_not() -> None:
    class Own(nn.GRUCell):
        pass

    proj, own = nn.LSTM(3, 4, proj_size=2), nn.GRU(3, 4)
    own.stack.layers[0].cell = Own(3, 4)
    refused(convert.to_torch, nn.GRU(3, 4), match=r"to_torch: .*convention='torch'")
    refused(convert.to_keras, proj, match=r"Keras' LSTM has neither peepholes nor a projection")
    refused(convert.to_onnx, proj, match=r"ONNX' LSTM has no projection: proj_size=0")
    sine = nn.RNN(3, 4, nonlinearity=mg.sin)
    wired = {
        r"connect='residual'": nn.RNN(3, 4, 2, connect="residual"),
        r"merge='sum'": nn.LSTM(3, 4, bidirectional=True, merge="sum"),
        r"hidden_size=\[4, 5\]": nn.LSTM(3, [4, 5]),
    }
    for match, layer in wired.items():
        refused(convert.to_torch, layer, match=match + ": PyTorch has layers of one width")
    peeping, full = (nn.LSTM(3, 4, peephole=kind) for kind in ("diagonal", "full"))
    refused(convert.to_torch, peeping, match="PyTorch's LSTM has no peepholes")
    refused(convert.to_keras, peeping, match="Keras' LSTM has neither peepholes")
    refused(convert.to_onnx, full, match="ONNX' peepholes are diagonal: peephole='diagonal'")
    for library in ("torch", "keras", "onnx"):
        coupled = nn.LSTM(3, 4, coupled="input")
        weights = to(library, nn.LSTM(3, 4))
        match = r"input_forget=0 there, 1 here" if library == "onnx" else "i and f are coupled here"
        refused(partial(take, library), coupled, coupled, weights, match=match)
        take(library, coupled, to(library, nn.LSTM(3, 4, coupled="forget")))
    changed, more = nn.GRU(3, 4, convention="torch"), nn.RNN(3, 4)
    cell = changed.cells()[0]
    cell.step = cell.step
    more.cells()[0].gain = nn.Parameter(mg.ones(4))
    for library in HAS:
        refused(partial(to, library), own, match=r"RNNCell, LSTMCell and GRUCell.*not Own$")
        refused(partial(to, library), sine, match="must be 'tanh' or 'relu', not a function")
        refused(partial(to, library), changed, match="not GRUCell with its step")
        refused(partial(to, library), more, match="not RNNCell with its gain")


def test_keras_weights_that_do_not_fit() -> None:
    after, before = nn.GRU(3, 4, convention="keras"), nn.GRU(3, 4, convention="cho")
    take = convert.from_keras
    message = r"l0: a bias \[{}\] is that of reset_after={}: .*convention='keras', reset_after={}"
    for target, source, words in (
        (before, after, ("2, 12", True, True)),
        (after, before, ("12", False, False)),
    ):
        refused(take, target, target, convert.to_keras(source), match=message.format(*words))
    lstm = nn.LSTM(3, 4, bidirectional=True)
    weights = convert.to_keras(lstm)
    refused(take, lstm, lstm, weights[:1], match=r"weights of 1 cells: 2 are needed")
    weights[1]["kernel"] = weights[1]["kernel"].T
    refused(take, lstm, lstm, weights, match=r"l0_reverse: kernel: \[16, 3\] there, \[3, 16\] here")
    del weights[1]["kernel"]
    refused(take, lstm, lstm, weights, match=r"l0_reverse: kernel: none there, \[3, 16\] here")
    bare = nn.LSTM(3, 4, bias=False)
    refused(take, bare, bare, convert.to_keras(nn.LSTM(3, 4)), match=r"bias: \[16\] there, none")


def test_onnx_nodes_that_do_not_fit() -> None:
    gru, take = nn.GRU(3, 4), convert.from_onnx
    (node,) = convert.to_onnx(gru)

    def wrong(match: str, **change: Any) -> None:
        refused(take, gru, gru, [{**node, **change}], match=match)

    wrong(r"l0: linear_before_reset=1 there, 0 here", linear_before_reset=1)
    wrong(r"l0: direction='reverse' there, 'forward' here", direction="reverse")
    wrong(r"l0: op_type='LSTM' there, 'GRU' here", op_type="LSTM")
    wrong(r"l0: clip=3.0 there, 0.0 here", clip=3.0)
    wrong(r"l0: activations=\['Affine', 'Tanh'\] there", activations=["Affine", "Tanh"])
    wrong(r"l0: W: \[1, 12, 5\] there, \[1, 12, 3\] here", W=np.zeros((1, 12, 5)))
    wrong(r"l0: P: \[1, 12\] there, none here", P=np.zeros((1, 12)))
    refused(take, gru, gru, [node, node], match=r"2 nodes: 1 are needed")
    relu = nn.RNN(3, 4, nonlinearity="relu")
    plain = convert.to_onnx(nn.RNN(3, 4))
    refused(take, relu, relu, plain, match=r"activations=\['Tanh'\] there, \['Relu'\] here")
    bare = nn.GRU(3, 4, bias=False)
    refused(take, bare, bare, [node], match=r"l0: b: \[12\] there, none here")
    take(gru, [{**node, "activations": ["sigmoid", "tanh"], "layout": 1}])
    take(bare, [{**node, "B": np.zeros((1, 24))}])


def test_layers_that_compute_something_else_are_not_copied() -> None:
    copy = convert.copy_weights
    gru, after = nn.GRU(3, 4), nn.GRU(3, 4, reset_after=True)
    refused(
        copy, after, gru, after, match=r"reset_after=False\) to 1 \(GRUCell, reset_after=True\)"
    )
    refused(copy, gru, nn.LSTM(3, 4), gru, match=r"1 cells \(LSTMCell\) to 1 \(GRUCell")
    refused(copy, gru, nn.GRU(3, 4, 2), gru, match=r"from 2 cells")
    refused(copy, gru, nn.GRU(3, 5), gru, match=r"l0: W: \[3, 15\] there, \[3, 12\] here")
    two = nn.GRU(3, 4, 2)
    refused(copy, two, nn.GRU(3, 4, bidirectional=True), two, match="no choice of weights")
    both = nn.GRU(3, 4, bidirectional=True)
    added = nn.GRU(3, 4, bidirectional=True, merge="sum")
    refused(copy, both, added, both, match=r"bidirectional, merge='sum'\) to 2 \(GRUCell, reset")
    relu = nn.RNN(3, 4, nonlinearity="relu")
    refused(copy, relu, nn.RNN(3, 4), relu, match=r"RNNCell, tanh\) to 1 \(RNNCell, relu")
    bare = nn.GRU(3, 4, bias=False)
    refused(copy, bare, gru, bare, match=r"l0: b: \[12\] there, none here")
    copy(bare, gru)
    assert not gru.cells()[0].b.numpy().any()
