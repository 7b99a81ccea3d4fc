"""The whole in a nutshell, in under a second: pytest runs this file first."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad


def test_tensor_and_back() -> None:
    x = minigrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert (x.shape, x.dtype) == ((2, 2), minigrad.float32)
    np.testing.assert_array_equal(x.numpy(), [[1, 2], [3, 4]])
    assert x[1, 0].item() == 3.0


def test_add() -> None:
    x, y = minigrad.tensor([1.0, 2.0]), minigrad.tensor([[10.0], [20.0]])
    assert (x + y).tolist() == [[11.0, 12.0], [21.0, 22.0]]


def test_backward() -> None:
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    (x * x + 3.0 * x).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]


def test_broadcast_is_undone() -> None:
    b = minigrad.zeros(3, requires_grad=True)
    (minigrad.ones(4, 3) + b).sum().backward()
    assert b.grad.tolist() == [4.0, 4.0, 4.0]


def test_matmul() -> None:
    a = minigrad.tensor([[1.0, 2.0]], requires_grad=True)
    b = minigrad.tensor([[3.0], [4.0]], requires_grad=True)
    y = a @ b
    assert y.item() == 11.0
    y.backward()
    assert a.grad.tolist() == [[3.0, 4.0]]
    assert b.grad.tolist() == [[1.0], [2.0]]


def test_a_tensor_used_twice() -> None:
    x = minigrad.tensor(3.0, requires_grad=True)
    y = x * x
    (y + y * x).backward()
    assert x.grad.item() == 2 * 3 + 3 * 9


def test_second_derivative() -> None:
    x = minigrad.tensor(2.0, requires_grad=True)
    (dx,) = minigrad.grad(x**3, x, create_graph=True)
    (ddx,) = minigrad.grad(dx, x)
    assert (dx.item(), ddx.item()) == (12.0, 12.0)


def test_no_grad() -> None:
    x = minigrad.ones(2, requires_grad=True)
    with minigrad.no_grad():
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_gradcheck() -> None:
    x = minigrad.tensor([[0.1, -0.4]], dtype=minigrad.float64, requires_grad=True)
    assert minigrad.gradcheck(lambda x: x.tanh().softmax(-1), x)


def test_error_names_the_shapes() -> None:
    with pytest.raises(ValueError, match=r"add.*\[2\].*\[3\]"):
        minigrad.ones(2) + minigrad.ones(3)


def test_training_lowers_the_loss() -> None:
    minigrad.manual_seed(0)
    x = minigrad.randn(32, 3)
    target = x @ minigrad.tensor([1.0, -2.0, 0.5]) + 0.3
    w, b = minigrad.zeros(3, requires_grad=True), minigrad.zeros((), requires_grad=True)
    losses = []
    for _ in range(50):
        loss = (x @ w + b - target).square().mean()
        losses.append(loss.item())
        w.grad = b.grad = None
        loss.backward()
        with minigrad.no_grad():
            w.sub_(0.2 * w.grad)
            b.sub_(0.2 * b.grad)
    assert losses[-1] < 1e-3 * losses[0]
    np.testing.assert_allclose(w.detach().numpy(), [1.0, -2.0, 0.5], atol=0.05)
