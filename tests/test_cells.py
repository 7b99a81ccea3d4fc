"""Recurrent cells: the equations against NumPy, their gradients, their limits, their errors."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from cell_table import KINDS, Kind, every_kind, leaf, parameters, state_of
from draw import Draw, seeded
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn

TOLERANCE = {
    "float32": {"rtol": 1e-5, "atol": 2e-6},  # 16 roundings of values up to about 8
    "float64": {"rtol": 1e-12, "atol": 1e-12},
}


def draw_from(data: Any) -> Draw:
    return Draw(lambda low, high: data.draw(st.integers(low, high)))


# ---- the equations -----------------------------------------------------------------------------


@every_kind
@given(data=st.data())
def test_step_is_the_equation(kind: Kind, dtype: str, isa: str, data: Any) -> None:
    """What NumPy gives, on each instruction set, for a batch of any size."""
    draw = draw_from(data)
    cell = kind.make(draw.pick(1, 5), kind.hidden(draw) + 4 * draw.pick(0, 4), dtype)
    values = parameters(cell, draw)
    n = draw.pick(0, 4)
    x, state = draw.normal(n, cell.input_size).astype(dtype), state_of(cell, n, draw, dtype)
    new = cell(mg.from_numpy(x), tuple(map(mg.from_numpy, state)))
    new = new if isinstance(new, tuple) else (new,)
    for got, want, before in zip(new, kind.oracle(values, x, state), state):
        assert (got.shape, got.dtype) == (want.shape, before.dtype)
        np.testing.assert_allclose(got.numpy(), want, **TOLERANCE[dtype], err_msg=isa)


@every_kind
def test_state_may_be_left_out_and_the_batch_too(kind: Kind) -> None:
    cell = kind.make(3, 4)
    draw = seeded(1)
    x, state = mg.from_numpy(draw.normal(1, 3)), [mg.from_numpy(s) for s in state_of(cell, 1, draw)]
    zeros = [mg.zeros(*s.shape, dtype=s.dtype) for s in state]
    many = len(state) > 1
    for given_state, same in ((None, zeros), (state, state)):
        alone = None if given_state is None else tuple(s[0] for s in given_state)
        got = cell(x[0], alone if many or alone is None else alone[0])
        want = cell(x, tuple(same))
        for a, b in zip(got, want) if many else ((got, want),):
            np.testing.assert_array_equal(a.numpy(), b[0].numpy())


def test_initial_weights() -> None:
    """Uniform in ±1/√H, all of them, whatever the gate; gains are ones, their biases zeros."""
    for kind in KINDS.values():
        for name, p in kind.make(20, 25).named_parameters():
            values = p.numpy()
            if name.startswith("g") or name == "bc":
                assert (values == (name != "bc")).all(), name
                continue
            assert abs(values).max() <= 0.2, name
            assert abs(values).max() > 0.15, name
            assert abs(values.mean()) < 0.2 / np.sqrt(values.size) * 4, name


def test_one_bias_per_gate() -> None:
    shapes = {
        kind: {name: p.shape for name, p in row.make(3, 4).named_parameters()}
        for kind, row in KINDS.items()
    }
    assert shapes["rnn"] == {"W": (3, 4), "U": (4, 4), "b": (4,)}
    assert shapes["lstm"] == {"W": (3, 16), "U": (4, 16), "b": (16,)}
    assert shapes["lstm-nobias"] == {"W": (3, 16), "U": (4, 16)}
    assert shapes["lstm-proj"] == {"W": (3, 16), "U": (3, 16), "b": (16,), "P": (4, 3)}
    assert shapes["lstm-peephole"] == {**shapes["lstm"], "p_i": (4,), "p_f": (4,), "p_o": (4,)}
    assert shapes["lstm-coupled-input"] == {"W": (3, 12), "U": (4, 12), "b": (12,)}
    assert shapes["gru"] == {"W": (3, 12), "U": (4, 8), "Un": (4, 4), "b": (12,)}
    assert shapes["gru-after"] == {**shapes["gru"], "c": (4,)}
    assert shapes["gru-after-nobias"] == shapes["gru-nobias"] == {
        "W": (3, 12), "U": (4, 8), "Un": (4, 4),
    }  # fmt: skip


# ---- gradients ---------------------------------------------------------------------------------


@every_kind
@given(data=st.data())
def test_gradient(kind: Kind, data: Any) -> None:
    check(mg.gradcheck, kind, data)


@every_kind
@given(data=st.data())
def test_second_gradient(kind: Kind, data: Any) -> None:
    check(mg.gradgradcheck, kind, data, most=2)


def check(gradcheck: Any, kind: Kind, data: Any, most: int = 3) -> None:
    """By x, every state and every parameter."""
    draw = draw_from(data)
    hidden = min(most, kind.hidden(draw))
    cell = kind.make(draw.pick(1, most), hidden)
    parameters(cell, draw)
    n = draw.pick(0, 2)
    x, state = leaf(draw.normal(n, cell.input_size)), list(map(leaf, state_of(cell, n, draw)))

    def f(x: Any, *rest: Any) -> Any:
        return cell(x, rest[: len(state)])

    assert gradcheck(f, [x, *state, *cell.parameters()])


# ---- limits ------------------------------------------------------------------------------------


def biased(cell: Any, **bias: float) -> Any:
    """The cell with the bias of some gates at a value that decides them."""
    size = cell.hidden_size
    with mg.no_grad():
        for gate, value in bias.items():
            start = cell.gates.index(gate) * size
            cell.b[start : start + size] = value
    return cell


gru_forms = pytest.mark.parametrize(
    "form", [{}, {"reset_after": True}, {"convention": "cho"}, {"convention": "torch"}], ids=str
)


def gru(form: Any, z: float, r: float = 0.0) -> Any:
    """A cell whose z is 1 or 0 in the words of the paper: 1 replaces the state, 0 copies it."""
    cell = nn.GRUCell(3, 4, dtype="float64", **form)
    return biased(cell, z=1000.0 * (2 * z - 1) * (-1 if cell.keep else 1), r=1000.0 * (2 * r - 1))


@gru_forms
def test_gru_without_update_copies_the_state(form: Any) -> None:
    h = mg.randn(2, 4, dtype="float64")
    np.testing.assert_array_equal(gru(form, z=0)(mg.randn(2, 3, dtype="float64"), h).numpy(), h)


@gru_forms
def test_gru_with_full_update_replaces_the_state(form: Any) -> None:
    """h' is the candidate, the Elman network if r = 1 as well."""
    cell, elman = gru(form, z=1, r=1), nn.RNNCell(3, 4, dtype="float64")
    with mg.no_grad():
        elman.W.copy_(cell.W[:, 8:])
        elman.U.copy_(cell.Un)
        elman.b.copy_(cell.b[8:] if cell.c is None else cell.b[8:] + cell.c)
    x, h = mg.randn(2, 3, dtype="float64"), mg.randn(2, 4, dtype="float64")
    np.testing.assert_allclose(cell(x, h).numpy(), elman(x, h).numpy(), rtol=1e-12, atol=1e-12)


