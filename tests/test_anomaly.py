"""detect_anomaly: the op, the line, the time step and the gate of the first NaN or infinity."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from cell_table import Kind, every_kind, flat, leaf, same, weighted
from draw import seeded

import minigrad as mg
from minigrad import anomaly, nn

HUGE = 3e38


def found_by(f: Any, *args: Any, **options: Any) -> str:
    """What is said of f(*args) in anomaly mode."""
    with pytest.raises(mg.AnomalyError) as error, mg.detect_anomaly(**options):
        f(*args)
    return str(error.value)


# ---- ops ---------------------------------------------------------------------------------------


def test_forward() -> None:
    x = mg.tensor([[1.0, 0.0], [2.0, -1.0]], requires_grad=True)

    def f() -> Any:
        y = mg.exp(x)
        z = mg.log(x)  # the line that is named
        return (y * z).sum()

    text = found_by(f)
    line = f.__code__.co_firstlineno + 2
    assert text == (
        f"the result of log is -inf at [0, 1] of float32 [2, 2]; recorded at {__file__}:{line}"
    )
    assert "is nan at [1, 1]" in found_by(f, check_inf=False)
    with mg.detect_anomaly(check_nan=False, check_inf=False):
        f()
    assert "an operand has one already" in found_by(lambda: x * mg.tensor(np.nan))
    text = found_by(lambda: (x * 1e38) @ (x * 10))
    assert text.startswith("the result of matmul is inf at [0, 0]")


def test_backward() -> None:
    """Also after the block; the gradient of an op with one rule for all, of several results."""
    x = mg.tensor([4.0, 0.0], requires_grad=True)
    with mg.detect_anomaly():
        y = mg.sqrt(x).sum()
    with pytest.raises(
        mg.AnomalyError, match=r"gradient of sqrt by its argument x is inf at \[1\]"
    ):
        y.backward()
    with mg.detect_anomaly(check_inf=False):
        y = mg.sqrt(x).sum()
    y.backward()  # what to look for is said by the block
    assert x.grad is not None
    assert np.isinf(x.grad.numpy()[1])
    each = mg.tensor([[1.0, 1.0], [HUGE, 1.0]])

    def several() -> None:
        a, b = (x + 1).split(1)
        (mg.stack([a, b, b]) * mg.sqrt(b - 1)).sum().backward()

    assert "the gradient of sqrt by its argument x is inf at [0]" in found_by(several)

    def joint() -> None:
        (mg.stack([x * 0, x * 0]) * each).sum().backward(mg.tensor(10.0))

    assert "the gradient of mul by its argument a is inf at [1, 0]" in found_by(joint)
    rows = mg.tensor([[1.0, 2.0], [5.0, 5.0]], requires_grad=True)

    def normalized() -> None:
        nn.functional.layer_norm(rows, [2], eps=0.0).sum().backward()

    assert found_by(normalized).startswith("the result of normalize is nan at [1, 0]")


def test_gradients_are_the_same_as_without() -> None:
    """Of every kind of rule, with and without create_graph."""

    def loss(x: Any, layer: Any) -> Any:
        a, b = layer(x)[0].chunk(2, -1)
        rows = mg.cat([a.softmax(-1), b.tanh()], -1).log_softmax(-1)
        return rows[1:].sum() + (x.sum(0).mean() ** 2) + x[0].amax() * 0.5

    layer = nn.LSTM(3, 4, dtype="float64", bidirectional=True)
    x = mg.randn(4, 2, 3, dtype=mg.float64, requires_grad=True)
    leaves = [x, *layer.parameters()]
    plain = mg.grad(loss(x, layer), leaves)
    with mg.detect_anomaly():
        watched = mg.grad(loss(x, layer), leaves)
        again = mg.grad(loss(x, layer), leaves, create_graph=True)
        (second,) = mg.grad(sum((g * g).sum() for g in again), x)
    twice = mg.grad(loss(x, layer), leaves, create_graph=True)
    (wanted,) = mg.grad(sum((g * g).sum() for g in twice), x)
    for a, b, c in zip(plain, watched, again):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-12)
        np.testing.assert_allclose(a.numpy(), c.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(second.numpy(), wanted.numpy(), atol=1e-12)


def test_off_is_off() -> None:
    """The slot itself is back, whatever happened; nested blocks, the switch."""
    slot = vars(mg.Tensor)["node"]
    assert type(slot).__name__ == "member_descriptor"
    x = mg.tensor([0.0], requires_grad=True)

    def nested() -> None:
        with mg.detect_anomaly():
            assert isinstance(vars(mg.Tensor)["node"], property)
            with mg.detect_anomaly(check_inf=False):
                mg.log(x)
            assert anomaly.watching is not None
            mg.log(x)

    with pytest.raises(mg.AnomalyError, match="log"):
        nested()
    assert vars(mg.Tensor)["node"] is slot
    assert anomaly.watching is None
    mg.log(x).backward()
    mg.autograd.set_detect_anomaly(True)
    try:
        with pytest.raises(mg.AnomalyError):
            mg.log(x)
        with mg.set_detect_anomaly(False):
            mg.log(x)
        assert anomaly.watching is not None
    finally:
        mg.autograd.set_detect_anomaly(False)
    assert vars(mg.Tensor)["node"] is slot


# ---- recurrent layers ------------------------------------------------------------------------------


def quiet(layer: Any) -> Any:
    """The layer, all weights zero: what is set afterwards is all there is."""
    with mg.no_grad():
        for p in layer.parameters():
            p.zero_()
    return layer.cells()[0]


@pytest.mark.parametrize(
    ("kind", "weight", "column", "gate"),
    [
        (nn.LSTM, "U", 1, "i"),
        (nn.LSTM, "U", 4, "f"),
        (nn.LSTM, "U", 7, "g"),
        (nn.LSTM, "U", 11, "o"),
        (nn.GRU, "U", 2, "r"),
        (nn.GRU, "U", 3, "z"),
        (nn.GRU, "Un", 0, "n"),
        (nn.RNN, "U", 0, ""),
    ],
)
def test_forward_names_step_and_gate(kind: Any, weight: str, column: int, gate: str) -> None:
    """A state grows until a recurrent product overflows: in step 0."""
    layer = kind(2, 3)
    cell = quiet(layer)
    state = mg.zeros(1, 2, 3)
    state[0, 1, 1] = HUGE
    with mg.no_grad():
        getattr(cell, weight)[1, column] = 20.0
        if gate == "n":
            cell.b[:] = 9.0  # r is one: the candidate sees the whole state
    first = state if kind is not nn.LSTM else (state, mg.zeros(1, 2, 3))
    text = found_by(lambda: layer(mg.zeros(4, 2, 2), first))
    assert "the result of matmul is inf at [1, " in text
    end = f", gate {gate}" if gate else ""
    assert text.endswith(f"test_anomaly.py:{line_of(text)}, {cell_name(layer)}, time step 0{end}")


def line_of(text: str) -> int:
    (line,) = re.findall(r"test_anomaly\.py:(\d+)", text)
    return int(line)


def cell_name(layer: Any) -> str:
    cell = layer.cells()[0]
    return f"{type(cell).__name__}({cell.extra_repr()})"


@pytest.mark.parametrize("reverse", [False, True])
def test_forward_in_the_middle(reverse: bool) -> None:
    """A cell state that grows eightfold in each step overflows in the fourth, either way in time."""

    class Growing(nn.LSTMCell):
        def step(self, z: Any, state: Any) -> Any:
            y, (h, c) = super().step(z, state)
            return y, (h, c * 8.0)

    layer = nn.Recurrent(Growing(2, 3), reverse=reverse)
    with mg.no_grad():
        for p in layer.parameters():
            p.zero_()
        layer.cell.b[3:6] = 50.0  # f = 1
    c = mg.full((2, 3), HUGE / 8**3)
    text = found_by(lambda: layer(mg.zeros(6, 2, 2), (mg.zeros(2, 3), c)))
    assert "the result of mul is inf at [0, 0]" in text
    assert text.endswith(f"Growing(2, 3), time step {2 if reverse else 3}")


@pytest.mark.parametrize("lengths", [None, [6, 5]])
def test_bad_inputs(lengths: Any) -> None:
    layer, x = nn.LSTM(2, 3), mg.randn(6, 2, 2)
    x[3, 1, 0] = np.nan
    text = found_by(lambda: layer(x, lengths=lengths))
    assert "is nan at" in text
    assert "an operand has one already" in text
    assert "the input of LSTMCell(2, 3), time step 3" in text
    with mg.detect_anomaly():  # behind the end it is none
        layer(x, lengths=[6, 3])[0].sum().backward()
    x[3, 1, 0] = HUGE
    with mg.no_grad():
        layer.cells()[0].W[0, 7] = 100.0
    text = found_by(lambda: layer(x, lengths=lengths))
    assert text.endswith("the input of LSTMCell(2, 3), time step 3, gate g")


def test_backward_names_step_and_gate() -> None:
    """Only its gradient is infinite: √ of a gate's zero, in step 2."""

    class Rooted(nn.GRUCell):
        calls = 0

        def activations(self, z: Any, state: Any) -> Any:
            r, u, n = super().activations(z, state)
            self.calls += 1
            return r, u + mg.sqrt(u * 0.0) if self.calls == 3 else u, n

    layer = nn.Recurrent(Rooted(2, 3))
    with mg.detect_anomaly():
        y, _ = layer(mg.randn(5, 2, 2))
    with pytest.raises(mg.AnomalyError) as error:
        y.sum().backward()
    text = str(error.value)
    assert re.match(r"the gradient of sqrt by its argument x is -?(inf|nan) at \[0, 0\]", text)
    assert text.endswith("Rooted(2, 3), time step 2, gate z")


