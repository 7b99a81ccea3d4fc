"""Derivatives of functions: against each other, finite differences, PyTorch; through fused layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from draw import Draw, seeded
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import func, nn

EPS = 1e-5


def f(x: Any, y: Any) -> Any:
    """Two arguments, two outputs, everything depends on everything."""
    return mg.sin(x) * y.sum() + mg.exp(x).sum(), (x[:1] * y).tanh()


def leaf(d: Draw, *shape: int) -> Any:
    return mg.tensor(d.normal(*shape))


def near(a: Any, b: Any, atol: float = 1e-8) -> None:
    a, b = (np.asarray(x.detach() if isinstance(x, mg.Tensor) else x) for x in (a, b))
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=atol)


def layers() -> list[Any]:
    """Layers whose first derivative is one call of C, second derivatives the readable cell."""
    options = {"dtype": "float64"}
    return [nn.RNN(2, 3, **options), nn.LSTM(2, 3, **options), nn.GRU(2, 3, **options)]


each_layer = pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)

# ---- all of them together --------------------------------------------------------------------------


@given(data=st.data())
def test_the_products_are_those_of_the_jacobian(data: Any) -> None:
    d = Draw(lambda low, high: data.draw(st.integers(low, high)))
    n, m = d.pick(1, 3), d.pick(1, 3)
    x, y = leaf(d, n), leaf(d, m)
    v, w = leaf(d, n), leaf(d, m)
    a, b = leaf(d, n), leaf(d, m)
    J = func.jacobian(f, (0, 1))(x, y)
    for k, blocks in enumerate(func.jacfwd(f, (0, 1))(x, y)):
        for i, block in enumerate(blocks):
            near(block, J[k][i])
    results, pushed = func.jvp(f, (x, y), (v, w))
    again, pull = func.vjp(f, x, y)
    pulled = pull((a, b))
    for k, result in enumerate(f(x, y)):
        near(results[k], result)
        near(again[k], result)
        assert not results[k].requires_grad
        near(pushed[k], J[k][0] @ v + J[k][1] @ w)
    near(pulled[0], a @ J[0][0] + b @ J[1][0])
    near(pulled[1], a @ J[0][1] + b @ J[1][1])
    near(pull((a, b))[0], pulled[0])  # again
    assert func.jacobian(f, 1)(x, y)[1].shape == (m, m)
    assert func.jacobian(f, -1)(x, y)[1].shape == (m, m)


@given(data=st.data())
def test_second_order(data: Any) -> None:
    d = Draw(lambda low, high: data.draw(st.integers(low, high)))
    n, m = d.pick(1, 3), d.pick(1, 3)
    x, y, v, w = leaf(d, n), leaf(d, m), leaf(d, n), leaf(d, m)

    def g(x: Any, y: Any) -> Any:
        a, b = f(x, y)
        return (a * a).sum() + b.sum()

    H = func.hessian(g, (0, 1))(x, y)
    value, (hx, hy) = func.hvp(g, (x, y), (v, w))
    assert value.item() == g(x, y).item()
    near(hx, H[0][0] @ v + H[0][1] @ w)
    near(hy, H[1][0] @ v + H[1][1] @ w)
    near(H[0][1], H[1][0].T)
    dx, dy = func.grad(g, (0, 1))(x, y)
    one = [func.grad(g)(x + EPS * v, y + EPS * w), func.grad(g)(x - EPS * v, y - EPS * w)]
    near(hx, (one[0] - one[1]) / (2 * EPS), 1e-5)
    near((dx @ v + dy @ w), func.jvp(g, (x, y), (v, w))[1])
    #: transforms in transforms: forward over forward, forward over reverse, a third derivative
    near(func.jacfwd(func.jacfwd(g))(x, y), H[0][0])
    near(func.jacfwd(func.grad(g))(x, y), H[0][0])
    third = func.jacobian(func.hessian(g))(x, y)
    steps = [func.hessian(g)(x + EPS * v, y), func.hessian(g)(x - EPS * v, y)]
    near(third @ v, (steps[0] - steps[1]) / (2 * EPS), 1e-4)


def test_same_as_pytorch() -> None:
    torch = pytest.importorskip("torch")
    d = seeded(0)
    x, v = d.normal(3), d.normal(3)

    def g(x: Any) -> Any:
        return x.sin() * (x * x).sum() + x.exp()

    ours, theirs = mg.tensor(x), torch.tensor(x)
    theirs_of = torch.autograd.functional
    near(func.jacrev(g)(ours), theirs_of.jacobian(g, theirs).numpy())
    near(func.jacfwd(g)(ours), theirs_of.jacobian(g, theirs).numpy())
    pushed = func.jvp(g, (ours,), (mg.tensor(v),))[1]
    near(pushed, theirs_of.jvp(g, theirs, torch.tensor(v))[1].numpy())
    (pulled,) = func.vjp(g, ours)[1](mg.tensor(v))
    near(pulled, theirs_of.vjp(g, theirs, torch.tensor(v))[1].numpy())

    def number(x: Any) -> Any:
        return g(x).sum()

    near(func.hessian(number)(ours), theirs_of.hessian(number, theirs).numpy())
    value, (product,) = func.hvp(number, (ours,), (mg.tensor(v),))
    wanted = theirs_of.hvp(number, theirs, torch.tensor(v))
    near(value, wanted[0].numpy())
    near(product, wanted[1].numpy())
    gradient, value = func.grad_and_value(number)(ours)
    found = torch.func.grad_and_value(number)(theirs)
    near(gradient, found[0].numpy())
    near(value, found[1].numpy())


# ---- recurrent layers ------------------------------------------------------------------------------


@each_layer
def test_through_recurrent_layers(layer: Any) -> None:
    """J by rows, by columns and by differences; H v by differences of fused gradients."""
    d = seeded(1)
    x, v = leaf(d, 4, 2, 2), leaf(d, 4, 2, 2)

    def y(x: Any) -> Any:
        return layer(x)[0]

    J = func.jacobian(y)(x)
    near(func.jacfwd(y)(x), J)
    near(func.jvp(y, (x,), (v,))[1], (y(x + EPS * v) - y(x - EPS * v)) / (2 * EPS), 1e-7)
    for t in range(4):  # nothing depends on what comes later, or on another sequence
        assert not J.numpy()[t, :, :, t + 1 :].any()
        assert not J.numpy()[t, 0, :, :, 1].any()
    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    direction = {name: leaf(d, *p.shape) for name, p in parameters.items()}

    def loss(parameters: Any) -> Any:
        return (func.functional_call(layer, parameters, x)[0] ** 2).sum()

    value, (products,) = func.hvp(loss, (parameters,), (direction,))
    ends = [
        func.grad(loss)({name: p + sign * EPS * direction[name] for name, p in parameters.items()})
        for sign in (1, -1)
    ]
    assert value.item() == pytest.approx((y(x) ** 2).sum().item())
    for name, product in products.items():
        near(product, (ends[0][name] - ends[1][name]) / (2 * EPS), 1e-6)
    assert all(p.grad is None for p in layer.parameters())


@each_layer
def test_per_sample_gradients(layer: Any) -> None:
    """They add up to that of the batch, and each is that of the sample alone."""
    x, target = mg.randn(5, 3, 2, dtype=mg.float64), mg.randn(3, 3, dtype=mg.float64)

    def loss(layer: Any, x: Any, target: Any) -> Any:
        return ((layer(x)[0][-1] - target) ** 2).sum()

    found = func.per_sample_grad(loss, layer, x, target, in_dims=(1, 0))
    named = dict(layer.named_parameters())
    whole = mg.grad(loss(layer, x, target), list(named.values()))
    assert list(found) == list(named)
    for (name, p), g in zip(named.items(), whole):
        assert found[name].shape == (3, *p.shape)
        near(found[name].sum(0), g)
        (alone,) = mg.grad(loss(layer, x[:, 1:2], target[1:2]), p)
        near(found[name][1], alone)


def test_per_sample_gradients_same_as_pytorch() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = nn.LSTM(2, 3), torch.nn.LSTM(2, 3)
    ours.load_torch(theirs.state_dict())
    x = seeded(0).normal(4, 5, 2).astype("float32")
    found = func.per_sample_grad(lambda m, x: (m(x)[0] ** 2).sum(), ours, mg.tensor(x), in_dims=1)
    parameters = {name: p.detach() for name, p in theirs.named_parameters()}

    def loss(parameters: Any, x: Any) -> Any:
        return (torch.func.functional_call(theirs, parameters, (x,))[0] ** 2).sum()

    with pytest.warns(UserWarning, match="batching rule"):
        wanted = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(
            parameters, torch.tensor(x)
        )
    #: one bias of ours stands for the sum of two there
    near(found["stack.layers.0.cell.b"].sum(-1), wanted["bias_ih_l0"].numpy().sum(-1), 1e-5)
    near((found["stack.layers.0.cell.W"] ** 2).sum((1, 2)),
         (wanted["weight_ih_l0"].numpy() ** 2).sum((1, 2)), 1e-5)  # fmt: skip


def test_per_sample_gradients_of_whole_and_unused_arguments() -> None:
    layer, x = nn.Linear(2, 1), mg.randn(3, 2)
    layer.extra = nn.Parameter(mg.zeros(4))
    found = func.per_sample_grad(lambda m, x, k: (m(x) * k).sum(), layer, x, mg.ones(5, 1),
                                 in_dims=(0, None))  # fmt: skip
    near(found["weight"][:, 0], 5 * x)
    assert found["extra"].tolist() == [[0.0] * 4] * 3
    none = func.per_sample_grad(lambda m, x: m(x).sum(), layer, x[:0])
    assert none["weight"].shape == (0, 1, 2)


# ---- corners ---------------------------------------------------------------------------------------


def test_what_is_tracked_stays_connected() -> None:
    """A gradient penalty: the derivative of a transform's result by what it was made of."""
    w = mg.tensor([1.0, 2.0], dtype=mg.float64, requires_grad=True)

    def penalty(w: Any) -> Any:
        return (func.grad(lambda w: (w**3).sum())(w) ** 2).sum()  # Σ 9 w⁴

    penalty(w).backward()
    near(w.grad, [36.0, 288.0])
    assert mg.gradcheck(penalty, w)
    with mg.no_grad():
        assert not penalty(w).requires_grad