@gru_forms
def test_gru_with_reset_ignores_the_past(form: Any) -> None:
    cell = gru(form, z=1, r=0)
    x = mg.randn(2, 3, dtype="float64")
    first, second = (cell(x, mg.randn(2, 4, dtype="float64")) for _ in range(2))
    np.testing.assert_allclose(first.numpy(), second.numpy(), rtol=0, atol=1e-15)


@gru_forms
@pytest.mark.parametrize("fused", [True, False])
def test_gru_shows_the_z_of_its_convention(form: Any, fused: bool) -> None:
    """The trace's r, z and n give h by the equation of the convention."""
    layer = nn.Recurrent(nn.GRUCell(3, 4, dtype="float64", **form), fused=fused)
    h0 = mg.randn(2, 4, dtype="float64")
    with nn.trace(layer) as record:
        layer(mg.randn(6, 2, 3, dtype="float64"), (h0,))
    h, z, n = (record[0][letter].numpy() for letter in "hzn")
    old = np.concatenate([h0.numpy()[None], h[:-1]])
    share = 1 - z if layer.cell.keep else z
    np.testing.assert_allclose(h, (1 - share) * old + share * n, rtol=0, atol=1e-12)


def test_gru_weights_of_one_form_do_not_load_into_another() -> None:
    """Even where their shapes are equal."""
    forms = [{"convention": "cho"}, {"convention": "torch"}, {}, {"reset_after": True}]
    for k, form in enumerate(forms):
        for other in forms[:k]:
            for bias in (True, False):
                target = nn.GRUCell(3, 4, bias, **other)
                before = {name: p.numpy().copy() for name, p in target.named_parameters()}
                with pytest.raises(RuntimeError, match=r"z_keeps|resets_after"):
                    target.load_state_dict(nn.GRUCell(3, 4, bias, **form).state_dict())
                for name, p in target.named_parameters():
                    np.testing.assert_array_equal(p.numpy(), before[name])
    one, same = nn.GRUCell(3, 4, convention="torch"), nn.GRUCell(3, 4, convention="keras")
    same.load_state_dict(one.state_dict())  # by other names the same form
    x, h = mg.randn(2, 3), mg.randn(2, 4)
    np.testing.assert_array_equal(one(x, h).numpy(), same(x, h).numpy())


