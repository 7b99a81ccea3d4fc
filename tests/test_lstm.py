"""The LSTM's variants: peepholes, coupled gates, the concatenated form, the memory cell alone."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import oracles
import pytest
from cell_table import flat, leaf, parameters, same, state_of, weighted
from draw import Draw, seeded
from fused_pair import agree
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn

SIGMOIDS = {None: "ifo", "input": "fo", "forget": "io"}
FORMS = [
    {"coupled": coupled, "peephole": peephole, "peephole_gates": "".join(gates)}
    for coupled, there in SIGMOIDS.items()
    for peephole in ("diagonal", "full")
    for count in range(1, len(there) + 1)
    for gates in combinations(there, count)
]
every_form = pytest.mark.parametrize(
    "form", FORMS, ids=["-".join(str(v) for v in form.values()) for form in FORMS]
)
cell_of = partial(nn.LSTMCell, dtype="float64")


def copied(to: Any, values: dict[str, Any]) -> Any:
    """The cell with these values; zeros in the parameters that are not named."""
    with mg.no_grad():
        for name, p in to.named_parameters():
            p.copy_(values.get(name, np.zeros(p.shape)))
    return to


def operands(cell: Any, steps: int = 5, n: int = 3) -> list[Any]:
    """x and the states: tensors."""
    draw = seeded(0)
    values = [draw.normal(steps, n, cell.input_size), *state_of(cell, n, draw)]
    return [mg.from_numpy(v) for v in values]


def unrolled(cell: Any) -> Any:
    """y and the final state for the operands above."""
    x, *state = operands(cell)
    return nn.Recurrent(cell)(x, tuple(state))


# ---- every form ----------------------------------------------------------------------------------


@every_form
@pytest.mark.parametrize("projection", [0, 4])
def test_unrolled_it_is_the_equation(form: Any, projection: int) -> None:
    """Against NumPy, with and without a projection, with lengths."""
    cell = cell_of(3, 9, proj_size=projection, **form)
    assert {k for k in "ifo" if getattr(cell, f"p_{k}") is not None} == set(form["peephole_gates"])
    values = parameters(cell, seeded(1))
    x, *state = operands(cell)
    lengths = np.array([5, 0, 3])
    y, final = nn.Recurrent(cell)(x, tuple(state), lengths)
    want, wanted = oracles.unroll(
        partial(oracles.lstm, values, coupled=form["coupled"]),
        x.numpy(),
        [s.numpy() for s in state],
        np.arange(5)[:, None] < lengths,
    )
    for got, expected in zip((y, *final), (want, *wanted)):
        np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@every_form
def test_gradients(form: Any) -> None:
    """Fused as readable where there is a kernel; else against finite differences."""
    if form["peephole"] == "full":
        cell = cell_of(2, 2, **form)
        parameters(cell, seeded(0))
        leaves = [leaf(seeded(0).normal(2, 2)), *map(leaf, state_of(cell, 2, seeded(1)))]
        for check in (mg.gradcheck, mg.gradgradcheck):
            assert check(lambda x, h, c, *_: cell(x, (h, c)), [*leaves, *cell.parameters()])
        with pytest.raises(ValueError, match="there is no kernel for LSTMCell"):
            nn.Recurrent(cell, fused=True)
        return
    for bias in (True, False):
        cell = cell_of(3, 9, bias=bias, **form)
        parameters(cell, seeded(2))
        for reverse, lengths in ((False, None), (True, None), (True, [5, 0, 3])):
            results = []
            for fused in (True, False):
                x, *state = (leaf(a.numpy()) for a in operands(cell))
                y, final = nn.Recurrent(cell, reverse, fused)(x, tuple(state), lengths)
                wanted = [x, *state, *cell.parameters()]
                results.append((y, final, mg.grad(weighted((y, final)), wanted)))
            for got, want in zip(*map(flat, results)):
                agree(got, want, "float64", str((form, bias, reverse, lengths)))


@every_form
def test_trace_shows_what_each_gate_saw(form: Any) -> None:
    """i and f the old c, o the new one; the same from C and from the equations."""
    cell = cell_of(3, 4, **form)
    parameters(cell, seeded(3))
    x, h, c = operands(cell)
    for fused in {"auto", cell.peephole == "diagonal"}:
        layer = nn.Recurrent(cell, fused=fused)
        with nn.trace(layer) as record:
            layer(x, (h, c))
        (record,) = record
        assert set(record) == {*cell.gates, "h", "c"}
        before = {k: mg.cat([s[None], record[k][:-1]]) for k, s in (("h", h), ("c", c))}
        z = (cell.project(x) + before["h"] @ cell.U).detach().chunk(len(cell.gates), -1)
        for gate, a in zip(cell.gates, z):
            p, seen = getattr(cell, f"p_{gate}", None), record["c"] if gate == "o" else before["c"]
            if p is not None:
                a = a + (seen @ p if form["peephole"] == "full" else seen * p).detach()  # noqa: PLW2901
            same(record[gate], a.tanh() if gate == "g" else a.sigmoid())


# ---- theorems ------------------------------------------------------------------------------------


@pytest.mark.parametrize("peephole", ["diagonal", "full"])
@pytest.mark.parametrize("coupled", SIGMOIDS)
def test_zero_peepholes_are_none(peephole: str, coupled: Any) -> None:
    plain = cell_of(3, 5, coupled=coupled)
    values = parameters(plain, seeded(0))
    cell = copied(cell_of(3, 5, coupled=coupled, peephole=peephole), values)
    same(unrolled(cell), unrolled(plain), tolerance=1e-15)


@pytest.mark.parametrize("gates", ["", "i", "f", "o", "oi"])
def test_a_peephole_that_is_zero_is_one_that_is_not_there(gates: str) -> None:
    some = cell_of(3, 5, peephole="diagonal", peephole_gates=gates)
    values = parameters(some, seeded(0))
    every = copied(cell_of(3, 5, peephole="diagonal"), values)
    same(unrolled(some), unrolled(every), tolerance=1e-15)


def test_diagonal_peepholes_are_matrices_with_a_diagonal() -> None:
    diagonal = cell_of(3, 5, peephole="diagonal")
    values = parameters(diagonal, seeded(0))
    wide = {k: np.diag(v) if k.startswith("p_") else v for k, v in values.items()}
    full = copied(cell_of(3, 5, peephole="full"), wide)
    same(unrolled(full), unrolled(diagonal))


def decoupled(values: dict[str, Any], coupled: str) -> dict[str, Any]:
    """Weights of four gates: 1 - σ(a) = σ(-a), so that one gate has the other's, negative."""
    wide = {}
    for name, v in values.items():
        if name in "WUb":
            one, g, o = np.split(v, 3, -1)
            both = (-one, one) if coupled == "input" else (one, -one)
            wide[name] = np.concatenate([*both, g, o], -1)
        else:
            wide[name] = v
    if "p_f" in values or "p_i" in values:
        own, other = ("p_f", "p_i") if coupled == "input" else ("p_i", "p_f")
        wide[other] = -values[own]
    return wide


