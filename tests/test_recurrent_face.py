"""The fronts nn.RNN, nn.LSTM, nn.GRU: PyTorch's face, what it refuses, what it costs."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from cell_table import KINDS, Kind, as_tuple, every_kind, flat, leaf, same, state_of
from draw import seeded
from oracles import first

import minigrad as mg
from minigrad import learn, nn


@every_kind
def test_the_front_is_made_of_the_blocks(kind: Kind) -> None:
    """nn.LSTM(…, 2, bidirectional=True) = Stack of Bidirectional, with the same cells."""
    x = mg.randn(5, 3, 2, dtype="float64")
    front = kind.layers(2, 3, 2, bidirectional=True)
    a, b, c, d = front.cells()
    y, states = nn.Stack([nn.Bidirectional(a, b), nn.Bidirectional(c, d)])(x, lengths=[5, 2, 4])
    packed = [mg.stack(parts) for parts in zip(*(s for layer in states for s in layer))]
    got, final = front(x, lengths=[5, 2, 4])
    same((got, as_tuple(final)), (y, packed), tolerance=0)
    front = kind.layers(2, 3, 2)
    a, b = front.cells()
    below, s = nn.Recurrent(a)(x)
    y, t = nn.Recurrent(b)(below)
    got, final = front(x)
    same((got, as_tuple(final)), (y, [mg.stack(parts) for parts in zip(s, t)]), tolerance=0)
    same(nn.Stack([nn.Recurrent(a)])(x), (below, (s,)), tolerance=0)  # a stack of one: the layer


@every_kind
def test_batch_first_and_no_batch(kind: Kind) -> None:
    front = kind.layers(2, 3, 2, bidirectional=True)
    turned = kind.layers(2, 3, 2, bidirectional=True, batch_first=True)
    turned.load_state_dict(front.state_dict())
    x = mg.randn(5, 3, 2, dtype="float64")
    y, final = front(x)
    got, last = turned(x.transpose(0, 1), final, [4, 5, 2])
    want, _ = front(x, final, [4, 5, 2])
    same(got.transpose(0, 1), want, tolerance=0)
    assert flat(last)[0].shape == flat(final)[0].shape
    one, state = x[:, 1:2], tuple(s[:, 1:2] for s in as_tuple(final))
    want, final = front(one, state, [4])
    alone = tuple(s[:, 0] for s in state)
    for layer in (front, turned):
        y, last = layer(one[:, 0], alone if len(alone) > 1 else alone[0], [4])
        assert len(y.shape) == 2
        same((y, as_tuple(last)), (want[:, 0], [s[:, 0] for s in as_tuple(final)]), tolerance=0)


# ---- dropout -----------------------------------------------------------------------------------


def test_dropout_is_between_layers_and_while_training() -> None:
    x = mg.randn(5, 3, 2)
    plain, dropping = nn.GRU(2, 4, 3), nn.GRU(2, 4, 3, dropout=0.5)
    dropping.load_state_dict(plain.state_dict())
    mg.manual_seed(1)
    y, _ = dropping(x)
    assert abs(y.detach().numpy() - plain(x)[0].detach().numpy()).max() > 1e-3
    mg.manual_seed(1)
    same(dropping(x)[0], y, tolerance=0)
    same(dropping.eval()(x), plain(x), tolerance=0)
    single = nn.GRU(2, 4, 1, dropout=0.5)
    same(single(x), single.eval()(x), tolerance=0)  # there is no between
    all_dropped = nn.RNN(2, 4, 2, dropout=1.0, bias=False)
    assert not all_dropped(x)[0].detach().numpy().any()


# ---- errors ------------------------------------------------------------------------------------


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="LSTM: num_layers=0: at least 1"):
        nn.LSTM(3, 4, num_layers=0)
    for p in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match=rf"dropout={p}: a probability, from 0 to 1"):
            nn.GRU(3, 4, 2, dropout=p)
    with pytest.raises(ValueError, match="hidden_size=0: at least 1"):
        nn.RNN(3, 0)


def test_wrong_input_is_refused() -> None:
    layer = nn.LSTM(3, 4)
    for steps in (5, 0):
        with pytest.raises(ValueError, match=rf"\[{steps}, 2, 7\] has 7 features.*input_size=3"):
            layer(mg.zeros(steps, 2, 7))
    with pytest.raises(ValueError, match=r"LSTM: input \[3\]: \[T, N, I\] or \[T, I\]"):
        layer(mg.zeros(3))
    with pytest.raises(ValueError, match=r"\[N, T, I\] or \[T, I\]"):
        nn.LSTM(3, 4, batch_first=True)(mg.zeros(1, 2, 3, 4))
    with pytest.raises(ValueError, match=r"Recurrent: input \[2, 3\]: \[T, N, I\]"):
        nn.Recurrent(nn.RNNCell(3, 4))(mg.zeros(2, 3))
    with pytest.raises(TypeError, match=r"float64.*float32"):
        layer(mg.zeros(5, 2, 3, dtype="float64"))
    with pytest.raises(ValueError, match=r"has 4 features.*input_size=5"):
        nn.Stack([nn.Recurrent(nn.RNNCell(3, 4)), nn.Recurrent(nn.RNNCell(5, 4))])(
            mg.zeros(2, 2, 3)
        )


def test_wrong_state_is_refused() -> None:
    layer, x = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2), mg.zeros(5, 2, 3)
    h, c = mg.zeros(4, 2, 2), mg.zeros(4, 2, 4)
    layer(x, (h, c))
    with pytest.raises(ValueError, match=r"state h \[4, 2, 4\]: \[4, 2, 2\] is needed.*directions"):
        layer(x, (c, c))
    with pytest.raises(ValueError, match=r"state c \[2, 2, 4\]: \[4, 2, 4\] is needed"):
        layer(x, (h, c[:2]))
    with pytest.raises(ValueError, match=r"state h \[4, 2, 2\]: \[4, 2\] is needed"):
        layer(x[:, 0], (h, c))
    for state, count in ((h, "1 tensor"), ((h,), "1 tensor"), ((h, c, c), "3 tensors")):
        with pytest.raises(ValueError, match=rf"LSTM: the state is \(h, c\), not {count}$"):
            layer(x, state)
    with pytest.raises(TypeError, match=r"float64.*float32"):
        layer(x, (mg.zeros(4, 2, 2, dtype="float64"), c))
    with pytest.raises(ValueError, match="Stack: 1 states for 2 layers"):
        layer.stack(x, (None,))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([5], r"2 integers are needed, one per sequence of the batch, not int64 \[1\]"),
        ([[5, 4]], r"not int64 \[1, 2\]"),
        (5, r"not int64 \[\]"),
        ([5.0, 4.0], "integers are needed.*not float64"),
        ([True, False], "integers are needed.*not bool"),
        ([6, 5], r"from 0 to T=5, not 5 … 6"),
        ([-1, 5], r"from 0 to T=5, not -1 … 5"),
    ],
)
def test_wrong_lengths_are_refused(lengths: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.GRU(3, 4)(mg.zeros(5, 2, 3), lengths=lengths)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((2, 5), bool), r"bool \[5, 2\], \[T, N\], is needed.*not bool \[2, 5\]"),
        (np.ones((5, 2)), r"True where a step is valid, not float64 \[5, 2\]"),
        (np.ones((5, 2), int), r"not int64 \[5, 2\]"),
        ([True] * 5, r"not bool \[5\]"),
        (True, r"not bool \[\]"),
    ],
)
def test_wrong_masks_are_refused(mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.GRU(3, 4)(mg.zeros(5, 2, 3), mask=mask)
    turned = nn.GRU(3, 4, batch_first=True)
    with pytest.raises(ValueError, match=r"bool \[2, 5\], \[N, T\], is needed.*not bool \[5, 2\]"):
        turned(mg.zeros(2, 5, 3), mask=np.ones((5, 2), bool))
    with pytest.raises(ValueError, match=r"bool \[5\], \[T\], is needed.*not bool \[5, 1\]"):
        turned(mg.zeros(5, 3), mask=np.ones((5, 1), bool))


def test_masks_come_as_lists_arrays_and_tensors() -> None:
    """Time first, batch first, without batch."""
    layer, turned, x = nn.GRU(3, 4), nn.GRU(3, 4, batch_first=True), mg.randn(5, 2, 3)
    turned.load_state_dict(layer.state_dict())
    mask = np.array([[1, 1], [0, 1], [1, 0], [0, 0], [1, 0]], bool)
    y, h = layer(x, mask=mask)
    for given in (mask.tolist(), mg.from_numpy(mask)):
        same(layer(x, mask=given), (y, h), tolerance=0)
    got, last = turned(x.transpose(0, 1), mask=mask.T)
    same((got.transpose(0, 1), last), (y, h), tolerance=0)
    got, last = turned(x[:, 0], mask=mask[:, 0])
    same((got, last), (y[:, 0], h[:, 0]), 1e-6)
    assert layer(x[:0], mask=mask[:0])[0].shape == (0, 2, 4)


@pytest.mark.parametrize("fused", ["auto", False])
def test_a_mask_may_be_written_afterwards(fused: Any) -> None:
    """As when one buffer serves for all batches: the gradient is that of what was computed."""
    layer, x = nn.GRU(3, 4, fused=fused), mg.randn(5, 2, 3)
    mask = np.array([[1, 1], [0, 1], [1, 0], [0, 0], [1, 0]], bool)
    gradients = []
    for write in (False, True):
        y, _ = layer(x, mask=mask)
        mask[:] |= write
        gradients.append(mg.grad(y.sum(), list(layer.parameters())))
    same(*gradients, tolerance=0)


def test_lengths_come_as_lists_arrays_and_tensors() -> None:
    layer, x = nn.GRU(3, 4), mg.randn(5, 2, 3)
    want = layer(x, lengths=[3, 5])
    for lengths in ((3, 5), np.array([3, 5], np.uint8), mg.tensor([3, 5])):
        same(layer(x, lengths=lengths), want, tolerance=0)
    assert layer(x[:, :0], lengths=[])[0].shape == (5, 0, 4)


def test_a_state_still_attached_names_detach() -> None:
    layer, h = nn.GRU(3, 4), None
    for last in (False, True):
        y, h = layer(mg.randn(5, 2, 3), h)
        if not last:
            y.sum().backward()
    with pytest.raises(
        RuntimeError, match=r"hidden state from an earlier batch.*detach.*nn.Stateful"
    ):
        y.sum().backward()


# ---- size --------------------------------------------------------------------------------------


@every_kind
def test_graph_is_released_without_the_cyclic_collector(kind: Kind) -> None:
    gc.collect()
    gc.disable()
    try:
        layer = nn.Stack([nn.Bidirectional(kind.make(2, 3), kind.make(2, 3))])
        h = [leaf(s) for s in state_of(layer.layers[0].ahead.cell, 2, seeded(0))]
        gone = weakref.ref(h[0])
        y, state = layer(mg.randn(6, 2, 2, dtype="float64"), ((h, None),), [6, 3])
        del h
        if kind.output is first:  # the graph keeps it, for the gradient of U; else f(h)
            assert gone() is not None
        del y, state
        assert gone() is None
    finally:
        gc.enable()


def test_two_thousand_steps() -> None:
    """No recursion, forwards or backwards."""
    layer = nn.RNN(2, 3)
    x = mg.randn(2000, 1, 2, requires_grad=True)
    y, h = layer(x)
    (y.sum() + h.sum()).backward()
    assert y.shape == (2000, 1, 3)
    assert np.isfinite(x.grad.numpy()).all()
    assert abs(x.grad.numpy()[0]).max() > 0


def test_every_cell_is_in_the_table() -> None:
    """Whoever adds a cell to the library adds a row, and has these tests.

    The rows are of cells that are trained; test_reservoir.py has the one that is not.
    """
    cells = {c for c in vars(nn).values() if isinstance(c, type) and issubclass(c, nn.Cell)} - {
        nn.Cell,
        nn.EchoStateCell,
    }
    assert cells == {kind.cell for kind in KINDS.values()}


def test_what_is_no_tensor_and_what_is_no_option() -> None:
    with pytest.raises(TypeError, match="LSTM: input of type ndarray: a tensor is needed"):
        nn.LSTM(2, 3)(np.zeros((4, 1, 2), np.float32))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"GRUCell: no option zone_out; .*zoneout"):
        nn.GRU(2, 3, zone_out=0.1)
    with pytest.raises(TypeError, match="gradient_flow: LSTM: a cell is needed"):
        learn.gradient_flow(nn.LSTM(2, 3), mg.randn(4, 1, 2), lambda _, y: y.sum())


def test_repr_says_which_nonlinearity() -> None:
    assert repr(nn.RNNCell(2, 3)) == "RNNCell(2, 3)"
    assert repr(nn.RNNCell(2, 3, nonlinearity="relu")) == "RNNCell(2, 3, nonlinearity=relu)"
    assert repr(nn.RNNCell(2, 3, nonlinearity=mg.sin)) == "RNNCell(2, 3, nonlinearity=sin)"