def test_constant_and_linear_outputs() -> None:
    x = mg.tensor([1.0, 2.0])
    assert func.jacobian(lambda _: mg.ones(2))(x).tolist() == [[0, 0], [0, 0]]
    assert func.jacfwd(lambda _: mg.ones(2))(x).tolist() == [[0, 0], [0, 0]]
    assert func.hessian(lambda x: (3 * x).sum())(x).tolist() == [[0, 0], [0, 0]]
    assert func.hvp(lambda x: (3 * x).sum(), (x,), (x,))[1][0].tolist() == [0, 0]
    assert func.jvp(lambda x: x, (x,), (x,))[1].tolist() == [1, 2]
    assert func.jacobian(lambda x: x[:0])(x).shape == (0, 2)
    assert func.jacfwd(lambda x: x)(x[:0]).shape == (0, 0)


def test_functional_call_leaves_the_module_as_it_was() -> None:
    """Also after an exception; shared parameters are replaced wherever they stand; streams notice."""
    first = nn.Linear(2, 2)
    both = nn.Sequential(first, first)
    twice = func.functional_call(both, {"0.weight": mg.zeros(2, 2)}, mg.ones(1, 2))
    assert twice.tolist() == [first.bias.tolist()]
    before = both[0].weight
    with pytest.raises(KeyError, match="no parameter 'nothing'"):
        func.functional_call(both, {"0.weight": before * 2, "nothing": before}, mg.ones(1, 2))
    assert both[0].weight is before
    with pytest.raises(ValueError, match=r"0.weight float32 \[2\]: float32 \[2, 2\]"):
        func.functional_call(both, {"0.weight": mg.zeros(2)}, mg.ones(1, 2))
    cell = nn.LSTMCell(2, 2)
    zero = {name: mg.zeros(*p.shape) for name, p in cell.named_parameters()}
    with mg.no_grad():
        x, state = mg.ones(1, 2), cell(mg.ones(1, 2))
        for _ in range(3):
            after = cell(x, state)
        other = func.functional_call(cell, zero, (x, state))
        near(other[1], state[1] / 2)
        near(cell(x, state)[1], after[1])