@pytest.mark.parametrize("peephole", [None, "diagonal", "full"])
@pytest.mark.parametrize("coupled", ["input", "forget"])
def test_coupled_gates_are_two_with_opposite_weights(coupled: str, peephole: Any) -> None:
    cell = cell_of(3, 5, coupled=coupled, peephole=peephole)
    values = parameters(cell, seeded(0))
    plain = copied(cell_of(3, 5, peephole=peephole), decoupled(values, coupled))
    same(unrolled(cell), unrolled(plain), tolerance=1e-13)


@pytest.mark.parametrize("peephole", [None, "diagonal"])
def test_the_two_couplings_are_one_with_the_sign_turned(peephole: Any) -> None:
    """i = 1 - f with f = σ(a) is f = 1 - i with i = σ(-a)."""
    seed = cell_of(3, 5, coupled="input", peephole=peephole)
    values = parameters(seed, seeded(0))
    turned = {k: np.concatenate([-v[..., :5], v[..., 5:]], -1) for k, v in values.items()}
    if peephole:
        turned.update(p_i=-values["p_f"], p_o=values["p_o"])
    onnx = copied(cell_of(3, 5, coupled="forget", peephole=peephole), turned)
    same(unrolled(seed), unrolled(onnx), tolerance=1e-13)