def test_gru_conventions_say_which_reset_they_have() -> None:
    for convention, after in (("paper", 0), ("cho", 0), ("torch", 1), ("keras", 1), ("onnx", 0)):
        assert nn.GRUCell(3, 4, convention=convention).reset_after == bool(after)
    assert not nn.GRU(3, 4, convention="keras", reset_after=False).cells()[0].reset_after
    with pytest.raises(ValueError, match=r"'torch' has reset_after=True.*'keras' or 'onnx'"):
        nn.GRU(3, 4, convention="torch", reset_after=False)
    with pytest.raises(ValueError, match=r"'cho' has reset_after=False"):
        nn.GRUCell(3, 4, reset_after=True, convention="cho")
    with pytest.raises(ValueError, match=r"convention='pytorch': 'paper', 'cho', 'torch'"):
        nn.GRUCell(3, 4, convention="pytorch")
    assert repr(nn.GRUCell(3, 4, convention="torch")) == "GRUCell(3, 4, convention='torch')"
    assert repr(nn.GRUCell(3, 4, reset_after=True)) == "GRUCell(3, 4, reset_after=True)"


def test_lstm_keeps_what_it_remembers_and_its_gradient() -> None:
    """f = 1, i = 0: the constant error carousel.  After 1000 steps c and dc/dc are what they were."""
    layer = nn.Recurrent(biased(nn.LSTMCell(3, 4), f=1000.0, i=-1000.0))
    h, c = mg.randn(2, 4), mg.randn(2, 4, requires_grad=True)
    _, (_, last) = layer(mg.randn(1000, 2, 3), (h, c))
    np.testing.assert_array_equal(last.numpy(), c.detach().numpy())
    g = mg.randn(2, 4)
    (dc,) = mg.grad(last, c, g)
    np.testing.assert_array_equal(dc.numpy(), g.numpy())


def test_lstm_that_forgets() -> None:
    """f = 0: c' = i g, whatever c was."""
    cell = biased(nn.LSTMCell(3, 4), f=-1000.0)
    x, h = mg.randn(2, 3), mg.randn(2, 4)
    first, second = (cell(x, (h, mg.randn(2, 4)))[1] for _ in range(2))
    np.testing.assert_array_equal(first.numpy(), second.numpy())


# ---- a cell of the user's own ------------------------------------------------------------------


class Leaky(nn.Cell):
    """h' = σ(a) ∘ h + tanh(v) with a, v from the input and the state; m' = max(m, h')."""

    gates, states = "av", "hm"

    def step(self, z: Any, state: Any) -> Any:
        h, m = state
        a, v = (z + h @ self.U).chunk(2, -1)
        h = mg.sigmoid(a) * h + mg.tanh(v)
        return h, (h, mg.maximum(m, h))


