"""Tasks that need memory, drawn at random: what papers on recurrent networks compare them by.

Each function draws one batch, time first.  `generator` is a NumPy generator or a seed; without it,
minigrad's own is used, which `manual_seed` sets.  Numbers come in the default float type, symbols
as int64, to be embedded or turned into vectors by `nn.functional.one_hot`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Tensor
from ..ops import create

Generator = Any  # a NumPy generator, a seed, or None


class Batch(NamedTuple):
    """Sequences x [T, N, …] and what is to be answered."""

    x: Tensor
    y: Tensor


def _random(generator: Generator) -> np.random.Generator:
    if generator is None:
        return create.generator()
    return np.random.default_rng(generator)


def _floats(a: Any) -> Tensor:
    return create.from_numpy(np.ascontiguousarray(a, create.get_default_dtype()))


def _need(task: str, name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{task}: {name}={value}: at least {least} is needed")


def adding_problem(steps: int, batch: int, generator: Generator = None) -> Batch:
    """x [T, N, 2]: a number from U(0, 1) and a mark at each step; y [N]: the sum of the two marked.

    One mark is in each half.  Always saying 1 has mean squared error 1/6.  S. Hochreiter and
    J. Schmidhuber, Long Short-Term Memory, 1997, with marks 0 and 1 as in Q. Le et al., A Simple Way
    to Initialize Recurrent Networks of Rectified Linear Units, 2015.
    """
    _need("adding_problem", "steps", steps, 2)
    random = _random(generator)
    numbers, marks = random.random((steps, batch)), np.zeros((steps, batch))
    half, each = steps // 2, np.arange(batch)
    marks[random.integers(0, half, batch), each] = 1
    marks[random.integers(half, steps, batch), each] = 1
    return Batch(_floats(np.stack([numbers, marks], -1)), _floats((numbers * marks).sum(0)))


def copy_memory(
    delay: int, batch: int, length: int = 10, symbols: int = 8, generator: Generator = None
) -> Batch:
    """Say the first `length` symbols again, `delay` steps later: x, y [T, N], T = delay + 2 length.

    x: `length` symbols from 1 to `symbols`, then blanks (0), of which the last before the answer is
    the call for it, symbols + 1.  y: blanks, and at the end the symbols.  There are symbols + 2 in
    all.  Without memory the cross-entropy is length ln(symbols) / T on average.  S. Hochreiter and
    J. Schmidhuber, 1997; in this form M. Arjovsky, A. Shah and Y. Bengio, 2016.
    """
    for name, value in (("delay", delay), ("length", length), ("symbols", symbols)):
        _need("copy_memory", name, value, 1)
    said = _random(generator).integers(1, symbols + 1, (length, batch))
    x = np.zeros((delay + 2 * length, batch), np.int64)
    y = x.copy()
    x[:length], y[-length:] = said, said
    x[delay + length - 1] = symbols + 1
    return Batch(create.from_numpy(x), create.from_numpy(y))


def temporal_order(steps: int, batch: int, generator: Generator = None) -> Batch:
    """In which order did two X or Y come?  x [T, N] of six symbols, y [N] of four classes.

    0 and 1 are X and Y, one of them somewhere in steps T/10 … 2T/10 and one in 5T/10 … 6T/10; all
    others are drawn from the distractors 2 … 5.  Classes: XX, XY, YX, YY.  S. Hochreiter and
    J. Schmidhuber, 1997, experiment 6a; there the sequences vary in length as well.
    """
    _need("temporal_order", "steps", steps, 10)
    random, each = _random(generator), np.arange(batch)
    x = random.integers(2, 6, (steps, batch))
    first, second = random.integers(0, 2, (2, batch))
    x[random.integers(steps // 10, 2 * steps // 10, batch), each] = first
    x[random.integers(5 * steps // 10, 6 * steps // 10, batch), each] = second
    return Batch(create.from_numpy(x), create.from_numpy(2 * first + second))


def latch(lag: int, batch: int, inputs: int = 1, generator: Generator = None) -> Batch:
    """Which sign had the first input, `lag` steps ago?  x [lag + 1, N, inputs], y [N] of 0 and 1.

    x[0, :, 0] is ±1; all else is noise from N(0, 0.2²).  Y. Bengio, P. Simard and P. Frasconi,
    Learning Long-Term Dependencies with Gradient Descent is Difficult, 1994, has this task in a
    harder form.
    """
    _need("latch", "lag", lag, 0)
    random = _random(generator)
    x = random.normal(0, 0.2, (lag + 1, batch, inputs))
    y = random.integers(0, 2, batch)
    x[0, :, 0] = 2 * y - 1
    return Batch(_floats(x), create.from_numpy(y))


def counting(ns: Sequence[int], letters: int = 2) -> tuple[Tensor, Tensor, list[int]]:
    """The words aⁿbⁿ (letters=2) or aⁿbⁿcⁿ (3) for each n of `ns`: x, y [T, N, letters + 1], lengths.

    x shows the symbols one by one, one-hot, after a mark for the start; y[t] has a 1 for each symbol
    that may follow: after the mark and after each a, an a or a b; from the first b on one symbol
    alone, in the end the mark.  The last index is the mark; zeros beyond the lengths.  Who predicts
    all of y has counted.  F. Gers and J. Schmidhuber, LSTM Recurrent Networks Learn Simple Context-
    Free and Context-Sensitive Languages, 2001.
    """
    ns = [int(n) for n in ns]
    _need("counting", "letters", letters, 2)
    _need("counting", "n", min(ns, default=1), 1)
    lengths = [letters * n + 1 for n in ns]
    x = np.zeros((max(lengths, default=0), len(ns), letters + 1))
    y = np.zeros_like(x)
    for i, n in enumerate(ns):
        word = np.repeat(np.arange(letters), n)
        x[0, i, letters] = y[len(word), i, letters] = 1
        x[np.arange(1, len(word) + 1), i, word] = 1
        y[np.arange(len(word)), i, word] = 1
        y[1 : n + 1, i, :2] = 1  # another a, or the first b
    return _floats(x), _floats(y), lengths
