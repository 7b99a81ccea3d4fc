"""Losses of sequences by enumeration: every path, every sequence of tags, one by one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from oracles import logsumexp, reduced


def read(path: Any, blank: int) -> list[int]:
    """What a path reads: repetitions merged, then blanks dropped."""
    merged = [c for t, c in enumerate(path) if t == 0 or c != path[t - 1]]
    return [c for c in merged if c != blank]


def ctc(x: Any, targets: Any, steps: Any, lengths: Any, blank: int = 0) -> Any:
    """-log Σ over all paths that read the target of e^Σ x, [N]: x [T, N, C], targets [N, S]."""
    losses = []
    for n in range(x.shape[1]):
        target = targets[n, : lengths[n]].tolist()
        scores = [
            sum((x[t, n, c] for t, c in enumerate(path)), x.dtype.type(0))
            for path in itertools.product(range(x.shape[2]), repeat=int(steps[n]))
            if read(path, blank) == target
        ]
        losses.append(-logsumexp(np.array(scores, x.dtype)))
    return np.array(losses, x.dtype)


def ctc_loss(
    x: Any, targets: Any, steps: Any, lengths: Any, blank: int = 0, reduction: str = "mean"
) -> Any:
    """The same, reduced as in PyTorch."""
    losses = ctc(x, targets, steps, lengths, blank)
    return reduced(losses / np.maximum(lengths, 1) if reduction == "mean" else losses, reduction)


def crf_score(x: Any, y: Any, A: Any, start: Any, end: Any) -> Any:
    """The score of the tags y of one sequence x [T, C]."""
    if len(y) == 0:
        return x.dtype.type(0)
    score = start[y[0]] + end[y[-1]] + x[np.arange(len(y)), y].sum()
    return score + sum(A[i, j] for i, j in zip(y[:-1], y[1:]))


def crf_all(x: Any, A: Any, start: Any, end: Any) -> dict[tuple[int, ...], Any]:
    """{tags: score} of one sequence x [T, C]."""
    every = itertools.product(range(x.shape[1]), repeat=len(x))
    return {y: crf_score(x, np.array(y, int), A, start, end) for y in every}


def crf_partition(x: Any, A: Any, start: Any, end: Any, steps: Any) -> Any:
    """log Σ e^score over all sequences of tags, [N], for x [T, N, C]."""
    found = [
        logsumexp(np.array([*crf_all(x[:length, n], A, start, end).values()], x.dtype))
        for n, length in enumerate(steps)
    ]
    return np.array(found, x.dtype)


def over_time(losses: Any, mask: Any, reduction: str) -> Any:
    """The words of minigrad/ops/over_time.py, sequence by sequence."""
    losses = losses.reshape(*losses.shape[:2], -1).sum(-1)
    each = [losses[mask[:, n], n] for n in range(losses.shape[1])]
    sums = np.array([e.sum() for e in each], losses.dtype)
    if reduction == "none":
        return np.where(mask, losses, 0)
    if reduction == "sums":
        return sums
    if reduction == "sum":
        return sums.sum()
    with np.errstate(invalid="ignore"):
        if reduction == "mean":
            return sums.sum() / losses.dtype.type(mask.sum())
        if reduction == "mean_of_sums":
            return sums.sum() / losses.dtype.type(len(sums))
        means = [e.mean() for e in each if len(e)]
        return np.sum(means, dtype=losses.dtype) / losses.dtype.type(len(means))
