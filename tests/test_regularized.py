"""Layer norm, recurrent dropout, zoneout, weight drop, learnt initial states."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
from cell_table import (
    KINDS,
    Kind,
    every_noisy_kind,
    flat,
    leaf,
    parameters,
    same,
    state_of,
    weighted,
)
from draw import Draw, seeded
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import learn, nn

both = pytest.mark.parametrize("fused", ["auto", False])
each_cell = pytest.mark.parametrize("cell", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
LENGTHS = [5, 2, 0, 4]


def float64(*size: int) -> Any:
    return mg.randn(*size, dtype="float64")


# ---- the equations, with the masks given ---------------------------------------------------------


def unrolled(step: Any, kept: Any, x: Any, state: Any, lengths: Any, reverse: bool) -> Any:
    """y and the final state; step(k of each state, x, state)"""
    y = np.zeros((*x.shape[:2], state[0].shape[1]))
    for t in range(len(x))[:: -1 if reverse else 1]:
        here = (t < np.asarray(lengths))[:, None]
        new = step([k if isinstance(k, float) else k.numpy()[t] for k in kept], x[t], state)
        y[t] = np.where(here, new[0], 0)
        state = [np.where(here, s, old) for s, old in zip(new, state)]
    return [y, *state]


@both
@every_noisy_kind
@given(data=st.data())
def test_the_equations_with_the_masks_given(kind: Kind, fused: Any, data: Any) -> None:
    """What a layer draws after a seed is what the cell draws after it: `drawn`, then `kept`."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    cell, reverse = kind.make(draw.pick(1, 4), draw.pick(4, 20)), draw.flag()
    p = parameters(cell, draw)
    n, steps = draw.pick(1, 4), draw.pick(1, 6)
    x, state = draw.normal(steps, n, cell.input_size), state_of(cell, n, draw)
    lengths = draw.integers(0, steps + 1, (n,))
    mg.manual_seed(7)
    twin, kept = cell.drawn(n), cell.kept(steps, n)
    p.update(m=twin.h_mask.numpy(), U=twin.U.detach().numpy())
    if "Un" in p:
        p["Un"] = twin.Un.detach().numpy()
    mg.manual_seed(7)
    layer = nn.Recurrent(cell, reverse, fused)
    got = layer(mg.from_numpy(x), tuple(map(mg.from_numpy, state)), lengths)
    step = lambda k, x, state: oracles.zoned(kind.oracle, k, p, x, state)  # noqa: E731
    for a, b in zip(flat(got), unrolled(step, kept, x, state, lengths, reverse)):
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-9, atol=1e-9)


@both
@every_noisy_kind
def test_gradients(kind: Kind, fused: Any) -> None:
    """With the same masks each time."""
    cell = kind.make(2, 3)
    parameters(cell, seeded(0))
    layer = nn.Recurrent(cell, fused=fused)

    def f(x: Any, *rest: Any) -> Any:
        mg.manual_seed(3)
        return weighted(layer(x, rest[: len(cell.states)], [3, 1]))

    leaves = [leaf(float64(3, 2, 2)), *map(leaf, state_of(cell, 2, seeded(1)))]
    wanted = [*leaves, *(p for name, p in cell.named_parameters() if name not in ("h0", "c0"))]
    assert mg.gradcheck(f, wanted)
    assert mg.gradgradcheck(f, wanted)


@both
@every_noisy_kind
def test_the_seed_decides(kind: Kind, fused: Any) -> None:
    front = kind.layers(3, 8, 2, bidirectional=True, fused=fused)
    x, results = float64(4, 2, 3), []
    for seed in (1, 1, 2):
        mg.manual_seed(seed)
        results.append(front(x))
    same(results[0], results[1], tolerance=0)
    assert not np.allclose(results[0][0].detach().numpy(), results[2][0].detach().numpy())


# ---- the masks -----------------------------------------------------------------------------------


def test_masks_of_recurrent_dropout_and_weight_drop() -> None:
    """0 or 1/(1 - p), as often as p says; drawn once, for as many sequences as there are."""
    cell = nn.GRUCell(3, 100, recurrent_dropout=0.2, weight_drop=0.5)
    twin = cell.drawn(200)
    assert twin.drawn(200) is twin
    m = twin.h_mask.numpy()
    assert m.shape == (200, 100)
    assert set(np.unique(m)) == {0, np.float32(1.25)}
    assert abs((m == 0).mean() - 0.2) < 0.015  # 5 standard deviations of 20 000 draws
    assert abs((m == 0).mean(0) - 0.2).max() < 0.15  # in every column
    for name in ("U", "Un"):
        dropped, whole = (getattr(c, name).detach().numpy() for c in (twin, cell))
        assert abs((dropped == 0).mean() - 0.5) < 0.025
        np.testing.assert_array_equal(dropped[dropped != 0], 2 * whole[dropped != 0])
    assert twin.W is cell.W
    assert cell.eval().drawn(200) is cell


