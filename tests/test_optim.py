"""Optimisers against NumPy transcriptions of their equations and against PyTorch."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.3}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.3, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.3, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.8}),
    ("RMSprop", {"momentum": 0.8, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True, "maximize": True}),
]


def oracle(name: str, p: Any, grads: Any, o: dict[str, Any]) -> Any:
    """The equations of the papers, in float64; `grads`: one gradient for each step."""
    decay, sign = o["weight_decay"], -1 if o["maximize"] else 1
    m = v = b = mean = 0.0
    for t, g in enumerate(grads, 1):
        g = sign * g  # noqa: PLW2901
        if name != "AdamW":
            g = g + decay * p  # noqa: PLW2901
        if name == "SGD":
            m = g if t == 1 else o["momentum"] * m + (1 - o["dampening"]) * g
            m = m if o["momentum"] else g
            p = p - o["lr"] * (g + o["momentum"] * m if o["nesterov"] else m)
        elif name == "RMSprop":
            v = o["alpha"] * v + (1 - o["alpha"]) * g**2
            mean = o["alpha"] * mean + (1 - o["alpha"]) * g
            root = np.sqrt(v - mean**2) if o["centered"] else np.sqrt(v)
            b = o["momentum"] * b + g / (root + o["eps"])
            p = p - o["lr"] * b
        else:
            beta1, beta2 = o["betas"]
            if name == "AdamW":
                p = p - o["lr"] * decay * p
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            p = p - o["lr"] * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + o["eps"])
    return p


def run(lib: Any, name: str, options: dict[str, Any], p: Any, grads: Any) -> Any:
    """Steps with minigrad or torch: both have the same face."""
    x = lib.tensor(p, requires_grad=True)
    opt = getattr(lib.optim, name)([x], **options)
    for g in grads:
        x.grad = lib.tensor(g)
        opt.step()
    return x.detach().numpy(), opt


def problem(dtype: str, n: int = 1003, steps: int = 7) -> tuple[Any, list[Any]]:
    rng = np.random.default_rng(0)
    p, *grads = rng.standard_normal((steps + 1, n)).astype(dtype)
    return p, grads


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_equations(name: str, options: dict[str, Any], dtype: str, isa: str) -> None:
    p, grads = problem(dtype)
    got, opt = run(mg, name, options, p, grads)
    want = oracle(name, p.astype(float), [g.astype(float) for g in grads], opt.param_groups[0])
    tolerance = {"float32": 3e-5, "float64": 1e-13}[dtype]
    if options.get("centered"):  # v - mean² cancels
        tolerance *= 100
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=isa)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_pytorch(name: str, options: dict[str, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    p, grads = problem(dtype)
    ours, theirs = (run(lib, name, options, p, grads)[0] for lib in (mg, torch))
    tolerance = {"float32": 3e-6, "float64": 1e-14}[dtype]
    if options.get("centered"):
        tolerance *= 100
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_defaults_are_pytorch_s(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours = getattr(optim, name)([mg.ones(1, requires_grad=True)]).defaults
    theirs = getattr(torch.optim, name)([torch.ones(1, requires_grad=True)]).defaults
    assert ours == {k: theirs[k] for k in ours}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_the_same_bits_for_any_number_of_threads(name: str, threads: int) -> None:
    p, grads = problem("float32", n=100_001, steps=2)
    before = mg.get_num_threads()
    try:
        mg.set_num_threads(threads)
        got, _ = run(mg, name, {}, p, grads)
        mg.set_num_threads(1)
        want, _ = run(mg, name, {}, p, grads)
    finally:
        mg.set_num_threads(before)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3)])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_all_shapes(name: str, shape: tuple[int, ...]) -> None:
    x = mg.ones(shape, requires_grad=True)
    opt = getattr(optim, name)([x], lr=0.5)
    x.grad = mg.ones(shape)
    opt.step()
    assert x.shape == shape
    assert (x.detach().numpy() < 1).all()


def test_strided_gradient_is_read_in_order() -> None:
    x = mg.zeros(2, 3, requires_grad=True)
    g = mg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).T
    x.grad = g
    optim.SGD([x], lr=1.0).step()
    np.testing.assert_array_equal(x.detach().numpy(), -g.numpy())


def test_parameters_without_gradient_stay() -> None:
    a, b = mg.ones(2, requires_grad=True), mg.ones(2, requires_grad=True)
    frozen = nn.Parameter(mg.ones(2), requires_grad=False)
    opt = optim.Adam([a, b, frozen])
    (a * 2).sum().backward()
    opt.step()
    assert b.tolist() == frozen.tolist() == [1, 1]
    assert a.detach().numpy().max() < 1
    opt.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0, 0]
    opt.zero_grad()
    assert a.grad is None


def test_backward_after_a_step_is_refused() -> None:
    w = mg.ones(2, requires_grad=True)
    loss = (w * w).sum()
    w.grad = mg.ones(2)
    optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="optimiser step"):
        loss.backward()


def test_closure() -> None:
    w = mg.tensor([3.0], requires_grad=True)
    opt = optim.SGD([w], lr=0.25)

    def closure() -> Any:
        opt.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with mg.no_grad():
        losses = [opt.step(closure).item() for _ in range(3)]
    assert losses == [9.0, 2.25, 0.5625]


# ---- groups -------------------------------------------------------------------------------------


def test_groups_have_options_of_their_own() -> None:
    a, b, c = (mg.ones(2, requires_grad=True) for _ in range(3))
    opt = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1, momentum=0.9)
    opt.add_param_group({"params": iter([c]), "momentum": 0})
    assert [g["lr"] for g in opt.param_groups] == [0.1, 0.5, 0.1]
    assert [g["momentum"] for g in opt.param_groups] == [0.9, 0.9, 0]
    for p in (a, b, c):
        p.grad = mg.ones(2)
    opt.step()
    np.testing.assert_allclose(
        [p.detach().numpy()[0] for p in (a, b, c)], [0.9, 0.5, 0.9], rtol=1e-6
    )
    assert "momentum_buffer" in opt.state[a]
    assert "momentum_buffer" not in opt.state[c]
    assert repr(opt).startswith("SGD(\n  0: 1 parameters, lr=0.1, momentum=0.9,")


def test_what_cannot_be_learnt_is_refused() -> None:
    x = mg.ones(3, 3, requires_grad=True)
    strided = mg.ones(3, 3).T.detach()[1:].requires_grad_()
    for error, message, params in (
        (ValueError, "empty", []),
        (ValueError, "empty", [{"params": []}]),
        (TypeError, "not one Tensor", x),
        (TypeError, "not one dict", {"params": [x]}),
        (TypeError, "parameter 1: a tensor is needed, not ndarray", [x, np.ones(2)]),
        (ValueError, "parameter 1 .* twice", [x, x]),
        (ValueError, "parameter 0 .* twice", [{"params": [x]}, {"params": [x]}]),
        (ValueError, "result of an op", [x * 2]),
        (TypeError, "float tensors", [mg.arange(3)]),
        (ValueError, "strided view", [strided]),
        (ValueError, "no option .*'learning_rate'.* lr, ", [{"params": [x], "learning_rate": 1}]),
        (ValueError, "'params' is missing", [{"lr": 1}]),
    ):
        with pytest.raises(error, match=message):
            optim.Adam(params)
    optim.Adam([("x", x)])


def test_options_out_of_range() -> None:
    x = [mg.ones(2, requires_grad=True)]
    for make in (
        lambda: optim.SGD(x, lr=-1),
        lambda: optim.SGD(x, lr=math.nan),
        lambda: optim.SGD(x, momentum=-0.1),
        lambda: optim.SGD(x, nesterov=True),
        lambda: optim.SGD(x, nesterov=True, momentum=0.9, dampening=0.1),
        lambda: optim.Adam(x, betas=(0.9, 1.0)),
        lambda: optim.Adam(x, betas=(0.9,)),  # type: ignore[arg-type]
        lambda: optim.AdamW(x, weight_decay=-1),
        lambda: optim.RMSprop(x, alpha=-1),
        lambda: optim.Adam([{"params": x, "eps": -1}]),
    ):
        with pytest.raises(ValueError, match=r"needed|needs"):
            make()


def test_a_parameter_whose_type_changed_is_refused() -> None:
    layer = nn.Linear(2, 2)
    opt = optim.Adam(layer.parameters())
    layer.double()
    layer(mg.ones(1, 2, dtype="float64")).sum().backward()
    opt.step()  # the state is made at the first step
    layer.float()
    with pytest.raises(RuntimeError, match="exp_avg is float64"):
        opt.step()


# ---- state --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), VARIANTS)
@pytest.mark.parametrize("ending", [None, "npz", "safetensors"])
def test_resuming_is_exact(
    name: str, options: dict[str, Any], ending: str | None, tmp_path: Path
) -> None:
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    p, grads = problem("float32", n=37)
    want, _ = run(mg, name, options, p, grads)
    half, opt = run(mg, name, options, p, grads[:3])
    state = opt.state_dict()
    if ending is None:
        state = copy.copy(state)
    else:
        mg.save(state, tmp_path / f"a.{ending}")
        state = mg.load(tmp_path / f"a.{ending}")
    x = mg.tensor(half, requires_grad=True)
    fresh = getattr(optim, name)([x], lr=77.0)
    fresh.load_state_dict(state)
    assert fresh.param_groups[0]["lr"] == opt.param_groups[0]["lr"]
    for g in grads[3:]:
        x.grad = mg.tensor(g)
        fresh.step()
    np.testing.assert_array_equal(x.detach().numpy(), want)
    again, _ = run(mg, name, options, p, grads[:3])
    np.testing.assert_array_equal(again, half)  # and the first optimiser's tensors are not shared


def test_load_state_dict_lists_every_mismatch_and_changes_nothing() -> None:
    def make(*shapes: Any, dtype: str = "float32", cls: Any = optim.Adam) -> Any:
        ps = [mg.ones(s, dtype=dtype, requires_grad=True) for s in shapes]
        opt = cls(ps)
        for p in ps:
            p.grad = mg.ones_like(p)
        opt.step()
        return opt

    opt = make((2,), (3,))
    before = copy.copy(opt.state)
    with pytest.raises(ValueError, match=r"groups of \[1\] parameters, here \[2\]"):
        opt.load_state_dict(make((2,)).state_dict())
    with pytest.raises(ValueError, match="nothing was loaded") as e:
        opt.load_state_dict(make((2,), (4,), dtype="float64").state_dict())
    assert "exp_avg of parameter 0: float64 [2], here float32 [2]" in str(e.value)
    assert "exp_avg_sq of parameter 1: float64 [4], here float32 [3]" in str(e.value)
    with pytest.raises(ValueError, match=r"no options .*betas"):
        opt.load_state_dict(make((2,), (3,), cls=optim.SGD).state_dict())
    assert opt.state == before
    assert opt.param_groups[0]["lr"] == 1e-3


def test_it_learns() -> None:
    for name in ("SGD", "Adam", "AdamW", "RMSprop"):
        mg.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
        opt = getattr(optim, name)(net.parameters(), lr=0.5 if name == "SGD" else 0.02)
        x = mg.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        y = mg.tensor([[0.0], [1.0], [1.0], [0.0]])
        for _ in range(300):
            loss = nn.functional.binary_cross_entropy_with_logits(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        assert loss.item() < 0.05, name