@pytest.mark.parametrize("coupled", ["input", "forget"])
@pytest.mark.parametrize("peephole", [None, "diagonal", "full"])
def test_a_coupled_cell_that_remembers_keeps_c_and_its_gradient(
    coupled: str, peephole: Any
) -> None:
    """f = 1 makes i = 0: after 1000 steps c, and dc/dc, are what they were."""
    cell = nn.LSTMCell(3, 4, coupled=coupled, peephole=peephole, forget_bias=1000.0)
    c = mg.randn(2, 4, requires_grad=True)
    steps = 1000 if peephole != "full" else 50
    _, (_, last) = nn.Recurrent(cell)(mg.randn(steps, 2, 3), (mg.randn(2, 4), c))
    np.testing.assert_array_equal(last.numpy(), c.detach().numpy())
    (dc,) = mg.grad(last.sum(), c)
    np.testing.assert_array_equal(dc.numpy(), np.ones((2, 4)))


# ---- the concatenated form -----------------------------------------------------------------------


def concatenated(weights: Any, coupled: Any, x: Any, h: Any, c: Any) -> Any:
    """W·[h, x] + b for each gate; with W·[c, h, x] where W has more rows: c is old, for o new."""

    def gate(name: str, c: Any) -> Any:
        W, b = (None if a is None else a.numpy() for a in weights[name])
        parts = [h, x] if len(W) == h.shape[1] + x.shape[1] else [c, h, x]
        return np.concatenate(parts, 1) @ W + (0 if b is None else b)

    i, f = (oracles.sigmoid(gate(k, c)) if k in weights else None for k in "if")
    i, f = 1 - f if coupled == "input" else i, 1 - i if coupled == "forget" else f
    c = f * c + i * np.tanh(gate("g", c))
    return oracles.sigmoid(gate("o", c)) * np.tanh(c), c


@given(data=st.data())
def test_the_concatenated_form_is_the_split_one(data: Any) -> None:
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    coupled, peephole = draw.choice(*SIGMOIDS), draw.choice(None, "full")
    sizes, bias = (draw.pick(1, 4), draw.pick(1, 4)), draw.flag()
    cell = cell_of(*sizes, bias=bias, coupled=coupled, peephole=peephole)
    parameters(cell, draw)
    n = draw.pick(1, 3)
    x, (h, c) = draw.normal(n, sizes[0]), state_of(cell, n, draw)
    weights = cell.to_concat()
    want = concatenated(weights, coupled, x, h, c)
    got = cell(*map(mg.from_numpy, (x,)), tuple(map(mg.from_numpy, (h, c))))
    for a, b in zip(got, want):
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-12, atol=1e-12)
    other = cell_of(*sizes, bias=bias, coupled=coupled, peephole=peephole)
    other.from_concat(weights)
    for name, p in cell.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].numpy(), p.numpy())


