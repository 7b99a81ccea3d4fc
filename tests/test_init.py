"""Initial values: their distributions, and that the seed determines them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

SHAPE = (300, 200)


def stats(
    f: Any, *args: Any, shape: Any = SHAPE, **options: Any
) -> tuple[float, float, float, float]:
    """(mean, standard deviation, minimum, maximum) of what f fills in."""
    x = mg.empty(*shape, dtype="float64")
    assert f(x, *args, **options) is x
    a = x.numpy()
    return a.mean(), a.std(), a.min(), a.max()


@pytest.mark.parametrize(
    ("f", "options", "std"),
    [
        ("xavier_normal_", {}, math.sqrt(2 / 500)),
        ("xavier_normal_", {"gain": 3.0}, 3 * math.sqrt(2 / 500)),
        ("kaiming_normal_", {}, math.sqrt(2 / 200)),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "tanh"}, 5 / 3 / math.sqrt(300)),
        ("kaiming_normal_", {"a": 2.0}, math.sqrt(2 / 5 / 200)),
        ("normal_", {"mean": 0.0, "std": 0.5}, 0.5),
        ("orthogonal_", {"gain": 2.0}, 2 / math.sqrt(300)),
    ],
)
def test_init_normal(f: str, options: dict[str, Any], std: float) -> None:
    mg.manual_seed(0)
    mean, found, *_ = stats(getattr(nn.init, f), **options)
    assert abs(mean) < 5 * std / math.sqrt(math.prod(SHAPE))
    assert abs(found / std - 1) < 0.02


@pytest.mark.parametrize(
    ("f", "options", "low", "high"),
    [
        ("uniform_", {}, 0, 1),
        ("uniform_", {"a": -3, "b": 5}, -3, 5),
        ("xavier_uniform_", {}, -math.sqrt(6 / 500), math.sqrt(6 / 500)),
        ("kaiming_uniform_", {"a": math.sqrt(5)}, -1 / math.sqrt(200), 1 / math.sqrt(200)),
        ("kaiming_uniform_", {"nonlinearity": "relu"}, -math.sqrt(6 / 200), math.sqrt(6 / 200)),
    ],
)
def test_init_uniform(f: str, options: dict[str, Any], low: float, high: float) -> None:
    mg.manual_seed(0)
    mean, std, least, most = stats(getattr(nn.init, f), **options)
    width = high - low
    assert low <= least < low + width / 1000
    assert high - width / 1000 < most <= high
    assert abs(mean - (low + high) / 2) < 0.01 * width
    assert abs(std - width / math.sqrt(12)) < 0.01 * width


def test_init_constants_and_orthogonal() -> None:
    x = mg.empty(3, 4)
    assert not nn.init.zeros_(x).numpy().any()
    assert (nn.init.ones_(x).numpy() == 1).all()
    assert (nn.init.constant_(x, 2.5).numpy() == 2.5).all()
    np.testing.assert_array_equal(nn.init.eye_(x).numpy(), np.eye(3, 4))
    for shape in ((5, 3), (3, 5), (4, 4), (4, 2, 3)):
        q = nn.init.orthogonal_(mg.empty(*shape, dtype="float64")).numpy().reshape(shape[0], -1)
        small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
        np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-12)
    with pytest.raises(ValueError, match="matrix"):
        nn.init.eye_(mg.empty(3))
    for f in (nn.init.orthogonal_, nn.init.xavier_normal_, nn.init.kaiming_uniform_):
        with pytest.raises(ValueError, match="two dimensions"):
            f(mg.empty(3))


def test_trunc_normal() -> None:
    mg.manual_seed(0)
    mean, std, low, high = stats(nn.init.trunc_normal_)
    assert -2 <= low < -1.99
    assert 1.99 < high <= 2
    assert abs(mean) < 0.02
    assert abs(std - 0.8796) < 0.01  # of the normal distribution cut at ±2
    mean, std, low, high = stats(nn.init.trunc_normal_, 3.0, 0.1, 3.05, 4)
    assert low >= 3.05
    with pytest.raises(ValueError, match=r"at least 0\.001"):
        stats(nn.init.trunc_normal_, 0.0, 1.0, 5.0, 6.0)


def test_init_is_determined_by_the_seed_and_by_shape_and_type_alone() -> None:
    for f in ("uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_",
              "kaiming_uniform_", "kaiming_normal_", "orthogonal_"):  # fmt: skip
        results = []
        for x in (mg.empty(6, 4), nn.Parameter(mg.empty(6, 4)), mg.empty(4, 6).T):
            mg.manual_seed(7)
            results.append(getattr(nn.init, f)(x).detach().numpy())
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gain(name: str) -> None:
    torch = pytest.importorskip("torch")
    for param in (None, 0.3) if name == "leaky_relu" else (None,):
        ours, theirs = (
            nn.init.calculate_gain(name, param),
            torch.nn.init.calculate_gain(name, param),
        )
        assert ours == pytest.approx(theirs, rel=1e-15)
    with pytest.raises(ValueError, match="swish"):
        nn.init.calculate_gain("swish")


@pytest.mark.parametrize(
    ("name", "args"), [("Linear", (200, 300)), ("Embedding", (300, 200)), ("LayerNorm", (200,))]
)
def test_default_distributions_are_pytorch_s(name: str, args: Any) -> None:
    torch = pytest.importorskip("torch")
    mg.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters()):
        a, b = np.sort(p.numpy().ravel()), np.sort(q.detach().numpy().ravel())
        assert a.shape == b.shape
        scale = max(np.abs(b).max(), 1e-9)  # the quantiles agree
        tolerance = 0.02 if a.size > 1000 else 0.2
        assert np.abs(a - b)[len(a) // 50 : -len(a) // 50].max() < tolerance * scale, key