def test_own_cell_gets_time_lengths_directions_and_layers() -> None:
    """`gates`, `states` and `step`, and everything else follows."""
    layers = nn.Stack(
        [
            nn.Bidirectional(Leaky(3, 4, dtype="float64"), Leaky(3, 2, dtype="float64")),
            nn.Recurrent(Leaky(6, 5, dtype="float64")),
        ]
    )
    x = mg.randn(7, 3, 3, dtype="float64", requires_grad=True)
    y, (((h, _), (_, back_m)), (top, m)) = layers(x, lengths=[7, 4, 0])
    assert (y.shape, h.shape, back_m.shape) == ((7, 3, 5), (3, 4), (3, 2))
    np.testing.assert_array_equal(top[1].numpy(), y[3, 1].detach().numpy())
    np.testing.assert_array_equal(m[1].numpy(), y[:4, 1].detach().numpy().max(0).clip(0))
    assert not y[4:, 1].detach().numpy().any()
    alone, _ = layers(x[:4, 1:2])
    np.testing.assert_allclose(y[:4, 1:2].detach().numpy(), alone.detach().numpy(), atol=1e-12)
    y.sum().backward()
    assert all(p.grad is not None for p in layers.parameters())
    cell = Leaky(2, 2, dtype="float64")
    h, m = cell(mg.randn(1, 2, dtype="float64"))
    assert h.shape == m.shape == (1, 2)
    inputs = [mg.randn(2, 2, dtype="float64", requires_grad=True), *cell.parameters()]
    assert mg.gradgradcheck(lambda x, *_: cell(x), inputs)


def test_a_cell_without_step_says_so() -> None:
    class Empty(nn.Cell):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty.*step"):
        Empty(2, 3)(mg.zeros(1, 2))


# ---- errors ------------------------------------------------------------------------------------


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"RNNCell.*hidden_size=0.*at least 1"):
        nn.RNNCell(3, 0)
    with pytest.raises(ValueError, match=r"GRUCell.*input_size=-1.*at least 1"):
        nn.GRUCell(-1, 3)
    with pytest.raises(ValueError, match=r"proj_size=4.*below hidden_size=4"):
        nn.LSTMCell(3, 4, proj_size=4)
    with pytest.raises(ValueError, match="'gelu': 'tanh' or 'relu'"):
        nn.RNNCell(3, 4, nonlinearity="gelu")


def test_wrong_input_is_refused() -> None:
    cell = nn.LSTMCell(3, 4)
    with pytest.raises(ValueError, match=r"LSTMCell.*\[2, 5\] has 5 features.*input_size=3"):
        cell(mg.zeros(2, 5))
    for shape in ((), (2, 2, 3)):  # the second would broadcast
        with pytest.raises(ValueError, match=r"LSTMCell.*\[N, I\] or \[I\].*Recurrent"):
            cell(mg.zeros(*shape))
    for dtype in ("float64", "int64"):
        with pytest.raises(TypeError, match=f"{dtype}.*float32"):
            cell(mg.zeros(2, 3, dtype=dtype))


def test_wrong_state_is_refused() -> None:
    cell, x = nn.LSTMCell(3, 4, proj_size=2), mg.zeros(2, 3)
    cell(x, (mg.zeros(2, 2), mg.zeros(2, 4)))
    needed = r"needed h \[2, 2\], c \[2, 4\]"
    for state in (
        (mg.zeros(2, 4), mg.zeros(2, 4)),
        (mg.zeros(1, 2), mg.zeros(1, 4)),  # would broadcast
        (mg.zeros(2, 2),),
        mg.zeros(2, 2),
        (mg.zeros(2, 2), mg.zeros(2, 4), mg.zeros(2, 4)),
    ):
        with pytest.raises(ValueError, match=needed):
            cell(x, state)
    with pytest.raises(TypeError, match=r"float64.*float32"):
        cell(x, (mg.zeros(2, 2, dtype="float64"), mg.zeros(2, 4, dtype="float64")))


# ---- memory ------------------------------------------------------------------------------------


@every_kind
def test_a_cell_keeps_nothing(kind: Kind) -> None:
    """When the last state goes, its graph goes, without the cyclic collector."""
    cell = kind.make(3, 4)
    gc.disable()
    try:
        x = mg.randn(2, 3, dtype="float64", requires_grad=True)
        new = cell(x)
        for _ in range(3):
            new = cell(x, new)
        gone = weakref.ref(x)
        del x, new
        assert gone() is None
    finally:
        gc.enable()