def test_the_concatenated_form_is_a_copy_and_is_checked() -> None:
    cell = nn.LSTMCell(3, 5, proj_size=2, peephole="diagonal")
    weights = cell.to_concat()
    before = cell.W.numpy().copy()
    weights["f"][0].mul_(2)
    np.testing.assert_array_equal(cell.W.numpy(), before)
    assert (weights["f"][0].shape, weights["f"][1].shape) == ((2 + 3, 5), (5,))
    wrong: list[tuple[Any, str]] = [
        ({k: weights[k] for k in "ifo"}, "gates i, f, o; this cell has i, f, g, o"),
        ({**weights, "o": (mg.zeros(8, 5), mg.zeros(5))}, r"o: W \[8, 5\].*needed W \[5, 5\]"),
        ({**weights, "o": (mg.zeros(5, 5), None)}, r"o: W \[5, 5\], b None.*b \[5\]"),
        ({**weights, "o": (mg.zeros(5, 5), mg.zeros(1))}, r"b \[1\]; needed .*b \[5\]"),
    ]
    for values, message in wrong:
        with pytest.raises(ValueError, match=message):
            cell.from_concat(values)
    np.testing.assert_array_equal(cell.W.numpy(), before)


# ---- the memory cell -----------------------------------------------------------------------------

SHUT, WIDE = -1000.0, 1000.0


def identity(x: Any) -> Any:
    return x


@pytest.mark.parametrize("z_i", [SHUT, WIDE])
@pytest.mark.parametrize("z_f", [SHUT, WIDE])
@pytest.mark.parametrize("z_o", [SHUT, WIDE])
def test_truth_table_of_the_gates(z_i: float, z_f: float, z_o: float) -> None:
    """Gates that are 0 or 1: c' = i g(z) + f c, a = o h(c'), exactly; 1 remembers, 0 forgets."""
    z, c = mg.tensor([3.0, -2.0]), mg.tensor([7.0, 0.5])
    gates = [mg.full((2,), v) for v in (z_i, z_f, z_o)]
    i, f, o = (float(v > 0) for v in (z_i, z_f, z_o))
    for g, h in ((identity, identity), (mg.tanh, mg.tanh), (mg.relu, lambda c: c * c)):
        a, new = nn.memory_cell(z, *gates, c, g, h)
        np.testing.assert_array_equal(new.numpy(), (i * g(z) + f * c).numpy())
        np.testing.assert_array_equal(a.numpy(), (o * h(new)).numpy())


def test_the_output_gate_weighs_after_h() -> None:
    """a = h(c') f(z_o), not f(c' f(z_o)): half open, it halves the output."""
    z, c, half = mg.tensor(0.0), mg.tensor(3.0), mg.tensor(0.0)
    a, new = nn.memory_cell(z, half, mg.tensor(WIDE), half, c)
    assert new.item() == 3.0
    assert a.item() == pytest.approx(0.5 * np.tanh(3.0), rel=1e-6)
    assert a.item() != pytest.approx(np.tanh(0.5 * 3.0), rel=0.1)


def test_an_lstm_is_a_memory_cell_with_four_linear_inputs() -> None:
    cell = cell_of(3, 5)
    x, h, c = operands(cell)
    z_i, z_f, z, z_o = (cell.project(x[0]) + h @ cell.U).chunk(4, -1)
    same(nn.memory_cell(z, z_i, z_f, z_o, c), cell(x[0], (h, c)), 1e-14)


@given(data=st.data())
def test_gradients_of_the_memory_cell(data: Any) -> None:
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    inputs = [leaf(draw.normal(2)) for _ in range(5)]
    g, h = draw.choice(mg.tanh, identity), draw.choice(mg.tanh, mg.sigmoid)
    for check in (mg.gradcheck, mg.gradgradcheck):
        assert check(lambda *a: nn.memory_cell(*a, g, h), inputs)


# ---- arguments -----------------------------------------------------------------------------------


