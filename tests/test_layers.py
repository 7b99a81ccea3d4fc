"""Layers, activations, losses: against NumPy, and against PyTorch as the second oracle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F


def names(pairs: Any) -> list[str]:
    return [name for name, _ in pairs]


# ---- layers -------------------------------------------------------------------------------------


def test_linear(dtype: str) -> None:
    layer = nn.Linear(3, 2, dtype=dtype)
    x = mg.randn(4, 5, 3, dtype=dtype)
    y = layer(x)
    want = x.numpy() @ layer.weight.numpy().T + layer.bias.numpy()
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-5)
    assert y.shape == (4, 5, 2)
    assert nn.Linear(3, 2, bias=False).bias is None
    assert nn.Linear(0, 2)(mg.zeros(4, 0)).shape == (4, 2)
    assert layer(x[0, 0]).shape == (2,)
    with pytest.raises(ValueError, match="in_features=3"):
        layer(mg.zeros(4, 2, dtype=dtype))


def test_linear_used_twice_and_differentiated_twice(dtype: str) -> None:
    """The second use adds to the weight's gradient in place; bias and weight may be strided."""
    x, w = mg.randn(7, 3, dtype=dtype), mg.randn(3, 2, dtype=dtype).T.requires_grad_()
    b = mg.randn(4, dtype=dtype)[::2].requires_grad_()
    for bias in (b, None):
        w.grad = b.grad = None
        (F.linear(x, w, bias).sum() + F.linear(x * 2.0, w, bias).sum()).backward()
        np.testing.assert_allclose(w.grad.numpy(), [3 * x.numpy().sum(0)] * 2, rtol=1e-5)
    assert b.grad is None
    F.linear(x, w, b).sum().backward()
    assert b.grad.tolist() == [7, 7]
    for wrong in (mg.ones(3, dtype=dtype), mg.ones(1, dtype=dtype), mg.ones(2, dtype="int64")):
        with pytest.raises(ValueError, match=r"matmul: to add .*\[2\] is needed"):
            F.linear(x, w, wrong)
    leaves = [mg.randn(*s, dtype="float64", requires_grad=True) for s in ((2, 2, 3), (4, 3), (4,))]
    assert mg.gradgradcheck(lambda x, w, b: F.linear(x, w, b) ** 2, leaves)


def test_embedding_padding_row_gets_no_gradient() -> None:
    table = nn.Embedding(5, 3, padding_idx=1)
    assert not table.weight.numpy()[1].any()
    index = mg.tensor([[0, 1], [-4, 4]])  # -4 is row 1, too
    y = table(index)
    np.testing.assert_array_equal(y.numpy(), table.weight.numpy()[[[0, 1], [1, 4]]])
    y.sum().backward()
    assert table.weight.grad.numpy()[:, 0].tolist() == [1, 0, 0, 0, 1]
    with pytest.raises(IndexError, match="5"):
        table(mg.tensor([5]))
    with pytest.raises(ValueError, match="padding_idx"):
        nn.Embedding(5, 3, padding_idx=5)
    with pytest.raises(TypeError, match="int64"):
        table(mg.tensor([0.5]))
    frozen = nn.Embedding.from_pretrained(mg.ones(4, 2))
    assert not frozen.weight.requires_grad
    assert frozen(mg.tensor([3])).tolist() == [[1, 1]]
    assert mg.gradgradcheck(
        lambda w: F.embedding(index, w, 1) ** 2,
        (mg.randn(5, 3, dtype="float64", requires_grad=True),),
    )


def test_dropout() -> None:
    layer, x = nn.Dropout(0.25), mg.ones(100, 100, requires_grad=True)
    mg.manual_seed(3)
    y = layer(x)
    y.sum().backward()
    kept = y.numpy() != 0
    np.testing.assert_allclose(y.numpy()[kept], 4 / 3, rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 1e4)
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())
    mg.manual_seed(3)
    np.testing.assert_array_equal(layer(x).numpy(), y.numpy())
    assert layer.eval()(x) is x
    assert nn.Dropout(0)(x) is x
    assert not nn.Dropout(1)(x).numpy().any()
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="probability"):
            nn.Dropout(p)
        with pytest.raises(ValueError, match="probability"):
            F.dropout(x, p)


def test_layer_norm_starts_normal() -> None:
    y = nn.LayerNorm((2, 3))(mg.randn(7, 2, 3) * 5 + 2).numpy().reshape(7, 6)
    np.testing.assert_allclose(y.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(1), 1, rtol=1e-3)
    assert list(nn.LayerNorm(3, elementwise_affine=False).parameters()) == []
    assert names(nn.LayerNorm(3, bias=False).named_parameters()) == ["weight"]


def test_flatten_and_identity() -> None:
    x = mg.zeros(2, 3, 4)
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Flatten(0, 1)(x).shape == (6, 4)
    assert nn.Identity(1, anything=2)(x) is x


