"""Tasks that need memory: each answer follows from its sequence, and a seed gives the same batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import data

sizes = st.integers(1, 6)


@given(st.integers(2, 30), sizes)
def test_adding(steps: int, n: int) -> None:
    x, y = data.adding_problem(steps, n, generator=steps)
    numbers, marks = np.moveaxis(x.numpy(), -1, 0)
    assert x.shape == (steps, n, 2)
    assert x.dtype == y.dtype == np.float32
    half = steps // 2
    np.testing.assert_array_equal(marks[:half].sum(0), np.ones(n))
    np.testing.assert_array_equal(marks[half:].sum(0), np.ones(n))
    np.testing.assert_allclose(y.numpy(), (numbers * marks).sum(0), rtol=1e-6)


@given(sizes, sizes, sizes, sizes)
def test_copy(delay: int, n: int, length: int, symbols: int) -> None:
    x, y = (a.numpy() for a in data.copy_memory(delay, n, length, symbols, generator=n))
    assert x.shape == y.shape == (delay + 2 * length, n)
    np.testing.assert_array_equal(y[-length:], x[:length])
    assert x[:length].min() >= 1
    assert x[:length].max() <= symbols
    assert not y[:-length].any()
    rest = x[length:]
    assert (rest[delay - 1] == symbols + 1).all()
    assert np.count_nonzero(rest) == n


@given(st.integers(10, 60), sizes)
def test_order(steps: int, n: int) -> None:
    x, y = (a.numpy() for a in data.temporal_order(steps, n, generator=n))
    assert x.shape == (steps, n)
    for word, label in zip(x.T, y):
        (places,) = np.nonzero(word < 2)
        assert len(places) == 2
        assert steps // 10 <= places[0] < max(2 * steps // 10, steps // 10 + 1)
        assert steps // 2 <= places[1] < max(6 * steps // 10, steps // 2 + 1)
        assert label == 2 * word[places[0]] + word[places[1]]
        assert word.max() <= 5


@given(st.integers(0, 9), sizes, sizes)
def test_latch(lag: int, n: int, inputs: int) -> None:
    x, y = data.latch(lag, n, inputs, generator=3)
    assert x.shape == (lag + 1, n, inputs)
    np.testing.assert_array_equal(y.numpy(), x.numpy()[0, :, 0] > 0)
    np.testing.assert_array_equal(np.abs(x.numpy()[0, :, 0]), np.ones(n))


@given(st.lists(st.integers(1, 6), max_size=4), st.integers(2, 4))
def test_counting(ns: list[int], letters: int) -> None:
    x, y, lengths = data.counting(ns, letters)
    words = {(*np.repeat(np.arange(letters), n), letters) for n in range(1, 9)}
    for i, (n, length) in enumerate(zip(ns, lengths)):
        shown = x.numpy()[:length, i].argmax(-1)
        assert shown[0] == letters
        assert (*shown[1:], letters) in words
        assert length == letters * n + 1
        assert not x.numpy()[length:, i].any()
        assert not y.numpy()[length:, i].any()
        for t in range(
            length
        ):  # what may follow is what follows in some word that begins like this
            begin = tuple(shown[1 : t + 1])
            may = {w[t] for w in words if w[:t] == begin and len(w) > t}
            np.testing.assert_array_equal(np.nonzero(y.numpy()[t, i])[0], sorted(may))


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: data.adding_problem(9, 4, generator=g),
        lambda g: data.copy_memory(5, 4, generator=g),
        lambda g: data.temporal_order(20, 4, generator=g),
        lambda g: data.latch(3, 4, generator=g),
    ],
)
def test_seeds(draw: Any) -> None:
    def arrays(g: Any) -> Any:
        return [a.numpy() for a in draw(g)]

    for a, b in zip(arrays(5), arrays(np.random.default_rng(5))):
        np.testing.assert_array_equal(a, b)
    mg.manual_seed(1)
    first = arrays(None)
    second = arrays(None)
    assert any((a != b).any() for a, b in zip(first, second))
    mg.manual_seed(1)
    for a, b in zip(first, arrays(None)):
        np.testing.assert_array_equal(a, b)


def test_the_default_type_is_followed() -> None:
    mg.set_default_dtype(mg.float64)
    try:
        assert data.adding_problem(4, 1).x.dtype == np.float64
        assert data.counting([1])[0].dtype == np.float64
    finally:
        mg.set_default_dtype(mg.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.adding_problem(1, 3), "adding_problem: steps=1: at least 2"),
        (lambda: data.copy_memory(0, 3), "copy_memory: delay=0: at least 1"),
        (lambda: data.temporal_order(9, 3), "temporal_order: steps=9: at least 10"),
        (lambda: data.latch(-1, 3), "latch: lag=-1: at least 0"),
        (lambda: data.counting([0]), "counting: n=0: at least 1"),
        (lambda: data.counting([1], 1), "counting: letters=1: at least 2"),
    ],
)
def test_errors(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