def test_masks_of_zoneout() -> None:
    """1 with the probability of each state, anew at each step; in eval, the probability."""
    cell = nn.LSTMCell(3, 50, zoneout=(0.1, 0.6))
    for drawn, p in zip(cell.kept(20, 30), cell.zoneout):
        k = drawn.numpy()
        assert k.shape == (20, 30, 50)
        assert set(np.unique(k)) == {0, 1}
        assert abs(k.mean() - p) < 0.015
        assert (k[0] != k[1]).any()
    assert cell.eval().kept(20, 30) == (0.1, 0.6)
    assert nn.LSTMCell(3, 5, zoneout=0.5).kept(2, 3)[1].shape == (2, 3, 5)
    assert nn.LSTMCell(3, 5, zoneout=(0.0, 0.5)).kept(2, 3)[0] == 0


def test_one_mask_for_all_steps() -> None:
    """U = 1, W = 0, relu: what is dropped once stays away; h grows by 1/(1 - p) per step elsewhere."""
    cell = nn.RNNCell(1, 40, False, "relu", recurrent_dropout=0.5)
    with mg.no_grad():
        cell.W.zero_()
        cell.U.copy_(mg.eye(40))
        y, _ = nn.Recurrent(cell)(mg.ones(5, 3, 1), mg.ones(3, 40))
    for t, values in enumerate(y.numpy()):
        assert set(np.unique(values)) == {0, 2 ** (t + 1)}
    assert (y[0].numpy()[0] != y[0].numpy()[1]).any()


def test_step_by_step_with_one_mask() -> None:
    """A cell that is drawn once, and fed by hand, is the layer."""
    cell = nn.LSTMCell(3, 8, recurrent_dropout=0.5, weight_drop=0.3, dtype="float64")
    x = float64(4, 2, 3)
    mg.manual_seed(0)
    y, state = nn.Recurrent(cell)(x)
    mg.manual_seed(0)
    twin, now = cell.drawn(2), None
    for t in range(4):
        now = twin(x[t], now)
        same(now[0], y[t])
    same(now, state)


# ---- limits ------------------------------------------------------------------------------------


@both
@each_cell
def test_probability_zero_and_eval_are_the_plain_layer(cell: Any, fused: Any) -> None:
    plain = cell(3, 9)
    x = mg.randn(5, 4, 3)
    want = nn.Recurrent(plain, fused=fused)(x, None, LENGTHS)
    off = {"recurrent_dropout": 0.0, "zoneout": 0.0, "weight_drop": 0.0, "layer_norm": False}
    for options, training in (
        (off, True),
        ({"recurrent_dropout": 0.5, "weight_drop": 0.5}, False),
    ):
        other = cell(3, 9, **options).train(training)
        other.load_state_dict(plain.state_dict())
        same(nn.Recurrent(other, fused=fused)(x, None, LENGTHS), want, tolerance=0)
        same(flat(other(x[0])), flat(plain(x[0])), tolerance=0)


@both
@each_cell
@pytest.mark.parametrize("training", [True, False])
def test_zoneout_of_everything_holds_the_state(cell: Any, fused: Any, training: bool) -> None:
    """p = 1: the state stays what it was, and so does its gradient; the weights get none."""
    layer = nn.Recurrent(cell(3, 9, zoneout=1, dtype="float64").train(training), fused=fused)
    state = [leaf(s) for s in state_of(layer.cell, 4, seeded(0))]
    y, new = layer(float64(5, 4, 3), tuple(state))
    same(new, state, tolerance=0)
    for t in range(5):
        same(y[t], state[0], tolerance=0)
    gs = [mg.randn(4, 9, dtype="float64") for _ in state]
    *found, dU = mg.grad(list(new), [*state, layer.cell.U], gs)
    same(found, gs, tolerance=0)
    assert not dU.numpy().any()


@both
def test_zoneout_of_the_cell_state_alone(fused: Any) -> None:
    """h̃ is computed from c̃, not from what zoneout leaves of it (Krueger et al., equation 4)."""
    cells = [nn.LSTMCell(3, 9, dtype="float64", zoneout=z) for z in ((0.0, 1.0), 0.0)]
    cells[1].load_state_dict(cells[0].state_dict())
    x, state = float64(1, 4, 3), tuple(float64(4, 9) for _ in "hc")
    (y, (h, c)), (_, (want, _)) = (nn.Recurrent(cell, fused=fused)(x, state) for cell in cells)
    same([c, h, y[0]], [state[1], want, want])


