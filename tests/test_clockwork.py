"""The clockwork RNN: its connections, its clock, the paper's backward pass, its kernel."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cell_table import flat, leaf, same, weighted
from draw import Draw
from fused_pair import agree
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import core, nn
from minigrad._core import ffi, lib


def drawn(data: Any) -> Draw:
    return Draw(lambda low, high: data.draw(st.integers(low, high)))


def clocks(*values: int) -> Any:
    """t [N, 1]"""
    return mg.from_numpy(np.array(values)[:, None])


def free(draw: Draw, **options: Any) -> Any:
    """A cell with any periods and sizes."""
    periods = sorted(draw.pick(1, 7) for _ in range(draw.pick(1, 4)))
    sizes = [draw.choice(1, 2, 5, 8, 17) for _ in periods]
    return nn.ClockworkCell(draw.pick(1, 9), sum(sizes), periods, sizes, **options)


# ---- who hears whom ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden", "periods", "weights"),
    [(256, (1, 2, 4, 8), 40_960), (288, [2**i for i in range(9)], 46_080), (6, (3,), 36)],
)
def test_only_the_weights_that_exist(hidden: int, periods: Any, weights: int) -> None:
    """g groups of k units: k² g (g + 1) / 2 numbers, against H² (MISSION C5)."""
    cell = nn.ClockworkCell(3, hidden, periods)
    g, k = len(periods), hidden // len(periods)
    assert cell.U.shape == (weights,) == (k * k * g * (g + 1) // 2,)
    assert np.count_nonzero(cell.matrix().detach().numpy()) == weights
    assert weights == core.Clock(0, cell.group_sizes, cell.periods).weights()


@given(data=st.data())
def test_news_goes_from_slow_to_fast(data: Any) -> None:
    """U_ji, group j to group i, is zero unless T_j >= T_i; every number of U is in its place."""
    cell = free(drawn(data), dtype="float64")
    U = mg.arange(1, len(cell.U) + 1).double()
    cell.U = nn.Parameter(U)
    matrix = cell.matrix().detach().numpy()
    np.testing.assert_array_equal(matrix != 0, cell.every[:, None] >= cell.every)
    np.testing.assert_array_equal(matrix[matrix != 0], U.numpy())
    (g,) = mg.grad((cell.matrix() * mg.from_numpy(matrix)).sum(), [cell.U])
    np.testing.assert_array_equal(g.numpy(), U.numpy())


def test_groups_of_one_period_are_one() -> None:
    cell = nn.ClockworkCell(3, 10, (1, 1, 4, 6, 6), (1, 2, 3, 3, 1))
    assert (cell.periods, cell.group_sizes) == ((1, 4, 6), (3, 3, 4))
    assert nn.ClockworkCell(3, 8).group_sizes == (2, 2, 2, 2)
    assert nn.ClockworkCell(3, 10).group_sizes == (3, 3, 2, 2)
    assert repr(cell) == "ClockworkCell(3, 10, periods=(1, 4, 6))"


def test_wrong_groups_are_refused() -> None:
    for periods in ((), (0, 1), (2, 1)):
        with pytest.raises(ValueError, match=r"periods=.*from 1 on, the fast groups first"):
            nn.ClockworkCell(3, 4, periods)
    with pytest.raises(ValueError, match=r"group_sizes=\[1, 1, 1, 0\]: 4 sizes are needed"):
        nn.ClockworkCell(3, 3)
    for sizes in ((3, 3), (1, 2, 2), (0, 3, 3)):
        with pytest.raises(ValueError, match=r"3 sizes are needed.*add up to hidden_size=6"):
            nn.ClockworkCell(3, 6, (1, 2, 3), sizes)
    with pytest.raises(ValueError, match="'gelu': 'tanh' or 'relu'"):
        nn.ClockworkCell(3, 4, nonlinearity="gelu")


def test_parameters_and_nothing_else_are_saved() -> None:
    cell = nn.ClockworkCell(3, 8)
    assert sorted(cell.state_dict()) == ["U", "W", "b"]
    twin = copy.deepcopy(cell)
    twin.load_state_dict(nn.ClockworkCell(3, 8).state_dict())
    assert twin.U.data is not cell.U.data
    x = mg.randn(2, 3)
    assert abs((twin(x)[0] - cell(x)[0]).detach().numpy()).max() > 1e-3


# ---- the clock -----------------------------------------------------------------------------------


def test_the_paper_at_step_six() -> None:
    """Periods 1, 2, 4, 8, 16: at t = 6 the groups 1 and 2 compute (MISSION C3), the others wait."""
    for fused in (True, False):
        rnn = nn.ClockworkRNN(3, 10, periods=(1, 2, 4, 8, 16), fused=fused)
        y, _ = rnn(mg.randn(7, 2, 3))
        moved = (y[6] != y[5]).numpy().all(0)
        np.testing.assert_array_equal(moved, [True] * 4 + [False] * 6)
        first = y[0].detach().numpy()  # t = 0: all
        assert first.all()


@pytest.mark.parametrize("fused", [True, False])
@given(data=st.data())
def test_between_its_ticks_a_group_stands_still(fused: bool, data: Any) -> None:
    """The same bits as before, and a change where it ticks (C2)."""
    draw = drawn(data)
    cell, start = free(draw), draw.pick(0, 9)
    layer = nn.Recurrent(cell, fused=fused)
    state = mg.randn(3, cell.hidden_size), clocks(start, start, start)
    y, (h, t) = layer(mg.randn(6, 3, cell.input_size), state)
    before = np.concatenate([state[0].numpy()[None], y.detach().numpy()])
    changed = (before[1:] != before[:-1]).all(1)
    np.testing.assert_array_equal(changed, (start + np.arange(6))[:, None] % cell.every == 0)
    np.testing.assert_array_equal(h.detach().numpy(), before[-1])
    assert t.numpy().ravel().tolist() == [start + 6] * 3


@given(data=st.data())
def test_every_sequence_has_its_clock(data: Any) -> None:
    """A batch with clocks that differ is its sequences one by one; the kernel has one clock."""
    draw = drawn(data)
    cell, n = free(draw, dtype="float64"), draw.pick(1, 3)
    layer, lengths = nn.Recurrent(cell, reverse=draw.flag()), draw.integers(0, 5, (n,))
    x = mg.randn(4, n, cell.input_size, dtype="float64")
    h, t = mg.randn(n, cell.hidden_size, dtype="float64"), clocks(*draw.integers(0, 9, (n,)))
    y, (last, ticks) = layer(x, (h, t), lengths)
    for i, length in enumerate(lengths):
        one = slice(i, i + 1)
        want, state = nn.Recurrent(cell, layer.reverse)(x[:length, one], (h[one], t[one]))
        same((y[:length, one], last[one], ticks[one]), (want, state))
    np.testing.assert_array_equal(ticks.numpy()[:, 0], t.numpy()[:, 0] + lengths)


def test_clocks_that_differ_where_they_matter() -> None:
    cell = nn.ClockworkCell(3, 8)
    layer, x = nn.Recurrent(cell, fused=True), mg.randn(4, 2, 3)
    state = mg.zeros(2, 8), clocks(1, 2)
    with pytest.raises(
        ValueError, match=r"clocks t from 1 to 2.*one for the whole batch.*\"auto\""
    ):
        layer(x, state)
    y, _ = layer(x, state, [4, 0])  # the second takes no step
    same(y[:, :1], nn.Recurrent(cell, fused=False)(x[:, :1], (state[0][:1], clocks(1)))[0], 1e-5)
    for fused in (True, False):
        with pytest.raises(TypeError, match="clock t is float32: the steps done, int64"):
            nn.Recurrent(cell, fused=fused)(x, (state[0], mg.zeros(2, 1)))
        with pytest.raises(ValueError, match=r"ClockworkCell: .*\[2\].*\[2, 8\]"):
            nn.Recurrent(cell, fused=fused)(x, (state[0], mg.zeros(2, dtype="int64")))
        with pytest.raises(ValueError, match=r"ClockworkCell: .*state"):
            nn.Recurrent(cell, fused=fused)(x, state[0])
    h = mg.randn(2, 8)  # one step: clocks that differ, too
    new, t = cell(x[0], (h, clocks(1, 2)))
    stays = (new == h).numpy()
    np.testing.assert_array_equal(stays[0], [False] * 2 + [True] * 6)
    np.testing.assert_array_equal(stays[1], [False] * 4 + [True] * 4)
    assert t.numpy().ravel().tolist() == [2, 3]


@given(data=st.data())
def test_ragged_sequences_in_windows(data: Any) -> None:
    """Truncated BPTT over a batch with lengths: sequences that have ended keep their clock."""
    draw = drawn(data)
    cell = free(draw, dtype="float64")
    layer, steps, window = nn.Recurrent(cell, fused=True), draw.pick(1, 9), draw.pick(1, 4)
    x, lengths = (
        mg.randn(steps, 3, cell.input_size, dtype="float64"),
        draw.integers(0, steps + 1, (3,)),
    )
    whole, final = layer(x, None, lengths)
    state, ys = None, []
    for t in range(0, steps, window):
        part = x[t : t + window]
        y, state = layer(part, state, (lengths - t).clip(0, len(part)))
        ys.append(y)
    same((whole, final), (mg.cat(ys), state))
    assert final[1].numpy().ravel().tolist() == lengths.tolist()


# ---- special cases -------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_one_group_that_always_ticks_is_elman(fused: bool, nonlinearity: str) -> None:
    """Values and all gradients."""
    options = {"nonlinearity": nonlinearity, "dtype": "float64", "fused": fused}
    elman = nn.RNN(3, 17, 2, bidirectional=True, **options)
    clockwork = nn.ClockworkRNN(3, 17, 2, bidirectional=True, periods=(1,), **options)
    values = elman.state_dict()
    clockwork.load_state_dict(
        {k: v.reshape(-1) if k.endswith("U") else v for k, v in values.items()}
    )
    x, results = mg.randn(7, 5, 3, dtype="float64"), []
    for layer in (elman, clockwork):
        y, state = layer(x, lengths=[7, 3, 0, 1, 7])
        h = flat(state)[0]
        gradients = mg.grad(weighted((y, h)), list(layer.parameters()))
        results.append((y, h, [g.reshape(-1) for g in gradients]))
    same(*results)


@given(data=st.data())
def test_rare_ticks_are_a_slower_sequence(data: Any) -> None:
    """One group of period p on x is an Elman network on every p-th x."""
    draw = drawn(data)
    p, steps = draw.pick(1, 4), draw.pick(1, 12)
    clockwork = nn.ClockworkCell(3, 5, (p,), dtype="float64")
    elman = nn.RNNCell(3, 5, dtype="float64")
    elman.load_state_dict({**clockwork.state_dict(), "U": clockwork.U.reshape(5, 5)})
    x = mg.randn(steps, 2, 3, dtype="float64")
    y, (h, _) = nn.Recurrent(clockwork)(x)
    want, (last,) = nn.Recurrent(elman)(x[::p])
    same((y[::p], h), (want, last))


# ---- the backward pass by hand -------------------------------------------------------------------


def by_hand(p: dict[str, Any], every: Any, x: Any, h0: Any, t0: int, dy: Any) -> dict[str, Any]:
    """Back-propagation through time as in the paper, for tanh: error goes through the groups that are
    active, the others copy it back in time (MISSION C4).  All dense; U a matrix.
    """
    steps = len(x)
    hs, active = [h0], [(t0 + t) % every == 0 for t in range(steps)]
    for t in range(steps):
        new = np.tanh(x[t] @ p["W"] + hs[-1] @ p["U"] + p["b"])
        hs.append(np.where(active[t], new, hs[-1]))
    g = {name: np.zeros_like(value) for name, value in p.items()}
    g["x"], dh = np.zeros_like(x), np.zeros_like(h0)
    for t in reversed(range(steps)):
        dh = dh + dy[t]
        dz = np.where(active[t], dh * (1 - hs[t + 1] ** 2), 0)
        g["W"] += x[t].T @ dz
        g["U"] += hs[t].T @ dz
        g["b"] += dz.sum(0)
        g["x"][t] = dz @ p["W"].T
        dh = np.where(active[t], 0, dh) + dz @ p["U"].T
    return {**g, "h0": dh, "y": np.stack(hs[1:])}


@pytest.mark.parametrize("fused", [True, False])
@given(data=st.data())
def test_backward_is_the_papers(fused: bool, data: Any) -> None:
    draw = drawn(data)
    cell, n, start = free(draw, dtype="float64"), draw.pick(1, 9), draw.pick(0, 9)
    x, h0 = leaf(draw.normal(7, n, cell.input_size)), leaf(draw.normal(n, cell.hidden_size))
    dy = draw.normal(7, n, cell.hidden_size)
    y, _ = nn.Recurrent(cell, fused=fused)(x, (h0, clocks(*[start] * n)))
    y.backward(mg.from_numpy(dy))
    dense = {"W": cell.W, "b": cell.b, "U": cell.matrix()}
    values = {name: a.detach().numpy() for name, a in dense.items()}
    want = by_hand(values, cell.every, x.detach().numpy(), h0.detach().numpy(), start, dy)
    want["U"] = want["U"].reshape(-1)[cell.places.numpy()]
    found = {"y": y.detach(), "x": x.grad, "h0": h0.grad}
    found.update({name: p.grad for name, p in cell.named_parameters()})
    assert found.keys() == want.keys()
    for name, a in found.items():
        np.testing.assert_allclose(a.numpy(), want[name], rtol=1e-10, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("fused", [True, False])
def test_error_stands_still_with_the_state(fused: bool) -> None:
    """While a group waits, its error is copied back, the same bits: dh_t / dh_0 = 1 over 99 steps."""
    cell = nn.ClockworkCell(3, 6, (1, 100), (3, 3))
    x, h = mg.randn(99, 2, 3, requires_grad=True), mg.randn(2, 6, requires_grad=True)
    _, (last, _) = nn.Recurrent(cell, fused=fused)(x, (h, clocks(1, 1)))
    g = mg.randn(2, 3)
    dh, dx, dU = mg.grad(last[:, 3:], [h, x, cell.U], g)
    np.testing.assert_array_equal(last[:, 3:].detach().numpy(), h[:, 3:].detach().numpy())
    np.testing.assert_array_equal(dh.numpy(), np.concatenate([np.zeros((2, 3)), g.numpy()], 1))
    assert not dx.numpy().any()
    assert not dU.numpy().any()


# ---- the kernel ----------------------------------------------------------------------------------


@given(data=st.data())
def test_fused_is_readable_for_any_periods(isa: str, data: Any) -> None:
    """Sizes, clocks, directions, lengths, types, threads; several blocks of rows among them."""
    draw = drawn(data)
    dtype = draw.choice("float64", "float32")
    threads = core.get_num_threads()
    core.set_num_threads(draw.pick(1, 2))
    cell = free(draw, dtype=dtype, nonlinearity=draw.choice("tanh", "relu"), bias=draw.flag())
    steps, n = draw.choice((5, 1), (40, 33), (70, 8), (300, 2))
    reverse, start = draw.flag(), draw.pick(0, 9)
    lengths = draw.integers(0, steps + 1, (n,)) if draw.flag() else None
    x, h0 = draw.normal(steps, n, cell.input_size).astype(dtype), draw.normal(n, cell.hidden_size)
    results = []
    for fused in (True, False):
        leaves = [leaf(x), leaf(h0.astype(dtype)), *cell.parameters()]
        layer = nn.Recurrent(cell, reverse, fused)
        y, state = layer(leaves[0], (leaves[1], clocks(*[start] * n)), lengths)
        loss = weighted([r.double() for r in (y, state[0])])
        results.append((y, *state, *mg.grad(loss, leaves, allow_unused=True)))
    core.set_num_threads(threads)
    for k, (a, b) in enumerate(zip(*results)):
        agree(a, b, dtype, f"result {k}, {isa}")


def test_the_door_refuses_what_is_no_clockwork() -> None:
    nothing = ffi.new(f"void *[{lib.MG_ARG_DC0 + 1}]")
    good = [core.F64, core.SEQ["clockwork_tanh"], 0, 0, 3, 5, 5, 0, 4, 2, 3, 2, 1, 7]
    calls = (lib.mg_sequence_forward, lib.mg_sequence_backward)

    def statuses(form: list[int]) -> set[int]:
        return {call(ffi.new("int64_t[]", form), nothing, ffi.NULL, ffi.NULL) for call in calls}

    assert statuses(good) == {lib.MG_OK}
    for place, value in [(8, -1), (9, 0), (9, -1), (9, 6), (10, 4), (10, 0), (12, 0), (13, -2)]:
        assert statuses([*good[:place], value, *good[place + 1 :]]) == {lib.MG_BAD_OP}


def test_arrays_that_do_not_fit_are_refused() -> None:
    clock = core.Clock(0, (2, 3), (1, 2))
    x, W, U = mg.zeros(4, 2, 3), mg.zeros(3, 5), mg.zeros(2 * 2 + 3 * 5)

    def forward(cell: str, U: Any, clock: Any = None) -> Any:
        return core.sequence_forward(cell, ("x", "W", "U"), (x, W, U), clock=clock)

    forward("clockwork_relu", U, clock)
    for cell, it in (("clockwork_tanh", None), ("rnn_tanh", clock)):
        with pytest.raises(ValueError, match=f"{cell}: a Clock is what a clockwork RNN needs"):
            forward(cell, U, it)
    for wrong in (mg.zeros(5, 5), mg.zeros(18)):
        with pytest.raises(ValueError, match=r"U \[18\]: \[19\] is needed|U \[5, 5\]"):
            forward("clockwork_tanh", wrong, clock)
    with pytest.raises(ValueError, match="a period for each group"):
        forward("clockwork_tanh", U, core.Clock(0, (2, 3), (1,)))


def test_a_stream_of_steps() -> None:
    """Without gradients, step by step, through more steps than the groups have phases."""
    cell = nn.ClockworkCell(3, 6, (1, 2, 3))
    x = mg.randn(30, 2, 3)
    whole, _ = nn.Recurrent(cell, fused=False)(x)
    state: Any = None
    with mg.no_grad():
        for t in range(30):
            state = cell(x[t], state)
            np.testing.assert_allclose(state[0].numpy(), whole[t].detach().numpy(), atol=1e-5)
