"""Tensors and modules through pickle and copy, as a process pool sends them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from cell_table import same

import minigrad as mg
from minigrad import nn


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_pickle_of_tensors(dtype: str) -> None:
    x = mg.tensor(np.arange(6).reshape(2, 3), dtype=dtype)
    for a in (x, x.T, x[1:], x[:0], x[0, 0]):
        b = pickle.loads(pickle.dumps(a))
        assert type(b) is mg.Tensor
        assert b.dtype == a.dtype
        assert not b.requires_grad
        np.testing.assert_array_equal(b, a)
    if x.dtype.kind == "f":
        assert pickle.loads(pickle.dumps(x.requires_grad_())).requires_grad
        with pytest.raises(RuntimeError, match=r"with a history: detach\(\) it first"):
            pickle.dumps(x * 2)


@pytest.mark.parametrize(
    "model",
    [
        nn.LSTM(2, 3, 2, bidirectional=True, peephole="diagonal", zoneout=0.1, learn_initial=True),
        nn.GRU(2, [3, 4], convention="keras", layer_norm=True),
        nn.ClockworkRNN(2, 4),
        nn.JordanRNN(2, 3, 2),
        nn.EchoStateNetwork(2, 20, 1),
        nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)),
    ],
    ids=lambda m: type(m).__name__,
)
def test_pickle_of_modules(model: Any) -> None:
    """As they are, also after calls, which keep plans of C."""
    model.eval()
    x = mg.randn(5, 3, 2)
    with mg.no_grad():
        y, twin = model(x), pickle.loads(pickle.dumps(model))
        again = twin(x)
    same(again, y, tolerance=0)
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in model.named_parameters()]
    for p, q in zip(model.parameters(), twin.parameters()):
        assert type(q) is nn.Parameter
        assert q.requires_grad
        assert not np.shares_memory(p.detach().numpy(), q.detach().numpy())


def test_a_shallow_copy_shares_the_memory() -> None:
    x = mg.ones(3, requires_grad=True)
    y, z = copy.copy(x), copy.copy(x * 2)
    with mg.no_grad():
        y[0] = 5.0
    assert x[0].item() == 5.0
    assert y.requires_grad
    z.sum().backward()
    np.testing.assert_array_equal(x.grad, [2.0, 2.0, 2.0])
    p = nn.Linear(2, 3).weight
    assert type(copy.copy(p)) is nn.Parameter
