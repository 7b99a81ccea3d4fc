"""PyTorch as second oracle of nn.RNN, nn.LSTM and nn.GRU: values, all gradients, `load_torch`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cell_table import KINDS, leaf
from draw import Draw
from hypothesis import given
from hypothesis import strategies as st
from test_convert import HAS, drawn

import minigrad as mg
from minigrad import nn

#: coupled gates are there as two with opposite weights
COUPLED = [name for name in HAS["torch"] if "coupled" in name]
THERE = [name for name in HAS["torch"] if name not in COUPLED]
TOLERANCE = {
    "float32": {"rtol": 1e-3, "atol": 2e-5},
    "float64": {"rtol": 1e-11, "atol": 1e-11},
}


def twins(torch: Any, kind: str, *args: Any, dtype: str = "float64", **options: Any) -> Any:
    """(the layer here, the layer there), with the weights from there."""
    here = KINDS[kind].layers(*args, dtype=dtype, **options)
    more = {**KINDS[kind].options, **options}
    if "proj_size" in more:
        more["proj_size"] = here.cells()[0].proj_size
    more = {
        name: value for name, value in more.items() if name not in ("reset_after", "convention")
    }
    there = getattr(torch.nn, type(here).__name__)(*args, dtype=getattr(torch, dtype), **more)
    here.load_torch(there.state_dict())
    return here, there


def gradients(there: Any, kind: str, suffix: str) -> dict[str, Any]:
    """{parameter of the cell here: its gradient, from PyTorch's}

    b is the sum of two biases there, so that its gradient is that of either.  GRU: z and 1 - z,
    unless the convention is PyTorch's.
    """
    g = {
        name[: -len(suffix)]: p.grad.numpy()
        for name, p in there.named_parameters()
        if name.endswith(suffix)
    }
    if not kind.startswith("gru"):
        names = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b", "weight_hr": "P"}
        return {names[name]: value.T for name, value in g.items() if name in names}
    size = there.hidden_size
    g = {name: value.copy() for name, value in g.items()}
    for value in g.values() if kind != "gru-torch" else ():
        value[size : 2 * size] *= -1
    result = {"W": g["weight_ih"].T, "U": g["weight_hh"][: 2 * size].T}
    result["Un"] = g["weight_hh"][2 * size :].T
    if "bias_ih" in g:
        result.update(b=g["bias_ih"], c=g["bias_hh"][2 * size :])
    return result


@pytest.mark.parametrize("kind", THERE)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
@given(data=st.data())
def test_pytorch_gives_the_same(kind: str, isa: str, data: Any) -> None:
    """Outputs, states and the gradient of everything, in every shape that PyTorch takes."""
    torch = pytest.importorskip("torch")
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    dtype = draw.choice("float64", "float32")
    hidden, layers = KINDS[kind].hidden(draw), draw.pick(1, 3)
    bidirectional, batch_first = draw.flag(), draw.flag()
    here, there = twins(
        torch, kind, draw.pick(1, 4), hidden, layers,
        dtype=dtype, bidirectional=bidirectional, batch_first=batch_first,
    )  # fmt: skip
    steps, n, batch = draw.pick(1, 5), draw.pick(1, 3), draw.pick(0, 3) > 0
    shape = (n, steps) if batch_first else (steps, n)
    x = draw.normal(*(shape if batch else (steps,)), here.input_size).astype(dtype)
    cells = here.cells()
    middle = (n,) if batch else ()
    state = [
        draw.normal(len(cells), *middle, cells[0].state_size(s)).astype(dtype)
        for s in cells[0].states
    ]
    lengths = draw.integers(1, steps + 1, (n,)) if batch and draw.flag() else None

    ours = [leaf(a) for a in (x, *state)]
    theirs = [torch.from_numpy(a.copy()).requires_grad_() for a in (x, *state)]
    y, final = here(ours[0], tuple(ours[1:]) if len(state) > 1 else ours[1], lengths)
    sequence = theirs[0]
    if lengths is not None:
        sequence = torch.nn.utils.rnn.pack_padded_sequence(
            sequence, torch.from_numpy(lengths), batch_first, enforce_sorted=False
        )
    y_there, final_there = there(sequence, tuple(theirs[1:]) if len(state) > 1 else theirs[1])
    if lengths is not None:
        y_there, _ = torch.nn.utils.rnn.pad_packed_sequence(
            y_there, batch_first, total_length=steps
        )
    results = [y, *final] if len(state) > 1 else [y, final]
    results_there = [y_there, *final_there] if len(state) > 1 else [y_there, final_there]

    gs = [draw.normal(*a.shape).astype(dtype) for a in results]
    sum((a * mg.from_numpy(g)).sum() for a, g in zip(results, gs)).backward()
    sum((a * torch.from_numpy(g)).sum() for a, g in zip(results_there, gs)).backward()

    def check(a: Any, b: Any, what: str) -> None:
        assert a.shape == b.shape, what
        np.testing.assert_allclose(a, b, **TOLERANCE[dtype], err_msg=f"{what}, {isa}")

    for i, (a, b) in enumerate(zip(results, results_there)):
        check(a.detach().numpy(), b.detach().numpy(), f"result {i}")
    for i, (a, b) in enumerate(zip(ours, theirs)):
        check(a.grad.numpy(), b.grad.numpy(), f"gradient of input {i}")
    for i, cell in enumerate(cells):
        layer, back = divmod(i, 2) if bidirectional else (i, 0)
        suffix = f"_l{layer}" + "_reverse" * back
        wanted = gradients(there, kind, suffix)
        assert wanted.keys() == dict(cell.named_parameters()).keys()
        for name, p in cell.named_parameters():
            check(p.grad.numpy(), wanted[name], f"gradient of {name}{suffix}")


def test_pytorch_weights_that_do_not_fit_are_refused() -> None:
    """Each with what differs, and nothing is changed."""
    torch = pytest.importorskip("torch")

    def refused(here: Any, there: Any, message: str) -> None:
        before = {name: p.numpy().copy() for name, p in here.state_dict().items()}
        with pytest.raises(ValueError, match=message):
            here.load_torch(there.state_dict())
        for name, p in here.state_dict().items():
            np.testing.assert_array_equal(p.numpy(), before[name])

    lstm = torch.nn.LSTM(3, 4, 2)
    refused(nn.LSTM(3, 4, 3), lstm, r"load_torch: .*weight_ih_l2: none there.* number of layers")
    refused(nn.LSTM(3, 4), lstm, r"weight_ih_l1: \[16, 4\] there, none here")
    refused(nn.LSTM(3, 4, 2, bidirectional=True), lstm, r"weight_ih_l0_reverse.*directions")
    refused(nn.LSTM(3, 4, 2, bias=False), lstm, r"bias_ih_l0: \[16\] there, none here")
    refused(nn.LSTM(3, 4), torch.nn.LSTM(3, 4, bias=False), r"bias_ih_l0: none there, \[16\]")
    refused(nn.LSTM(5, 4, 2), lstm, r"weight_ih_l0: \[16, 3\] there, \[16, 5\] here.*sizes")
    refused(nn.LSTM(3, 5, 2), lstm, r"weight_ih_l0: \[16, 3\] there, \[20, 3\] here")
    refused(nn.LSTM(3, 4, 2, proj_size=2), lstm, r"weight_hh_l0: \[16, 4\] there, \[16, 2\]")
    refused(nn.RNN(3, 4, 2), lstm, r"weight_ih_l0: \[16, 3\] there, \[4, 3\] here")
    refused(nn.GRU(3, 4, 2, reset_after=True), lstm, r"\[16, 3\] there, \[12, 3\] here")
    refused(nn.GRU(3, 4), torch.nn.GRU(3, 4), r"convention='torch', or reset_after=True")
    refused(nn.LSTM(3, 4, 2), torch.nn.Sequential(lstm), r"weight_ih_l0: none there")


def test_pytorch_weights_come_as_arrays_and_in_another_type() -> None:
    torch = pytest.importorskip("torch")
    there = torch.nn.GRU(3, 4, bidirectional=True)
    here = nn.GRU(3, 4, bidirectional=True, reset_after=True, dtype="float64")
    here.load_torch({name: p.numpy() for name, p in there.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype("float32")
    y, _ = here(mg.from_numpy(x).to("float64"))
    with torch.no_grad():
        want, _ = there(torch.from_numpy(x))
    np.testing.assert_allclose(y.detach().numpy(), want.numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", [*THERE, *COUPLED])
@pytest.mark.filterwarnings("ignore:LSTM with projections")
@given(data=st.data())
def test_pytorch_takes_the_weights_from_here(kind: str, data: Any) -> None:
    torch = pytest.importorskip("torch")
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    here = drawn(HAS["torch"][kind], draw)
    cell = here.cells()[0]
    there = getattr(torch.nn, type(here).__name__)(
        here.input_size, here.hidden_size, here.num_layers, bidirectional=here.bidirectional,
        bias=cell.b is not None, dtype=torch.float64,
        **{name: getattr(cell, name) for name in ("proj_size", "nonlinearity") if hasattr(cell, name)},
    )  # fmt: skip
    there.load_state_dict({name: torch.from_numpy(a) for name, a in here.to_torch().items()})
    x = draw.normal(draw.pick(1, 5), draw.pick(1, 3), here.input_size)
    y, _ = here(mg.from_numpy(x))
    want, _ = there(torch.from_numpy(x))
    np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), rtol=1e-11, atol=1e-12)


def test_pytorch_dropout_of_one_is_allowed_there_too() -> None:
    torch = pytest.importorskip("torch")
    here, there = twins(torch, "rnn-nobias", 3, 4, 2, dropout=1.0)
    x = np.ones((2, 1, 3))
    assert not here(mg.from_numpy(x))[0].detach().numpy().any()
    assert not there(torch.from_numpy(x))[0].detach().numpy().any()
