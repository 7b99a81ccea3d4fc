"""The recurrent cells, one row each: how to make one, its oracle, its layers here and in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import oracles
import pytest
from draw import Draw

import minigrad as mg
from minigrad import nn


@dataclass(frozen=True)
class Kind:
    """A cell with its options."""

    cell: Any
    oracle: Any
    front: Any  #: the layers of such cells
    options: dict[str, Any] = field(default_factory=dict)
    output: Any = oracles.first  #: the oracle's output from its state
    training: bool = True  #: False: made in eval(), where zoneout is its mean

    @property
    def tolerance(self) -> float:
        """How much farther from each other than plain layers two ways to compute it may be.

        A normalisation divides what was rounded by the spread of a row, which may be small, at each
        step anew.
        """
        return 30 if "layer_norm" in self.options else 1

    @property
    def regular(self) -> bool:
        """Whether there is an option on that neither PyTorch nor a short way knows."""
        return not {"layer_norm", "zoneout"}.isdisjoint(self.options)

    def make(self, inputs: int, hidden: int, dtype: Any = "float64") -> Any:
        """A cell.  A projection is by one narrower than the cell, an output by one wider."""
        cell = self.cell(inputs, hidden, dtype=dtype, **self._options(hidden))
        return cell.train(self.training)

    def layers(
        self, inputs: int, hidden: Any, count: int = 1, dtype: Any = "float64", **more: Any
    ) -> Any:
        """The front; hidden may be a list, one width for each layer."""
        more = {**self._options(hidden), **more}
        front = self.front(inputs, hidden, num_layers=count, dtype=dtype, **more)
        return front.train(self.training)

    def hidden(self, draw: Draw) -> int:
        """A hidden size from 1, or from 2 where there is a projection.

        3 with layer_norm: of two numbers that are nearly the same it makes -1 and 1, a step that
        finite differences do not see.
        """
        return (
            3 if "layer_norm" in self.options else draw.pick(1 + ("proj_size" in self.options), 3)
        )

    def _options(self, hidden: Any) -> dict[str, Any]:
        least = hidden if isinstance(hidden, int) else min(hidden)
        widths = {"proj_size": least - 1, "output_size": least + 1}
        more: dict[str, Any] = {name: widths[name] for name in widths if name in self.options}
        if "periods" in self.options:  # no more groups than units
            more["periods"] = self.options["periods"][:least]
        return {**self.options, **more}


RELU = {"nonlinearity": "relu"}
AFTER = {"reset_after": True}
CHO = {"convention": "cho"}
TORCH = {"convention": "torch"}
NO_BIAS = {"bias": False}
NORM = {"layer_norm": True}
PEEPHOLE = {"peephole": "diagonal"}
after = partial(oracles.gru, reset_after=True)
coupled_input = partial(oracles.lstm, coupled="input")
coupled_forget = partial(oracles.lstm, coupled="forget")
zoned = partial(partial, oracles.zoned)


def clockwork(periods: Any, f: Any = np.tanh, **options: Any) -> Kind:
    """A clockwork RNN with these periods."""
    oracle = partial(oracles.clockwork, periods=periods, f=f)
    return Kind(nn.ClockworkCell, oracle, nn.ClockworkRNN, {"periods": periods, **options})


KINDS = {
    "rnn": Kind(nn.RNNCell, oracles.elman, nn.RNN),
    "rnn-relu": Kind(nn.RNNCell, partial(oracles.elman, f=oracles.relu), nn.RNN, RELU),
    "rnn-nobias": Kind(nn.RNNCell, oracles.elman, nn.RNN, NO_BIAS),
    "rnn-function": Kind(
        nn.RNNCell, partial(oracles.elman, f=np.sin), nn.RNN, {"nonlinearity": mg.sin}
    ),
    "preactivation": Kind(
        nn.PreactivationRNNCell,
        oracles.preactivation,
        partial(nn.Layers, nn.PreactivationRNNCell),
        output=lambda state: np.tanh(state[0]),
    ),
    "jordan": Kind(
        nn.JordanCell,
        partial(oracles.jordan, g=oracles.softmax),
        nn.JordanRNN,
        {"output_size": 1, "output": "softmax"},
    ),
    "lstm": Kind(nn.LSTMCell, oracles.lstm, nn.LSTM),
    "lstm-nobias": Kind(nn.LSTMCell, oracles.lstm, nn.LSTM, NO_BIAS),
    "lstm-proj": Kind(nn.LSTMCell, oracles.lstm, nn.LSTM, {"proj_size": 1}),
    "lstm-peephole": Kind(nn.LSTMCell, oracles.lstm, nn.LSTM, PEEPHOLE),
    "lstm-coupled-input": Kind(nn.LSTMCell, coupled_input, nn.LSTM, {"coupled": "input"}),
    "lstm-coupled-forget-peephole": Kind(
        nn.LSTMCell, coupled_forget, nn.LSTM, {"coupled": "forget", **PEEPHOLE, "proj_size": 1}
    ),
    "gru": Kind(nn.GRUCell, oracles.gru, nn.GRU),
    "gru-nobias": Kind(nn.GRUCell, oracles.gru, nn.GRU, NO_BIAS),
    "gru-after": Kind(nn.GRUCell, after, nn.GRU, AFTER),
    "gru-cho": Kind(nn.GRUCell, partial(oracles.gru, keep=True), nn.GRU, CHO),
    "gru-torch": Kind(nn.GRUCell, partial(after, keep=True), nn.GRU, TORCH),
    "gru-after-nobias": Kind(nn.GRUCell, after, nn.GRU, {**AFTER, **NO_BIAS}),
    "clockwork": clockwork((1, 2, 4)),
    "clockwork-relu": clockwork((2, 3), oracles.relu, **RELU),
    "clockwork-nobias": clockwork((1, 3, 5), **NO_BIAS),
    "rnn-norm-zoneout": Kind(
        nn.RNNCell, zoned(oracles.elman, [0.3]), nn.RNN, {**NORM, "zoneout": 0.3}, training=False
    ),
    "lstm-norm-zoneout": Kind(
        nn.LSTMCell,
        zoned(oracles.lstm, [0.3, 0.6]),
        nn.LSTM,
        {**NORM, "zoneout": (0.3, 0.6)},
        training=False,
    ),
    "lstm-proj-norm": Kind(nn.LSTMCell, oracles.lstm, nn.LSTM, {"proj_size": 1, **NORM}),
    "gru-zoneout": Kind(
        nn.GRUCell, zoned(oracles.gru, [0.3]), nn.GRU, {"zoneout": 0.3}, training=False
    ),
    "gru-after-norm": Kind(nn.GRUCell, after, nn.GRU, {**AFTER, **NORM}),
}

FUSED = {name: kind for name, kind in KINDS.items() if kind.make(2, 3).kernel() is not None}

NOISE = {"recurrent_dropout": 0.4, "zoneout": 0.4, "weight_drop": 0.2}
#: In training these draw random numbers: they are the same after the same `manual_seed`.
NOISY = {
    "rnn": Kind(nn.RNNCell, oracles.elman, nn.RNN, NOISE),
    "rnn-relu-norm": Kind(
        nn.RNNCell, partial(oracles.elman, f=oracles.relu), nn.RNN, {**RELU, **NORM, **NOISE}
    ),
    "lstm": Kind(nn.LSTMCell, oracles.lstm, nn.LSTM, {**NOISE, "zoneout": (0.4, 0.2)}),
    "lstm-norm": Kind(nn.LSTMCell, oracles.lstm, nn.LSTM, {**NORM, **NOISE, "zoneout": (0.0, 0.3)}),
    "lstm-proj-norm": Kind(
        nn.LSTMCell, oracles.lstm, nn.LSTM, {"proj_size": 1, **NORM, **NOISE, "learn_initial": True}
    ),
    "lstm-coupled-peephole-norm": Kind(
        nn.LSTMCell, coupled_input, nn.LSTM, {"coupled": "input", **PEEPHOLE, **NORM, **NOISE}
    ),
    "gru": Kind(nn.GRUCell, oracles.gru, nn.GRU, {**NOISE, "learn_initial": True}),
    "gru-cho-norm": Kind(
        nn.GRUCell, partial(oracles.gru, keep=True), nn.GRU, {**CHO, **NORM, **NOISE}
    ),
    "gru-torch": Kind(nn.GRUCell, partial(after, keep=True), nn.GRU, {**TORCH, **NOISE}),
    "gru-after-norm": Kind(nn.GRUCell, after, nn.GRU, {**AFTER, **NORM, **NOISE}),
}
every_noisy_kind = pytest.mark.parametrize("kind", NOISY.values(), ids=NOISY)

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
every_fused_kind = pytest.mark.parametrize("kind", FUSED.values(), ids=FUSED)


def parameters(cell: Any, draw: Draw) -> dict[str, Any]:
    """New values for the parameters, wide enough to saturate some gates: {name: ndarray}."""
    values = {}
    with mg.no_grad():
        for name, p in cell.named_parameters():
            values[name] = draw.normal(*p.shape).astype(p.dtype)
            p.copy_(values[name])
    return values


def state_of(cell: Any, n: int, draw: Draw, dtype: Any = "float64") -> list[Any]:
    """A random state for a batch of n: ndarrays.  A clock shows the same for all: C has one."""
    return [
        np.full(s.shape, draw.pick(0, 12))
        if s.dtype == "int64"
        else draw.normal(*s.shape).astype(dtype)
        for s in cell.initial(n)
    ]


def leaf(a: Any) -> Any:
    """A tensor with a copy of the values, that requires gradients if it can."""
    x = mg.from_numpy(np.array(a))
    return x if x.dtype == "int64" else x.requires_grad_()


def tracked(leaves: Any) -> list[Any]:
    """Those that require gradients."""
    return [x for x in leaves if x.requires_grad]


def flat(result: Any) -> list[Any]:
    """The tensors in nested tuples."""
    if isinstance(result, mg.Tensor):
        return [result]
    return [x for part in result for x in flat(part)]


def weighted(result: Any) -> Any:
    """A number to which every element of the (nested) result contributes with a weight of its own."""
    rng, total = np.random.default_rng(0), mg.zeros((), dtype="float64")
    for x in flat(result):
        if x.dtype == "int64":
            continue
        total = total + (x * mg.from_numpy(rng.standard_normal(x.shape))).sum()
    return total


def same(a: Any, b: Any, tolerance: float = 1e-12) -> None:
    """The (nested) results are equal."""
    a, b = flat(a), flat(b)
    assert len(a) == len(b)
    for x, y in zip(a, b):
        np.testing.assert_allclose(
            x.detach().numpy(), y.detach().numpy(), rtol=tolerance, atol=tolerance
        )


def as_tuple(state: Any) -> Any:
    """The state of a cell that has one, too, as a tuple."""
    return state if isinstance(state, tuple) else (state,)