def test_forget_bias_is_that_of_the_forget_gate() -> None:
    for coupled, gates in ((None, "ifgo"), ("input", "fgo"), ("forget", "igo")):
        layer = nn.LSTM(3, 5, 2, coupled=coupled, forget_bias=2.0, dtype="float64")
        for cell in layer.cells():
            values = dict(zip(gates, cell.b.detach().numpy().reshape(len(gates), 5)))
            f = oracles.sigmoid(values["f"]) if "f" in values else 1 - oracles.sigmoid(values["i"])
            np.testing.assert_allclose(f, 1 / (1 + np.exp(-2)), rtol=1e-14)
            others = [v for k, v in values.items() if k in "go"]
            assert abs(np.array(others)).max() <= 1 / np.sqrt(5)


def test_wrong_choices_are_refused() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"peephole": "diag"}, "peephole='diag': None, 'diagonal' or 'full'"),
        ({"coupled": "i"}, "coupled='i': None, 'input' or 'forget'"),
        ({"peephole_gates": "f"}, "peephole_gates='f' without peephole"),
        ({"peephole": "full", "peephole_gates": "fg"}, "peephole_gates='fg': some of 'ifo'"),
        ({"peephole": "full", "peephole_gates": "ff"}, "'ff': some of 'ifo', each once"),
        (
            {"peephole": "diagonal", "peephole_gates": "if", "coupled": "input"},
            "'if': some of 'fo', each once: with coupled='input' there are no others",
        ),
        ({"forget_bias": 1.0, "bias": False}, "forget_bias=1.0 needs bias=True"),
    ]
    for options, message in wrong:
        for make in (nn.LSTMCell, nn.LSTM):
            with pytest.raises(ValueError, match=message):
                make(3, 5, **options)


def test_weights_of_another_form_are_refused() -> None:
    """By name where a peephole is missing or too many, by shape where a gate is."""
    plain, peephole, coupled = (
        nn.LSTM(3, 5, **options)
        for options in ({}, {"peephole": "diagonal", "peephole_gates": "o"}, {"coupled": "input"})
    )
    with pytest.raises(RuntimeError, match=r"missing: .*p_o"):
        peephole.load_state_dict(plain.state_dict())
    with pytest.raises(RuntimeError, match=r"unexpected: .*p_o"):
        plain.load_state_dict(peephole.state_dict())
    with pytest.raises(RuntimeError, match=r"W \[3, 20\], here \[3, 15\]"):
        coupled.load_state_dict(plain.state_dict())
    torch_weights = {
        "weight_ih_l0": np.ones((20, 3)), "weight_hh_l0": np.ones((20, 5)),
        "bias_ih_l0": np.zeros(20), "bias_hh_l0": np.zeros(20),
    }  # fmt: skip
    plain.load_torch(torch_weights)
    with pytest.raises(ValueError, match="PyTorch's LSTM has no peepholes"):
        peephole.load_torch(torch_weights)
    with pytest.raises(ValueError, match="i and f are coupled here, but not there"):
        coupled.load_torch(torch_weights)


def test_a_parameter_that_comes_or_goes_counts() -> None:
    """What is known of a cell's kernel is forgotten when the cell changes."""
    cell = cell_of(3, 5, peephole="diagonal")
    before = unrolled(cell)
    cell.p_o = None
    same(unrolled(cell), nn.Recurrent(cell, fused=False)(*packed(cell)))
    assert abs((unrolled(cell)[0] - before[0]).detach().numpy()).max() > 1e-4
    cell.b = None
    same(unrolled(cell), nn.Recurrent(cell, fused=False)(*packed(cell)))


def packed(cell: Any) -> Any:
    """x, (h, c)"""
    x, *state = operands(cell)
    return x, tuple(state)


def test_repr_tells_the_form() -> None:
    cell = nn.LSTMCell(3, 5, proj_size=2, peephole="diagonal", coupled="input", bias=False)
    want = (
        "3, 5, bias=False, proj_size=2, coupled='input', peephole='diagonal', peephole_gates='fo'"
    )
    assert repr(cell) == f"LSTMCell({want})"
    assert repr(nn.LSTMCell(3, 5)) == "LSTMCell(3, 5)"
