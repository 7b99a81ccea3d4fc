"""Numbers as operands, masks and large results: the ways of core/elementwise.py against NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, core

SIZES = (0, 1, 3, 63, 64, 65, 1000, 1025, 40_000)
COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def numbers(n: int, dtype: Any = np.float32, seed: int = 0) -> Any:
    """Few different values, so that some are equal; every tenth is NaN."""
    x = np.random.default_rng(seed).integers(-3, 4, n).astype(dtype)
    x[::10] = np.nan
    return x


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_number_on_either_side(n: int, dtype: Any) -> None:
    a, b = numbers(n, dtype), numbers(n, dtype, 1)
    x, y = minigrad.from_numpy(a), minigrad.from_numpy(b)
    for value in (1.0, 0.0, -2, math.nan, True):
        np.testing.assert_array_equal(x - value, a - dtype(value))
        np.testing.assert_array_equal(value - x, dtype(value) - a)
        for name, theirs in COMPARISONS.items():
            ours = getattr(minigrad, name)
            np.testing.assert_array_equal(ours(x, value), theirs(a, dtype(value)))
            np.testing.assert_array_equal(ours(value, x), theirs(dtype(value), a))
            np.testing.assert_array_equal(ours(x, y), theirs(a, b))
        mask = a > 0
        chosen = minigrad.from_numpy(mask)
        pairs = [((x, y), (a, b)), ((x, value), (a, dtype(value))), ((value, y), (dtype(value), b))]
        for ab, expected in pairs:
            np.testing.assert_array_equal(minigrad.where(chosen, *ab), np.where(mask, *expected))
    np.testing.assert_array_equal(minigrad.clip(x, -1, 2.0), np.clip(a, -1, 2))
    np.testing.assert_array_equal(minigrad.clip(x, y, 2), np.minimum(np.maximum(a, b), dtype(2)))


def test_the_sign_of_zero() -> None:
    """0.0 == -0.0, but they are not one number to a cache."""
    x = minigrad.tensor([1.0, -1.0])
    for _ in range(2):
        assert np.signbit(np.asarray(x * 0.0)).tolist() == [False, True]
        assert np.signbit(np.asarray(x * -0.0)).tolist() == [True, False]
        assert np.signbit(np.asarray(x * 0)).tolist() == [False, True]


def test_a_number_stays_a_number() -> None:
    """The array that a number is computed as is shared: rules and users must not get at it."""
    seen: list[Any] = []

    @minigrad.op
    def spy(a: Any, b: Any) -> Any:
        return core.binary("mul")(a, b)

    def rule(g: Tensor, b: Any) -> Tensor:
        seen.append(b)
        return g * b

    spy.vjp(a=rule)
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    spy(x, 3.0).sum().backward()
    assert seen == [3.0]
    assert isinstance(seen[0], float)
    y = minigrad.tensor([0.0]).detach() + 3.0
    np.asarray(y)[...] = 7
    assert (minigrad.tensor([0.0]) + 3.0).tolist() == [3.0]
    z = minigrad.where(minigrad.tensor([True]), 3.0, 4.0)
    np.asarray(z)[...] = 7
    assert minigrad.where(minigrad.tensor([True]), 3.0, 4.0).tolist() == [3.0]


@pytest.mark.usefixtures("isa")
def test_results_written_past_the_caches() -> None:
    """From 16 MiB on, from any beginning: clip stores to aligned addresses after a few others."""
    n = (16 << 20) // 4 + 5
    a = np.linspace(-2, 2, n, dtype=np.float32)
    for offset in (0, 1, 3):
        y = minigrad.clip(minigrad.from_numpy(a[offset:]), -1, 1)
        np.testing.assert_array_equal(y, np.clip(a[offset:], -1, 1))
