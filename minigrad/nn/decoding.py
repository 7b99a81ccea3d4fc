"""From the outputs of a network trained with CTC to labels: the best path, and prefix search."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import core

if TYPE_CHECKING:
    from ..autograd import Tensor


def _checked(name: str, log_probs: Tensor, input_lengths: Any, blank: int) -> tuple[Any, Any]:
    """(log_probs as ndarray [T, N, C], lengths [N])"""
    if len(log_probs.shape) != 3 or log_probs.layout.code > core.F64:
        raise ValueError(f"{name}: {core.describe(log_probs)}: floats [T, N, C] are needed")
    steps, n, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise ValueError(f"{name}: blank={blank}: one of {classes} classes is needed")
    if input_lengths is None:
        return np.asarray(log_probs), np.full(n, steps)
    return np.asarray(log_probs), core.sizes(f"{name}: input_lengths", input_lengths, n, steps)


def ctc_greedy_decode(
    log_probs: Tensor, input_lengths: Any = None, blank: int = 0
) -> list[list[int]]:
    """What the best path reads: the best class of each step, repetitions merged, blanks dropped.

    log_probs [T, N, C] (or scores before the softmax) -> N lists of labels.  The best path need not
    read the best labels: see `ctc_beam_decode`.  ValueError where shapes or lengths do not fit.

    >>> import minigrad
    >>> path = minigrad.nn.functional.one_hot(minigrad.tensor([1, 1, 0, 1, 2]), 3).float()
    >>> minigrad.nn.ctc_greedy_decode(path.reshape(5, 1, 3))
    [[1, 1, 2]]
    """
    x, lengths = _checked("ctc_greedy_decode", log_probs, input_lengths, blank)
    best = x.argmax(-1)
    new = np.ones(best.shape, bool)
    new[1:] = best[1:] != best[:-1]
    kept = new & (best != blank)
    return [best[:t, n][kept[:t, n]].tolist() for n, t in enumerate(lengths)]


def ctc_beam_decode(
    log_probs: Tensor, input_lengths: Any = None, beam_width: int = 10, blank: int = 0
) -> list[list[tuple[list[int], float]]]:
    """Prefix beam search: the most probable labels, over all paths that read them.

    For every sequence up to beam_width pairs (labels, ln p), the best first.  A prefix keeps apart the
    paths that end in a blank and those that end in its last label, since the same label again means
    something else after each: a new one, or a repetition.  Exact where no prefix is ever dropped;
    otherwise ln p is a lower bound.  A. Graves and N. Jaitly, Towards End-to-End Speech Recognition
    with Recurrent Neural Networks, 2014; A. Hannun et al., First-Pass Large Vocabulary Continuous
    Speech Recognition using Bi-Directional Recurrent DNNs, 2014.

    log_probs [T, N, C] as log_softmax gives them.  ValueError where shapes or sizes do not fit.

    >>> import minigrad
    >>> steps = minigrad.tensor([[0.6, 0.4], [0.6, 0.4]]).log().reshape(2, 1, 2)
    >>> minigrad.nn.ctc_greedy_decode(steps)  # the best path is "--": 0.36
    [[]]
    >>> labels, score = minigrad.nn.ctc_beam_decode(steps)[0][0]  # "aa", "a-", "-a": 0.64
    >>> labels, round(score, 4)
    ([1], -0.4463)
    """
    x, lengths = _checked("ctc_beam_decode", log_probs, input_lengths, blank)
    if beam_width < 1:
        raise ValueError(f"ctc_beam_decode: beam_width={beam_width}: at least 1 is needed")
    return [_search(x[:t, n].astype(float), beam_width, blank) for n, t in enumerate(lengths)]


def _search(x: Any, width: int, blank: int) -> list[tuple[list[int], float]]:
    """The beam after the last step of one sequence x [T, C]."""
    #: {prefix: [ln p of its paths that end in a blank, … in its last label]}
    beam: dict[tuple[int, ...], list[float]] = {(): [0.0, -math.inf]}
    for scores in x.tolist():
        new: dict[tuple[int, ...], list[float]] = {}
        for prefix, (in_blank, in_label) in beam.items():
            either = _join(in_blank, in_label)
            _add(new, prefix, 0, either + scores[blank])
            for c, score in enumerate(scores):
                if c == blank or score == -math.inf:
                    continue
                if prefix and c == prefix[-1]:
                    _add(new, prefix, 1, in_label + score)  # goes on
                    _add(new, (*prefix, c), 1, in_blank + score)  # comes again
                else:
                    _add(new, (*prefix, c), 1, either + score)
        best = sorted(new, key=lambda prefix: -_join(*new[prefix]))[:width]
        beam = {prefix: new[prefix] for prefix in best}
    ranked = sorted(((_join(*ends), prefix) for prefix, ends in beam.items()), reverse=True)
    return [(list(prefix), score) for score, prefix in ranked]


def _join(a: float, b: float) -> float:
    """ln(eᵃ + eᵇ)"""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


def _add(beam: dict[tuple[int, ...], list[float]], prefix: Any, end: int, score: float) -> None:
    if score != -math.inf:
        ends = beam.setdefault(prefix, [-math.inf, -math.inf])
        ends[end] = _join(ends[end], score)
