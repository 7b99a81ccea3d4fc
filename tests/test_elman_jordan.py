"""What is particular to the networks of Elman and Jordan; the generic part is in test_recurrent.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
from cell_table import leaf, parameters, same, weighted
from draw import Draw, seeded
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn


def draw_from(data: Any) -> Draw:
    return Draw(lambda low, high: data.draw(st.integers(low, high)))


# ---- Elman -------------------------------------------------------------------------------------


@given(data=st.data())
def test_context_units(data: Any) -> None:
    """Elman's drawing: hidden units read the input and context units, which hold a copy of the hidden
    units of the step before, one to one.  The same as RNNCell, to the bit, gradients too.
    """
    draw = draw_from(data)
    size, steps = draw.pick(1, 9), draw.pick(1, 5)
    cell = nn.RNNCell(draw.pick(1, 4), size, dtype="float64")
    x = leaf(draw.normal(steps, draw.pick(1, 3), cell.input_size))
    copy = mg.eye(size, dtype="float64")  # fixed: no parameter
    context, hidden = mg.zeros(x.shape[1], size, dtype="float64"), []
    for t in range(steps):
        hidden.append((x @ cell.W + cell.b)[t].add(context @ cell.U).tanh())
        context = hidden[-1] @ copy
    written = mg.stack(hidden)
    y, _ = nn.Recurrent(cell, fused=False)(x)
    same(y, written, tolerance=0)
    wanted = [x, *cell.parameters()]
    same(*(mg.grad(weighted(r), wanted) for r in (y, written)), 1e-14)


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
def test_the_simple_network_with_its_output_layer(output: str) -> None:
    """a_t = tanh(x W + a U + b), y_t = g(a V + c): one bias per equation, g as the task wants it."""
    draw = seeded(0)
    rnn, out = nn.RNN(3, 4, dtype="float64"), nn.Linear(4, 2, dtype="float64")
    g = {"softmax": nn.Softmax(-1), "sigmoid": nn.Sigmoid(), "identity": nn.Identity()}[output]
    x = draw.normal(5, 2, 3)
    a, _ = rnn(mg.from_numpy(x))
    y = nn.Sequential(out, g)(a)
    p = {name: p.numpy() for name, p in rnn.cells()[0].named_parameters()}
    state, wanted = (np.zeros((2, 4)),), {"identity": lambda v: v}
    f = getattr(oracles, output, wanted.get(output))
    for t in range(5):
        state = oracles.elman(p, x[t], state)
        want = f(state[0] @ out.weight.numpy().T + out.bias.numpy())
        np.testing.assert_allclose(y[t].detach().numpy(), want, rtol=1e-13)
    assert p.keys() == {"W", "U", "b"}


@given(data=st.data())
def test_the_state_before_or_after_the_nonlinearity(data: Any) -> None:
    """h_t = f(h_{t-1}) U + x_t W, y_t = f(h_t) is the network s_t = f(x_t W + s_{t-1} U), if that
    starts from f(h_0); and ∂h_t/∂h_{t-1} = diag(f'(h_{t-1})) U.
    """
    draw = draw_from(data)
    size, steps = draw.pick(1, 4), draw.pick(1, 4)
    cell = nn.PreactivationRNNCell(2, size, dtype="float64")
    values = parameters(cell, draw)
    usual = nn.RNNCell(2, size, dtype="float64")
    usual.load_state_dict(cell.state_dict())
    x, h0 = mg.from_numpy(draw.normal(steps, 2, 2)), leaf(draw.normal(2, size))
    results = []
    for layer, start in ((cell, h0), (usual, h0.tanh())):
        y, (h,) = nn.Recurrent(layer)(x, start)
        results.append((y, mg.grad(weighted(y), [h0, *layer.parameters()])))
        last = h.tanh() if layer is cell else h
        same(last, y[-1], 1e-13)
    same(*results)
    h = leaf(draw.normal(1, size))
    (new,) = cell.step(cell.project(x[0, :1]), (h,))[1]
    jacobian = [mg.grad(new[0, j], h, retain_graph=True)[0].numpy()[0] for j in range(size)]
    slope = 1 - np.tanh(h.detach().numpy()[0]) ** 2
    np.testing.assert_allclose(np.transpose(jacobian), slope[:, None] * values["U"], rtol=1e-12)


def test_any_nonlinearity() -> None:
    """A function has no kernel; a module is a part of the cell."""
    cell = nn.RNNCell(3, 4, nonlinearity=nn.LeakyReLU(0.2))
    x, h = mg.randn(2, 3), mg.randn(2, 4)
    want = nn.functional.leaky_relu(x @ cell.W + cell.b + h @ cell.U, 0.2)
    same(cell(x, h), want, 1e-6)
    with pytest.raises(ValueError, match="there is no kernel for RNNCell"):
        nn.RNN(3, 4, nonlinearity=mg.sin, fused=True)
    with pytest.raises(ValueError, match="nonlinearity='sin': 'tanh' or 'relu', or a function"):
        nn.RNNCell(3, 4, nonlinearity="sin")


@pytest.mark.parametrize("front", [nn.RNN, nn.LSTM, nn.GRU])
def test_one_model_for_any_length(front: Any) -> None:
    """The number of parameters knows nothing of T, and the gradient of each is of its own shape."""
    layer = front(3, 4)
    for steps in (1, 7, 40):
        y, _ = layer(mg.randn(steps, 2, 3))
        grads = mg.grad(y.sum(), list(layer.parameters()))
        assert y.shape[0] == steps
        assert [g.shape for g in grads] == [p.shape for p in layer.parameters()]


# ---- Jordan ------------------------------------------------------------------------------------


def jordan(**options: Any) -> Any:
    return nn.JordanCell(3, 5, 2, output="softmax", dtype="float64", **options)


@given(data=st.data())
def test_teacher_forcing_is_the_equation(data: Any) -> None:
    """Each step with the target of the valid step before; afterwards, the last target is the state."""
    draw = draw_from(data)
    cell, reverse = jordan(), draw.flag()
    values = parameters(cell, draw)
    steps, n = draw.pick(1, 5), draw.pick(1, 3)
    mask = draw.rng.random((steps, n)) < 0.7
    x, targets, start = draw.normal(steps, n, 3), draw.normal(steps, n, 2), draw.normal(n, 2)
    taught = leaf(np.where(mask[..., None], targets, np.nan))
    y, (last,) = nn.Recurrent(cell, reverse)(
        mg.from_numpy(x), mg.from_numpy(start), mask=mask, targets=taught
    )
    want = np.zeros((steps, n, 2))
    for i in range(n):
        before = start[i]
        for t in np.flatnonzero(mask[:, i])[:: -1 if reverse else 1]:
            (want[t, i],) = oracles.jordan(values, x[t, i], (before,), g=oracles.softmax)
            before = targets[t, i]
        np.testing.assert_array_equal(last[i].detach().numpy(), before)
    np.testing.assert_allclose(y.detach().numpy(), want, rtol=1e-12, atol=1e-12)
    if y.requires_grad:
        grads = mg.grad(weighted(y), [taught, *cell.parameters()], allow_unused=True)
        assert all(np.isfinite(g.numpy()).all() for g in grads if g is not None)


def test_taught_by_itself_it_runs_freely() -> None:
    """Targets that are its own outputs change nothing but the way of the gradient."""
    x, layer = mg.randn(6, 3, 3, dtype="float64", requires_grad=True), nn.Recurrent(jordan())
    free, last = layer(x)
    taught, state = layer(x, targets=free.detach())
    same((taught, state), (free, last), tolerance=0)
    for y, through_time in ((free, True), (taught, False)):
        (g,) = mg.grad(weighted(y[-1]), x)
        assert [bool(row.any()) for row in g.numpy()] == [through_time] * 5 + [True]
    first, between = layer(x[:2], targets=free[:2])
    second, end = layer(x[2:], between, targets=free[2:])
    same((mg.cat([first, second]), end), (taught, state), tolerance=0)


def test_targets_in_fronts() -> None:
    """Both directions are taught; several layers: the topmost one; batch first; without batch."""
    options: Any = {"output": "softmax", "bidirectional": True, "dtype": "float64"}
    front = nn.JordanRNN(3, 5, 2, 2, **options)
    x, targets = mg.randn(6, 3, 3, dtype="float64"), mg.randn(6, 3, 2, dtype="float64")
    y, last = front(x, targets=targets, lengths=[6, 2, 4])
    below, top = front.stack.layers
    read, _ = below(x, lengths=[6, 2, 4])
    a, _ = top.ahead(read, None, [6, 2, 4], targets=targets)
    b, _ = top.back(read, None, [6, 2, 4], targets=targets)
    same(y, mg.cat([a, b], -1), tolerance=0)
    ends = mg.stack([targets[n - 1, i] for i, n in enumerate([6, 2, 4])])
    same(last[2:], mg.stack([ends, targets[0]]), tolerance=0)
    turned = nn.JordanRNN(3, 5, 2, 2, batch_first=True, **options)
    turned.load_state_dict(front.state_dict())
    got, _ = turned(x.transpose(0, 1), lengths=[6, 2, 4], targets=targets.transpose(0, 1))
    same(got.transpose(0, 1), y, tolerance=0)
    alone, _ = turned(x[:, 0], targets=targets[:, 0])
    same(alone, front(x[:, :1], targets=targets[:, :1])[0][:, 0], 1e-13)
    with nn.trace(front) as record:
        front(x, targets=targets)
    assert {k: v.shape for k, v in record[2].items()} == {"y": (6, 3, 2), "h": (6, 3, 5)}


def test_what_jordan_refuses() -> None:
    layer, x = nn.Recurrent(nn.JordanCell(3, 5, 2)), mg.zeros(6, 4, 3)
    with pytest.raises(ValueError, match=r"targets \[5, 4, 2\]: \[6, 4, 2\] is needed"):
        layer(x, targets=mg.zeros(5, 4, 2))
    for cell in (nn.RNNCell(3, 5), nn.LSTMCell(3, 5)):
        with pytest.raises(ValueError, match=f"targets: {type(cell).__name__} does not feed back"):
            nn.Recurrent(cell)(x, targets=mg.zeros(6, 4, 5))
    with pytest.raises(ValueError, match="JordanCell: output='swish': one of identity, tanh"):
        nn.JordanCell(3, 5, 2, output="swish")
    with pytest.raises(ValueError, match="JordanCell: nonlinearity='swish'"):
        nn.JordanCell(3, 5, 2, nonlinearity="swish")
    with pytest.raises(ValueError, match="output_size=0: at least 1"):
        nn.JordanCell(3, 5, 0)


@given(data=st.data())
def test_jordan_with_the_options_of_every_cell(data: Any) -> None:
    """Layer norm, zoneout of y and a first y that is learnt, by their equations; gradients."""
    draw = draw_from(data)
    sizes = draw.pick(1, 4), draw.pick(2, 6), draw.pick(1, 4)
    p = 0.3
    layer = nn.JordanRNN(*sizes, dtype="float64", layer_norm=True, zoneout=p, learn_initial=True)
    layer.eval()
    (cell,) = layer.cells()
    cell.y0.data = mg.tensor(draw.normal(sizes[2]))
    x = leaf(draw.normal(draw.pick(1, 4), draw.pick(1, 3), sizes[0]))

    def norm(v: Any, gain: Any) -> Any:
        return (
            (v - v.mean(-1, keepdim=True))
            / (v.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
            * gain
        )

    y, wanted = cell.y0.expand(x.shape[1], sizes[2]), []
    for x_t in x:
        z = norm(x_t @ cell.W, cell.gW) + cell.b + norm(y @ cell.U, cell.gU)
        y = p * y + (1 - p) * (z.tanh() @ cell.V + cell.c)
        wanted.append(y)
    assert np.allclose(layer(x)[0].detach(), mg.stack(wanted).detach(), atol=1e-12)
    assert mg.gradcheck(lambda x: layer(x)[0], [x])


@pytest.mark.parametrize("options", [{"recurrent_dropout": 0.5}, {"weight_drop": 0.5}])
def test_jordan_draws_in_training_alone(options: Any) -> None:
    layer = nn.JordanRNN(3, 8, 4, **options)
    x = mg.randn(9, 2, 3)
    assert not np.array_equal(layer(x)[0].detach(), layer(x)[0].detach())
    layer.eval()
    assert np.array_equal(layer(x)[0].detach(), layer(x)[0].detach())
