"""Linear-chain conditional random fields: the probability of a whole sequence of tags.

Scores x_t(j) of tag j in step t, A(i, j) of tag j after tag i, and of the first and last tag add up,

    score(x, y) = start(y_1) + Σ_t x_t(y_t) + Σ_t A(y_{t-1}, y_t) + end(y_T),
    p(y | x) = e^score(x, y) / Z,     Z = Σ_y e^score(x, y),

and the sum over all C^T sequences of tags is one over what ends in each tag:

    α_t(j) = x_t(j) + logsumexp_i(α_{t-1}(i) + A(i, j)),     log Z = logsumexp_j(α_T(j) + end(j)).

`crf_partition_by_ops` is this recursion, the definition; `crf_partition` is the same in C, where a
step costs a product of matrices and no C² exponentials (cextension/kernels/crf.inc).  The gradient of
log Z by x_t(j) is the probability of tag j in step t.

J. Lafferty, A. McCallum and F. Pereira, Conditional Random Fields: Probabilistic Models for Segmenting
and Labeling Sequence Data, 2001.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import core
from ..autograd import Tensor, grad, op
from ..core import from_numpy
from ..tape import is_grad_enabled
from .elementwise import add, where
from .index import narrow, take
from .reduce import logsumexp, sum
from .shape import contiguous, reshape, unbind


class _Run:
    """One call: the lengths, and what C saves between forward and backward."""

    __slots__ = ("alpha", "save", "steps")

    def __init__(self, steps: Any, save: bool) -> None:
        self.steps, self.save = steps, save
        self.alpha: Any = None

    def kept(self) -> list[core.Array]:
        """What the backward pass reads besides the operands."""
        return [] if self.alpha is None else [self.alpha]


@op
def _partition(x: Tensor, A: Tensor, start: Tensor, end: Tensor, run: _Run) -> Any:
    """log Z of each sequence, [N]."""
    log_z, run.alpha = core.crf_forward(x, A, start, end, run.steps, run.save)
    return log_z


def _rule(g: Any, tracked: Any, x: Tensor, A: Tensor, start: Tensor, end: Tensor, run: _Run) -> Any:
    if is_grad_enabled():
        # stand-ins, where the gradients of this end
        x, A, start, end = inputs = tuple(map(contiguous, (x, A, start, end)))
        log_z = crf_partition_by_ops(x, A, start, end, run.steps)
        wanted = [a for a, want in zip(inputs, tracked) if want]
        found = iter(grad(log_z, wanted, g, create_graph=True, allow_unused=True))
        gradients = [next(found) if want else None for want in tracked[:4]]
        pairs = zip(gradients, inputs, tracked)
        return *(core.zeros(a.layout) if w and dx is None else dx for dx, a, w in pairs), None
    dx, dA = core.crf_backward(g, run.alpha, A, end, run.steps)
    steps, n, tags = x.shape
    last = from_numpy(((run.steps - 1) * n + np.arange(n))[run.steps > 0])
    d_end = sum(take(reshape(dx, (steps * n, tags)), last), 0) if tracked[3] else None
    d_start = sum(narrow(dx, 0, 0, min(steps, 1)), (0, 1)) if tracked[2] else None
    return dx, dA, d_start, d_end, None


_partition.vjp_all(_rule)


def crf_partition(x: Tensor, A: Tensor, start: Tensor, end: Tensor, steps: Any) -> Any:
    """log Z of each sequence, [N]; steps: int64 ndarray [N], how many count.  No step: log Z = 0.

    x [T, N, C], A [C, C], start and end [C].  ValueError where the shapes or types do not fit.
    """
    tracked = any(a.node is not None for a in (x, A, start, end))
    return _partition(x, A, start, end, _Run(steps, tracked and is_grad_enabled()))


def crf_partition_by_ops(x: Tensor, A: Tensor, start: Tensor, end: Tensor, steps: Any) -> Any:
    """The same by other ops, a few per time step."""
    longest, n, tags = x.shape
    begun = np.arange(longest)[:, None, None] < steps[:, None]
    x = where(from_numpy(begun), x, 0.0)  # padding: whatever it holds
    alpha = add(start, from_numpy(np.zeros((n, tags), x.dtype)))
    for t, scores in enumerate(unbind(x) if longest else ()):
        before = alpha
        if t:
            before = logsumexp(add(reshape(alpha, (n, tags, 1)), A), 1)
        alpha = where(from_numpy(begun[t]), add(before, scores), alpha)
    some = from_numpy(steps > 0)
    return where(some, logsumexp(add(alpha, end), -1), 0.0)


def crf_score(x: Tensor, tags: Tensor, A: Tensor, start: Tensor, end: Tensor, steps: Any) -> Any:
    """score(x, y) of each sequence, [N], for tags [T, N], int64.

    ValueError where a tag that counts is none of the C.
    """
    longest, n, count = x.shape
    begun = np.arange(longest)[:, None] < steps
    y = np.where(begun, np.asarray(tags), 0)
    if y.size and not 0 <= y.min() <= y.max() < count:
        raise ValueError(
            f"crf: tags from {y.min()} to {y.max()}: from 0 to {count - 1} are possible"
        )
    if not longest:
        return sum(x, (0, 2))
    places = np.arange(longest * n).reshape(longest, n) * count + y
    scores = where(from_numpy(begun), take(reshape(x, (-1,)), from_numpy(places)), 0.0)
    score = sum(scores, 0)
    pairs = take(reshape(A, (-1,)), from_numpy(y[:-1] * count + y[1:]))
    score = add(score, sum(where(from_numpy(begun[1:]), pairs, 0.0), 0))
    last = y[np.maximum(steps - 1, 0), np.arange(n)]
    ends = add(take(start, from_numpy(y[0])), take(end, from_numpy(last)))
    return add(score, where(from_numpy(steps > 0), ends, 0.0))