def test_one_hot() -> None:
    y = F.one_hot(mg.tensor([[0, 2], [1, 0]]))
    np.testing.assert_array_equal(y.numpy(), np.eye(3, dtype=int)[[[0, 2], [1, 0]]])
    assert y.dtype == mg.int64
    assert F.one_hot(mg.tensor(1), 4).tolist() == [0, 1, 0, 0]
    assert F.one_hot(mg.zeros(0).long(), 3).shape == (0, 3)
    for bad, n in (([3], 3), ([-1], 3)):
        with pytest.raises(ValueError, match="classes"):
            F.one_hot(mg.tensor(bad), n)
    with pytest.raises(ValueError, match="num_classes"):
        F.one_hot(mg.zeros(0).long())
    with pytest.raises(TypeError, match="int64"):
        F.one_hot(mg.zeros(3))


def test_bad_reduction() -> None:
    with pytest.raises(ValueError, match="reduction='avg'"):
        nn.MSELoss("avg")


# ---- PyTorch as the second oracle ---------------------------------------------------------------

X = np.random.default_rng(1).standard_normal((4, 5))
Y = np.random.default_rng(2).standard_normal((4, 5))
CLASSES = np.array([0, 4, -100, 2])
ACTIVATIONS: list[tuple[str, dict[str, Any]]] = [
    ("Tanh", {}),
    ("Sigmoid", {}),
    ("ReLU", {}),
    ("LeakyReLU", {}),
    ("LeakyReLU", {"negative_slope": 0.3}),
    ("ELU", {}),
    ("ELU", {"alpha": 2.0}),
    ("GELU", {}),
    ("GELU", {"approximate": "tanh"}),
    ("Softplus", {}),
    ("LogSigmoid", {}),
    ("Softmax", {"dim": 0}),
    ("Softmax", {"dim": -1}),
    ("LogSoftmax", {"dim": 1}),
    ("Flatten", {}),
    ("Identity", {}),
    ("LayerNorm", {"normalized_shape": 5}),
    ("LayerNorm", {"normalized_shape": (4, 5), "eps": 0.1}),
]


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_layers_are_pytorch_s(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    x = mg.tensor(X, requires_grad=True)
    t = torch.tensor(X, requires_grad=True)
    a, b = ours.double()(x), theirs.double()(t)
    np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)
    (a * a).sum().backward()
    (b * b).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("name", "target", "options"),
    [
        ("MSELoss", Y, {}),
        ("L1Loss", Y, {}),
        ("BCEWithLogitsLoss", (Y > 0).astype(float), {}),
        ("BCEWithLogitsLoss", (Y > 0).astype(float), {"pos_weight": np.arange(5.0)}),
        ("BCEWithLogitsLoss", (Y > 0).astype(float), {"weight": np.arange(5.0)}),
        ("CrossEntropyLoss", CLASSES, {}),
        ("CrossEntropyLoss", CLASSES, {"ignore_index": 4}),
        ("CrossEntropyLoss", CLASSES, {"weight": np.arange(1.0, 6.0)}),
        ("NLLLoss", CLASSES, {}),
    ],
)
def test_losses_are_pytorch_s(
    name: str, target: Any, options: dict[str, Any], reduction: str
) -> None:
    torch = pytest.importorskip("torch")
    if "ignore_index" in options:
        target = np.where(target < 0, 1, target)

    def result(lib: Any, module: Any) -> tuple[Any, Any]:
        known = {k: lib.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        x = lib.tensor(X, requires_grad=True)
        loss = getattr(module, name)(reduction=reduction, **known)(x, lib.tensor(target))
        (loss * loss).sum().backward()
        return loss.detach().numpy(), x.grad.numpy()

    for a, b in zip(result(mg, nn), result(torch, torch.nn)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_pytorch_s_state_dict_loads() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Embedding(7, 4, padding_idx=0), torch.nn.Linear(4, 3), torch.nn.LayerNorm(3)
    )
    ours = nn.Sequential(nn.Embedding(7, 4, padding_idx=0), nn.Linear(4, 3), nn.LayerNorm(3))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    index = np.array([[1, 0, 6], [2, 0, 2]])
    a, b = ours(mg.tensor(index)), theirs(torch.tensor(index))
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)
    (a**2).sum().backward()
    (b**2).sum().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        np.testing.assert_allclose(
            p.grad.numpy(), q.grad.numpy(), rtol=1e-3, atol=1e-4, err_msg=name
        )


def test_pad_sequence() -> None:
    pad = nn.utils.rnn.pad_sequence
    xs = [mg.randn(n, 2, requires_grad=True) for n in (3, 1, 0)]
    y = pad(xs, padding_value=7.0)
    assert y.shape == (3, 3, 2)
    for i, x in enumerate(xs):
        np.testing.assert_array_equal(y.numpy()[: len(x), i], x.numpy())
        assert (y.numpy()[len(x) :, i] == 7).all()
    np.testing.assert_array_equal(pad(xs, True, 7.0).numpy(), y.numpy().swapaxes(0, 1))
    y.sum().backward()
    assert (xs[0].grad.numpy() == 1).all()
    ids = pad([mg.tensor([1, 2]), mg.tensor([3])], batch_first=True, padding_value=-1)
    assert ids.tolist() == [[1, 2], [3, -1]]
    assert ids.dtype == mg.int64
    with pytest.raises(ValueError, match="at least one"):
        pad([])
    with pytest.raises(ValueError, match="first dimension only"):
        pad([mg.zeros(2, 3), mg.zeros(2, 4)])