def test_what_is_refused() -> None:
    x = mg.ones(2)

    def refused(error: type[Exception], match: str, call: Any) -> None:
        with pytest.raises(error, match=match):
            call()

    refused(TypeError, r"jacobian\(func\)\(x\)", lambda: func.jacobian(mg.exp, x))  # type: ignore[arg-type]
    refused(ValueError, "argnums=1 of 1", lambda: func.jacobian(mg.exp, 1)(x))
    refused(ValueError, r"one number, \[\], not \[2\]", lambda: func.grad(mg.exp)(x))
    refused(ValueError, "one number, .*not tuple", lambda: func.grad(lambda x: (x, x))(x))
    refused(ValueError, r"tangents float32 \[1\]: float32 \[2\]",
            lambda: func.jvp(mg.exp, (x,), (x[:1],)))  # fmt: skip
    refused(ValueError, r"cotangents float32 \[1\]", lambda: func.vjp(mg.exp, x)[1](x[:1]))
    refused(ValueError, "tangents", lambda: func.hvp(lambda x: x.sum(), (x,), ()))
    refused(TypeError, "int64", lambda: func.grad(lambda i: i.sum())(mg.tensor([1])))
    refused(TypeError, "not float", lambda: func.vjp(math.sin, 1.0))
    refused(TypeError, "not float", lambda: func.vjp(lambda x: x.sum().item(), x))
    refused(ValueError, "no tensor to derive by", lambda: func.grad(lambda _: x.sum())({}))
    two = (x, mg.ones(3))
    loss = nn.Linear(2, 2)
    refused(ValueError, "one number of samples", lambda: func.per_sample_grad(max, loss, *two))
    refused(ValueError, "in_dims", lambda: func.per_sample_grad(max, loss, x, in_dims=(0, 1)))
