"""Clipping of gradients: MISSION B7, if ‖g‖ > θ: g ← g θ / ‖g‖."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.nn.utils import clip_grad_norm_, clip_grad_value_


def with_grads(*grads: Any, dtype: str = "float64") -> list[Any]:
    """Leaves with these gradients."""
    leaves = []
    for g in grads:
        a = np.asarray(g, dtype)
        x = mg.zeros(a.shape, dtype=dtype, requires_grad=True)
        x.grad = mg.tensor(a)
        leaves.append(x)
    return leaves


def whole(leaves: Any) -> Any:
    """All gradients as one vector."""
    return np.concatenate([x.grad.numpy().ravel() for x in leaves])


def norm_of(a: Any, p: float) -> float:
    """‖a‖ₚ."""
    return float(np.linalg.norm(a, p)) if a.size else 0.0


@given(
    seed=st.integers(0, 2**32),
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=4),
    bound=st.floats(0, 10),
    p=st.sampled_from([1.0, 1.5, 2.0, 3.0, math.inf]),
)
def test_the_equation(seed: int, shapes: Any, bound: float, p: float) -> None:
    rng = np.random.default_rng(seed)
    leaves = with_grads(*(rng.standard_normal(shape) for shape in shapes))
    g = whole(leaves) if leaves else np.zeros(0)
    norm = norm_of(g, p)
    returned = clip_grad_norm_(leaves, bound, p)
    assert returned.shape == ()
    np.testing.assert_allclose(returned.item(), norm, rtol=1e-6 if not leaves else 1e-13)
    if leaves:
        want = g * bound / norm if norm > bound else g
        np.testing.assert_allclose(whole(leaves), want, rtol=1e-13, atol=1e-300)


def test_no_epsilon_the_norm_is_the_bound_after_clipping(dtype: str) -> None:
    for scale in (1e-3, 1.0, 1e3):
        leaves = with_grads(np.arange(1, 6) * scale, np.ones((2, 3)) * scale, dtype=dtype)
        clip_grad_norm_(leaves, scale * 1e-4)
        after = np.linalg.norm(whole(leaves).astype(float))
        assert abs(after / (scale * 1e-4) - 1) < {"float32": 3e-7, "float64": 1e-15}[dtype] * 4


def test_the_norm_at_the_bound_stays() -> None:
    leaves = with_grads([3.0], [4.0])
    assert clip_grad_norm_(leaves, 5.0).item() == 5.0
    assert whole(leaves).tolist() == [3.0, 4.0]
    assert clip_grad_norm_(leaves, math.inf).item() == 5.0
    assert whole(leaves).tolist() == [3.0, 4.0]
    assert clip_grad_norm_(leaves, 0.0).item() == 5.0
    assert whole(leaves).tolist() == [0.0, 0.0]


def test_close_to_pytorch() -> None:
    torch = pytest.importorskip("torch")
    grads = [np.random.default_rng(i).standard_normal((30, 20)) for i in range(3)]
    ours = with_grads(*grads, dtype="float32")
    theirs = [torch.zeros(30, 20, requires_grad=True) for _ in grads]
    for x, g in zip(theirs, grads):
        x.grad = torch.tensor(g, dtype=torch.float32)
    for p in (2.0, 1.0, math.inf):
        a = clip_grad_norm_(ours, 1.5, p).item()
        b = torch.nn.utils.clip_grad_norm_(theirs, 1.5, p).item()
        assert a == pytest.approx(b, rel=1e-5)
        for x, y in zip(ours, theirs):
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-5)


def test_what_may_be_passed() -> None:
    net = nn.Linear(2, 2)
    net(mg.ones(1, 2)).sum().backward()
    norm = clip_grad_norm_(net, math.inf).item()
    assert norm > 0
    named = list(net.named_parameters())
    for parameters in (net.parameters(), named, iter(named), tuple(net.parameters())):
        assert clip_grad_norm_(parameters, math.inf).item() == norm
    assert clip_grad_norm_(net.weight, math.inf).item() < norm
    assert clip_grad_norm_([net.weight, net.weight, net.bias], math.inf).item() == norm
    net.zero_grad()
    assert clip_grad_norm_(net, 1.0).item() == 0
    assert clip_grad_norm_([], 1.0).item() == 0
    with pytest.raises(TypeError, match="parameter 1: a tensor is needed, not ndarray"):
        clip_grad_norm_([net.weight, np.ones(2)], 1.0)


def test_strided_and_tracked_gradients() -> None:
    x = mg.zeros(2, 3, dtype="float64", requires_grad=True)
    x.grad = mg.ones(3, 2, dtype="float64").T
    g = x.grad
    clip_grad_norm_(x, 1.0)
    assert x.grad is g
    np.testing.assert_allclose(x.grad.numpy(), np.full((2, 3), 1 / math.sqrt(6)))
    w = mg.tensor([3.0, 4.0], requires_grad=True)
    (w**2).sum().backward(create_graph=True)
    assert w.grad.requires_grad
    clip_grad_norm_(w, 1.0)
    np.testing.assert_allclose(w.grad.detach().numpy(), [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_a_nonfinite_gradient_raises_and_names_the_parameter(bad: float, p: float) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    net(mg.ones(1, 2)).sum().backward()
    net[1].weight.grad[0, 1] = bad
    before = [q.grad.numpy().copy() for q in net.parameters()]
    counts = "1 NaN and 0 infinite" if math.isnan(bad) else "0 NaN and 1 infinite"
    message = rf"non-finite gradient of 1\.weight \(float32 \[2, 3\]: {counts}\):"
    for parameters in (net, list(net.parameters()), list(net.named_parameters())):
        with pytest.raises(RuntimeError, match=message):
            clip_grad_norm_(parameters, 1.0, p)
        with pytest.raises(RuntimeError, match=message):
            clip_grad_value_(parameters, 1.0)
    for q, g in zip(net.parameters(), before):
        np.testing.assert_array_equal(q.grad.numpy(), g)
    norm = clip_grad_norm_(net, 1.0, p, error_if_nonfinite=False).item()
    assert not math.isfinite(norm)
    for q, g in zip(net.parameters(), before):
        np.testing.assert_array_equal(q.grad.numpy(), g)


def test_plain_tensors_are_named_by_their_number() -> None:
    leaves = with_grads([1.0], [math.nan], [math.inf, math.inf])
    with pytest.raises(
        RuntimeError, match=r"parameter 1 \(float64 \[1\].*, parameter 2 \(float64 \[2\]"
    ):
        clip_grad_norm_(leaves, 1.0)
    with pytest.raises(RuntimeError, match="and of 3 more"):
        clip_grad_norm_(with_grads(*[[math.nan]] * 8), 1.0)


def test_large_but_finite_gradients_are_no_error() -> None:
    leaves = with_grads([3e200], [4e200])  # the squares overflow
    assert clip_grad_norm_(leaves, 1.0).item() == pytest.approx(5e200)
    np.testing.assert_allclose(whole(leaves), [0.6, 0.8])
    leaves = with_grads([3e30], [4e30], dtype="float32")
    assert clip_grad_norm_(leaves, 1.0).item() == pytest.approx(5e30)
    np.testing.assert_allclose(whole(leaves), [0.6, 0.8], rtol=1e-6)
    clip_grad_value_(with_grads([1e300]), 1.0)


def test_by_value() -> None:
    leaves = with_grads([-3.0, -0.5, 0.0, 0.5, 3.0])
    clip_grad_value_(leaves, 1.0)
    assert whole(leaves).tolist() == [-1, -0.5, 0, 0.5, 1]
    leaves = with_grads([math.inf, -math.inf, math.nan])
    clip_grad_value_(leaves, 2.0, error_if_nonfinite=False)
    np.testing.assert_array_equal(whole(leaves), [2, -2, math.nan])


def test_adaptive_clipping_asks_for_the_module() -> None:
    model = nn.Linear(2, 3)
    with pytest.raises(TypeError, match="the module is needed"):
        nn.utils.clip_grad_adaptive_(model.parameters())  # type: ignore[arg-type]


def test_impossible_bounds() -> None:
    leaves = with_grads([1.0])
    for bound in (-1.0, math.nan):
        with pytest.raises(ValueError, match="max_norm"):
            clip_grad_norm_(leaves, bound)
        with pytest.raises(ValueError, match="clip_value"):
            clip_grad_value_(leaves, bound)
    for p in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="norm_type"):
            clip_grad_norm_(leaves, 1.0, p)
