"""Layers that keep their state; initial values gate by gate."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cell_table import Kind, every_kind, flat, same, weighted

import minigrad as mg
from minigrad import nn

# ---- Stateful ----------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("batch_first", [False, True])
def test_pieces_give_the_whole(kind: Kind, batch_first: bool) -> None:
    """Outputs and state of one call; gradients of each piece by itself."""
    layer = kind.layers(3, 4, 2, batch_first=batch_first)
    x = mg.randn(7, 2, 3, dtype="float64")
    mask = mg.from_numpy(np.random.default_rng(0).random((7, 2)) < 0.8)
    turned = (lambda a: a.transpose(0, 1)) if batch_first else (lambda a: a)
    whole, last = layer(turned(x), None, None, turned(mask))
    stateful, ys, state = nn.Stateful(layer), [], None
    for piece in (slice(0, 2), slice(2, 3), slice(3, 7)):
        y = stateful(turned(x[piece]), mask=turned(mask[piece]))
        want, state = layer(turned(x[piece]), nn.detached(state), None, turned(mask[piece]))
        wanted = list(layer.parameters())
        same(*(mg.grad(weighted(r), wanted, allow_unused=True) for r in (want, y)), 0)
        ys.append(y)
    same((mg.cat(ys, int(batch_first)), stateful.state), (whole, last))
    assert not any(s.requires_grad for s in flat(stateful.state))
    stateful.reset()
    same(stateful(turned(x[:2]), mask=turned(mask[:2])), ys[0], tolerance=0)
    stateful.reset(last)
    same(stateful(turned(x)), layer(turned(x), last)[0], tolerance=0)


def test_a_batch_of_another_size_is_refused() -> None:
    stateful = nn.Stateful(nn.LSTM(3, 4))
    stateful(mg.randn(5, 2, 3))
    with pytest.raises(ValueError, match=r"of 2 sequences, x \[5, 3, 3\] has 3 sequences.*reset"):
        stateful(mg.randn(5, 3, 3))
    with pytest.raises(ValueError, match=r"x \[5, 3\] has one sequence alone: call reset\(\)"):
        stateful(mg.randn(5, 3))
    stateful.reset()
    assert stateful(mg.randn(5, 3)).shape == (5, 4)
    turned = nn.Stateful(nn.GRU(3, 4, batch_first=True))
    turned(mg.randn(2, 5, 3))
    turned(mg.randn(2, 1, 3))
    with pytest.raises(ValueError, match="is that of 2 sequences"):
        turned(mg.randn(5, 2, 3))


def test_stateful_blocks_and_targets() -> None:
    """Of Recurrent and Stack as of the fronts; a Jordan network is taught across the pieces."""
    x, targets = mg.randn(6, 2, 3), mg.randn(6, 2, 2)
    layer = nn.Stack([nn.Recurrent(nn.LSTMCell(3, 4)), nn.Recurrent(nn.JordanCell(4, 5, 2))])
    whole, _ = layer(x, targets=targets)
    stateful = nn.Stateful(layer)
    parts = [stateful(x[p], targets=targets[p]) for p in (slice(0, 4), slice(4, 6))]
    same(mg.cat(parts), whole, 1e-6)


def test_a_copy_and_what_is_saved() -> None:
    """A copy goes on by itself; the state is no parameter."""
    stateful, x = nn.Stateful(nn.GRU(3, 4)), mg.randn(5, 2, 3)
    stateful(x)
    assert stateful.state_dict().keys() == {f"layer.{k}" for k in stateful.layer.state_dict()}
    other = copy.deepcopy(stateful)
    other.reset()
    other(x[:1])
    assert abs((other.state - stateful.state).numpy()).max() > 0
    same(stateful(x), stateful.layer(x, stateful.layer(x)[1])[0], 1e-5)


# ---- gates_ ------------------------------------------------------------------------------------


def columns(cell: Any, gate: str, name: str = "U") -> Any:
    """The block of one gate: ndarray."""
    own = getattr(cell, name + gate, None)
    if own is not None:
        return own.numpy()
    size, shared = cell.hidden_size, [g for g in cell.gates if not hasattr(cell, name + g)]
    k = shared.index(gate)
    return getattr(cell, name).numpy()[..., k * size : (k + 1) * size]


@every_kind
def test_each_gate_by_itself(kind: Kind) -> None:
    """Orthogonal per gate, not as a whole; biases by letter; layers and directions alike."""
    layer = kind.layers(3, 5, 2, bidirectional=True)
    if layer.cells()[0].U.ndim == 1:  # those weights alone that there are: no matrix
        with pytest.raises(ValueError, match="two dimensions are needed"):
            nn.init.gates_(layer, U="orthogonal")
        return
    assert nn.init.gates_(layer, U="orthogonal", W=0.5) is layer
    for cell in layer.cells():
        for gate in cell.gates:
            U = columns(cell, gate)
            small = U if U.shape[0] >= U.shape[1] else U.T
            np.testing.assert_allclose(small.T @ small, np.eye(small.shape[1]), atol=1e-12)
        assert (cell.W.numpy() == 0.5).all()
    with_bias = [cell for cell in layer.cells() if cell.b is not None]
    for k, gate in enumerate(with_bias[0].gates if with_bias else ""):
        nn.init.gates_(layer, b={gate: k})
    for cell in with_bias:
        np.testing.assert_array_equal(cell.b.numpy().reshape(-1, 5).T[0], range(len(cell.gates)))


def test_fans_are_those_of_the_gate() -> None:
    """A block is filled as a Linear layer of its own: [fan_out, fan_in]."""
    cell, seen = nn.LSTMCell(3, 7), []
    nn.init.gates_(cell, W=lambda w: seen.append(w.shape), U={"fo": lambda u: seen.append(u.shape)})
    assert seen == [(7, 3)] * 4 + [(7, 7)] * 2
    nn.init.gates_(cell, W=lambda w: nn.init.constant_(w, 2), b="zeros")
    assert (cell.W.numpy() == 2).all()
    assert not cell.b.numpy().any()
    nn.init.gates_(cell, W="kaiming_uniform")
    bound = np.sqrt(2) * np.sqrt(3 / 3)  # fan_in = 3
    assert 0.9 * bound < abs(cell.W.numpy()).max() <= bound


def test_gates_that_are_named_stay_apart() -> None:
    """The others keep their values; the GRU's Un is its U for n; cells without the gate are skipped."""
    gru = nn.GRUCell(3, 4, reset_after=True)
    before = {name: p.numpy().copy() for name, p in gru.named_parameters()}
    nn.init.gates_(gru, U={"n": 1.0, "z": 2.0}, c=3.0)
    assert (gru.Un.numpy() == 1).all()
    assert (gru.U.numpy()[:, 4:] == 2).all()
    np.testing.assert_array_equal(gru.U.numpy()[:, :4], before["U"][:, :4])
    np.testing.assert_array_equal(gru.b.numpy(), before["b"])
    assert (gru.c.numpy() == 3).all()
    model = nn.Sequential(nn.LSTM(3, 4, proj_size=2), nn.GRU(2, 4))
    nn.init.gates_(model, b={"f": 1.0, "z": -1.0}, P=0.25)
    assert (columns(model[0].cells()[0], "f", "b") == 1).all()
    assert (columns(model[1].cells()[0], "z", "b") == -1).all()
    assert (model[0].cells()[0].P.numpy() == 0.25).all()


def test_gates_that_are_not_there() -> None:
    rnn, lstm, gates_ = nn.RNN(2, 3, bias=False), nn.LSTM(2, 3, proj_size=2), nn.init.gates_
    wrong: list[tuple[Any, str]] = [
        (lambda: gates_(lstm, b={"q": 1}), "no gate 'q' in b: the gates there are ifgo"),
        (lambda: gates_(lstm, P={"f": 1}), "no gate 'f' in P: the gates there are none"),
        (lambda: gates_(lstm, V=0), r"no parameter 'V' in LSTM \(LSTMCell\)"),
        (lambda: gates_(rnn, b=0), "no parameter 'b' in RNN"),
        (lambda: gates_(nn.Linear(2, 3), b=0), r"in Linear \(no cell\)"),
        (lambda: gates_(rnn, U="ortho"), "'ortho': a number, a function, or one of uniform"),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