@both
@each_cell
@pytest.mark.parametrize("option", ["recurrent_dropout", "weight_drop"])
def test_dropping_everything_is_a_layer_without_past(cell: Any, fused: Any, option: str) -> None:
    """p = 1: products with recurrent matrices are zero."""
    dropped, plain = cell(3, 9, dtype="float64", **{option: 1}), cell(3, 9, dtype="float64")
    plain.load_state_dict(dropped.state_dict())
    with mg.no_grad():
        plain.U.zero_()
        if plain.Un is not None:
            plain.Un.zero_()
    x = float64(5, 4, 3)
    same(*(nn.Recurrent(c, fused=fused)(x, None, LENGTHS) for c in (dropped, plain)))


@both
@each_cell
def test_layer_norm_does_not_see_scale_and_shift_of_a_product(cell: Any, fused: Any) -> None:
    """a U and U + v 1ᵀ give what U gives, up to ε in √(var + ε); so for W."""
    layer, x = (
        nn.Recurrent(cell(3, 9, layer_norm=True, dtype="float64"), fused=fused),
        float64(5, 4, 3),
    )
    state = tuple(float64(4, 9) for _ in layer.cell.states)
    with mg.no_grad():
        layer.cell.U.mul_(1e4)  # beside which ε is nothing
        layer.cell.W.mul_(1e4)
        want = layer(x, state, LENGTHS)
        for name in {"W", "U", "Un"} & set(dict(layer.cell.named_parameters())):
            weight = getattr(layer.cell, name)
            weight.mul_(1e4 if name == "Un" else 3)
            if name == "Un":
                want = layer(x, state, LENGTHS)
            weight.copy_(weight + 100 * float64(weight.shape[0], 1))
            same(layer(x, state, LENGTHS), want, 1e-5)


@both
def test_layer_norm_of_no_past_is_no_past(fused: Any) -> None:
    """From a state of zeros, the first step is LN(x W) gW + b alone."""
    layer = nn.Recurrent(nn.RNNCell(3, 9, layer_norm=True, dtype="float64"), fused=fused)
    x = float64(1, 4, 3)
    p = {name: a.detach().numpy() for name, a in layer.cell.named_parameters()}
    want = np.tanh(oracles.projected(p, x.numpy()[0]))
    for state in (None, mg.zeros(4, 9, dtype="float64")):
        np.testing.assert_allclose(layer(x, state)[0].detach().numpy()[0], want, rtol=1e-12)


# ---- learnt initial states ---------------------------------------------------------------------


@both
@pytest.mark.parametrize("name", ["rnn", "lstm", "lstm-proj", "gru", "lstm-proj-norm"])
def test_learnt_initial_states(name: str, fused: Any) -> None:
    """What is learnt is the state that is not given, the same for all sequences."""
    kind = Kind(*(vars(KINDS[name])[k] for k in ("cell", "oracle", "front")),
                {**KINDS[name].options, "learn_initial": True})  # fmt: skip
    cell = kind.make(3, 5)
    layer, x = nn.Recurrent(cell, fused=fused), float64(4, 3, 3)
    initial = [getattr(cell, f"{s}0") for s in cell.states]
    assert [p.shape for p in initial] == [(cell.state_size(s),) for s in cell.states]
    same(layer(x), layer(x, tuple(mg.zeros(3, *p.shape, dtype="float64") for p in initial)))
    parameters(cell, seeded(0))
    state = tuple(leaf(np.tile(p.detach().numpy(), (3, 1))) for p in initial)
    results = [layer(x, given, [4, 0, 2]) for given in (None, state)]
    same(*results)
    learnt = mg.grad(weighted(results[0]), initial)
    for g, each in zip(learnt, mg.grad(weighted(results[1]), state)):
        np.testing.assert_allclose(g.numpy(), each.numpy().sum(0), rtol=1e-12, atol=1e-12)
    same(cell(x[0]), cell(x[0], state if len(state) > 1 else state[0]))
    front = kind.layers(3, 5, 2, bidirectional=True, fused=fused)
    front(x)[0].sum().backward()
    assert all(p.grad is not None for n, p in front.named_parameters() if n.endswith("0"))


# ---- cells of one's own ------------------------------------------------------------------------