def test_an_exploding_gradient() -> None:
    """Weights that multiply the gradient by 10⁴ in each step: it overflows on its way back."""
    layer = nn.RNN(2, 3)
    cell = quiet(layer)  # the states are zero, where the slope of tanh is one
    with mg.no_grad():
        cell.U.copy_(1e4 * mg.eye(3))
    with mg.detect_anomaly():
        y, _ = layer(mg.zeros(12, 1, 2))
    with pytest.raises(mg.AnomalyError) as error:
        (y[-1] * 1e20).sum().backward()
    step = re.search(r"RNNCell\(2, 3\), time step (\d+)$", str(error.value))
    assert step is not None
    assert "the gradient of matmul" in str(error.value)
    assert 11 - int(step[1]) == 4  # 1e20, and 1e4 from each of steps 11 … 7


@every_kind
def test_every_cell_gives_the_numbers_that_it_gives_without(kind: Kind) -> None:
    """Outputs, states, gradients, with holes in the mask; and each names its step."""
    layer, draw = kind.layers(2, 3, bidirectional=True), seeded(0)
    x, mask = draw.normal(5, 2, 2), np.array([[1, 1], [0, 1], [1, 1], [1, 0], [1, 0]], bool)
    found = []
    for watched in (False, True):
        leaves = [leaf(x), *layer.parameters()]
        with mg.set_detect_anomaly(watched):
            results = layer(leaves[0], mask=mask)
            found.append([flat(results), mg.grad(weighted(results), leaves)])
    same(*found)
    with mg.no_grad():
        layer.cells()[0].U.fill_(np.nan)
    text = found_by(lambda: layer(mg.tensor(x)))
    assert re.search(r"is nan at \[0(, 0)?\] .*, time step 0(, gate .)?$", text)


def test_traces_and_numbers_as_without() -> None:
    layer, x = nn.LSTM(2, 3, num_layers=2, bidirectional=True), mg.randn(5, 2, 2)
    with nn.trace(layer) as record:
        y, _ = layer(x, lengths=[5, 3])
    with mg.detect_anomaly(), nn.trace(layer) as again:
        z, _ = layer(x, lengths=[5, 3])
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), atol=1e-6)
    for a, b in zip(record, again):
        assert set(a) == set(b) == set("ifgohc")
        for letter in a:
            np.testing.assert_allclose(a[letter].numpy(), b[letter].numpy(), atol=1e-6)
    with mg.detect_anomaly():
        assert layer(x[:0])[0].shape == (0, 2, 6)
        h, _ = layer.cells()[0](x[0])
        assert h.shape == (2, 3)