class MGU(nn.Cell):
    """f = σ(x W + h U + b); n = tanh(x Wₙ + (f ∘ h) Uₙ + bₙ); h' = (1 - f) ∘ h + f ∘ n"""

    gates, states = "fn", "h"

    def step(self, z: Any, state: Any) -> Any:
        (h,) = state
        z_f, z_n = z.chunk(2, -1)
        U_f, U_n = self.U.chunk(2, -1)
        f = mg.sigmoid(z_f + h @ U_f)
        h = h + f * (mg.tanh(z_n + (f * h) @ U_n) - h)
        return h, (h,)


class Declared(nn.Cell):
    """h' = tanh(x W + h U + b), and an output that is no state."""

    products = ("U",)

    def step(self, z: Any, state: Any) -> Any:
        h = mg.tanh(z + self.product(state[0]))
        return 2 * h, (h,)


def test_a_cell_of_ones_own() -> None:
    """Zoneout, weight drop and learnt states need nothing of it; the other two, `product`."""
    layer = nn.Recurrent(
        MGU(3, 5, dtype="float64", zoneout=0.5, weight_drop=0.5, learn_initial=True)
    )
    x = leaf(float64(4, 2, 3).numpy())

    def f(*_: Any) -> Any:
        mg.manual_seed(0)
        return layer(x)

    assert mg.gradcheck(f, [x, *layer.parameters()])
    y, (h,) = f()
    same(y[-1], h, tolerance=0)
    for option in ({"layer_norm": True}, {"recurrent_dropout": 0.5}):
        with pytest.raises(
            ValueError, match=r"MGU: for layer_norm and recurrent_dropout.*products"
        ):
            MGU(3, 5, **option)
    options: Any = {
        "layer_norm": True,
        "recurrent_dropout": 0.5,
        "zoneout": 0.3,
        "weight_drop": 0.2,
    }
    own, ours = (
        Declared(3, 5, dtype="float64", **options),
        nn.RNNCell(3, 5, dtype="float64", **options),
    )
    ours.load_state_dict(own.state_dict())
    results = []
    for cell in (own, ours):
        mg.manual_seed(0)
        results.append(nn.Recurrent(cell, fused=False)(x, None, [4, 2]))
    same(results[0][1], results[1][1])
    assert not np.allclose(results[0][0].detach().numpy(), 2 * results[1][0].detach().numpy())


def test_wrong_options_are_refused() -> None:
    for options, message in (
        ({"zoneout": 1.5}, r"LSTMCell: 1.5 is no probability"),
        ({"recurrent_dropout": -0.1}, r"LSTMCell: -0.1 is no probability"),
        ({"weight_drop": 2}, r"LSTMCell: 2 is no probability"),
        ({"zoneout": (0.1,)}, r"zoneout=\(0.1,\).*each of the states h, c"),
    ):
        with pytest.raises(ValueError, match=message):
            nn.LSTMCell(3, 4, **options)
    with pytest.raises(TypeError, match="zonout"):
        nn.LSTM(3, 4, zonout=0.1)
    text = repr(nn.GRUCell(3, 4, layer_norm=True, zoneout=0.1))
    assert text == "GRUCell(3, 4, layer_norm=True, zoneout=(0.1,))"


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.regular])
def test_trace_shows_what_is_held(kind: Kind) -> None:
    """The states of the trace are those that the layer gives; gates are there, too."""
    layer, x = nn.Recurrent(kind.make(3, 5)), float64(4, 2, 3)
    with nn.trace(layer) as record:
        y, state = layer(x, None, [4, 2])
    same(record[0]["h"], y)
    same([record[0][s][3, 0] for s in layer.cell.states], [s[0] for s in state])
    assert set(record[0]) == {*layer.cell.states, *layer.cell.gates}


@every_noisy_kind
def test_anomaly_detection_sees_the_same_masks(kind: Kind) -> None:
    layer, x, results = nn.Recurrent(kind.make(3, 5)), float64(4, 2, 3), []
    for watched in (False, True):
        mg.manual_seed(0)
        with mg.set_detect_anomaly(mode=watched):
            results.append(layer(x, None, [4, 2]))
    same(*results, tolerance=1e-10)


def test_learning_step_by_step_refuses_chance() -> None:
    """In eval(), there is none."""
    for options in ({"zoneout": 0.1}, {"recurrent_dropout": 0.1}, {"weight_drop": 0.1}):
        with pytest.raises(TypeError, match="without dropout or zoneout"):
            learn.Transition(nn.LSTM(3, 4, **options))
        assert learn.Transition(nn.LSTM(3, 4, **options).eval()).n == 8
