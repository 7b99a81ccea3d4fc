"""Connectionist temporal classification (CTC): the loss of unsegmented sequences.

A network says in each of T steps how probable each of C classes is, one of them the *blank*, "no
label here".  A path π is one class per step.  It reads a sequence of labels: repetitions are merged,
then blanks dropped, so that "aa-ab" and "-a-ab" read "aab".  The loss is that of all paths which read
the target l,

    loss = -ln Σ_π Π_t p_t(π_t),        π over all paths that read l.

There are very many, but they share their beginnings.  Write the target with blanks around each
label, l' = (-, l₁, -, l₂, -, …, l_L, -), S = 2 L + 1 states.  α_t(s) is the log-probability of all
beginnings that stand in state s at step t,

    α_t(s) = ln p_t(l'_s) + logsumexp(α_{t-1}(s), α_{t-1}(s-1), α_{t-1}(s-2)),

the last only where l'_s is a label and differs from l'_{s-2}; and loss = -logsumexp(α_T(S), α_T(S-1)).

`ctc_by_ops` is this recursion and nothing else: the definition, and the way to derivatives of
derivatives.  C does the same, and its gradient by a second recursion, from the end
(cextension/kernels/ctc.inc).

A. Graves, S. Fernández, F. Gomez and J. Schmidhuber, Connectionist Temporal Classification:
Labelling Unsegmented Sequence Data with Recurrent Neural Networks, 2006.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import core
from ..autograd import Tensor, grad, op
from ..core import from_numpy
from ..tape import is_grad_enabled
from .elementwise import add, div, eq, neg, where
from .index import gather, narrow
from .loss import _check, _reduced
from .reduce import logsumexp, mean
from .shape import cat, contiguous, reshape, stack, unbind


class _Run:
    """One call: the targets, and what C saves between forward and backward."""

    __slots__ = ("alpha", "paths", "save")

    def __init__(self, paths: core.Paths, save: bool) -> None:
        self.paths, self.save = paths, save
        self.alpha: Any = None

    def kept(self) -> list[core.Array]:
        """What the backward pass reads besides log_probs."""
        return [] if self.alpha is None else [self.alpha]


@op
def _ctc(log_probs: Tensor, run: _Run) -> Any:
    """The loss of each sequence, [N]."""
    loss, run.alpha = core.ctc_forward(log_probs, run.paths, run.save)
    return loss


def _ctc_rule(g: Any, log_probs: Tensor, run: _Run) -> Any:
    if not is_grad_enabled():
        return core.ctc_backward(g, log_probs, run.alpha, run.paths)
    x = contiguous(log_probs)  # a stand-in, where the gradient of this ends
    loss = ctc_by_ops(x, run.paths)
    if not loss.requires_grad:  # there is no step
        return core.zeros(x.layout)
    return grad(loss, x, g, create_graph=True)[0]


_ctc.vjp(log_probs=_ctc_rule)


def ctc_by_ops(log_probs: Tensor, paths: core.Paths) -> Any:
    """The loss of each sequence, [N]: the recursion of α, a few ops per time step."""
    (steps, n, _), length = log_probs.shape, paths.labels.shape[1]
    labels = np.where(np.arange(length) < paths.lengths[:, None], paths.labels, paths.blank)
    states = np.full(
        (n, 2 * length + 1), paths.blank
    )  # l', with blanks in place of what is missing
    states[:, 1::2] = labels
    closed = np.ones(states.shape, bool)  # the way from s-2 to s
    closed[:, 3::2] = labels[:, 1:] == labels[:, :-1]
    closed[:, 1:2] = False
    begun = np.arange(steps)[:, None] < paths.steps

    x = where(from_numpy(begun[:, :, None]), log_probs, 0.0)  # padding: whatever it holds
    index = np.broadcast_to(states, (steps, *states.shape))
    emitted = unbind(gather(x, -1, from_numpy(index))) if steps else []
    shut, dtype = from_numpy(closed), log_probs.dtype
    nothing = from_numpy(np.full((n, 2), -math.inf, dtype))
    start = np.full(states.shape, -math.inf, dtype)
    start[:, 0] = 0  # before the first step: as if in the first blank
    alpha = from_numpy(start)
    for t, p in enumerate(emitted):
        padded = cat([nothing, alpha], -1)
        stay, step = alpha, narrow(padded, -1, 1, states.shape[1])
        skip = where(shut, -math.inf, narrow(padded, -1, 0, states.shape[1]))
        new = add(p, logsumexp(stack([stay, step, skip]), 0))
        alpha = new if begun[t].all() else where(from_numpy(begun[t][:, None]), new, alpha)
    last = 2 * paths.lengths[:, None]
    ends = gather(alpha, -1, from_numpy(np.maximum(np.concatenate([last, last - 1], 1), 0)))
    empty = from_numpy(np.concatenate([last < 0, last == 0], 1))  # no label: one end, not two
    return neg(logsumexp(where(empty, -math.inf, ends), -1))


# ---- the face -----------------------------------------------------------------------------------


def _padded(targets: Any, lengths: Any) -> Any:
    """`targets`, [N, S] or all in a row, as [N, S]."""
    labels = np.asarray(targets)
    if labels.size and labels.dtype.kind not in "iu":
        raise TypeError(f"ctc_loss: targets are int64 labels, not {labels.dtype}")
    labels = labels.astype(np.int64, copy=False)  # [] is a list of floats
    if labels.ndim == 2 and len(labels) == len(lengths):
        return labels
    if labels.ndim != 1 or len(labels) != lengths.sum() or lengths.min(initial=0) < 0:
        raise ValueError(
            f"ctc_loss: targets {list(labels.shape)} with target_lengths {lengths.tolist()}: needed are "
            f"[{len(lengths)}, S], or all targets in a row, [{int(lengths.sum())}]"
        )
    rows = np.zeros((len(lengths), lengths.max(initial=0)), np.int64)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = labels
    return rows


def ctc_loss(
    log_probs: Tensor,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """loss = -ln Σ Π_t p_t(π_t) over all paths π that read the targets (Graves et al., 2006).

    log_probs [T, N, C]: log-probabilities, as log_softmax gives them; or [T, C], one sequence.
    targets: labels, integers, [N, S] with padding, or all sequences in a row, [ΣS]; none is `blank`.
    input_lengths, target_lengths [N]: how many steps and labels of each sequence count; what stands
    behind them changes nothing.  reduction "none": [N]; "sum"; "mean", as in PyTorch: each loss is
    divided by its number of labels (at least 1), and the mean taken over the batch.

    Where the targets do not fit into the steps (each label needs one, and a repeated one a blank
    before it), the loss is infinite and its gradient NaN; zero_infinity makes both zero.

    The gradient is that of the equation above, with log_probs as the variable: minus the probability
    of class c in step t among the paths that read the target.  PyTorch's kernel adds p_t(c), which
    changes nothing behind a log_softmax, and is wrong without.  It is differentiable again.
    ValueError and TypeError where shapes, lengths or labels do not fit.

    >>> import minigrad
    >>> uniform = minigrad.full((2, 1, 2), 0.5).log()
    >>> loss = minigrad.nn.functional.ctc_loss(uniform, [[1]], [2], [1], reduction="none")
    >>> minigrad.exp(-loss)  # three of the four paths of two steps read "a": aa, a-, -a
    tensor([0.75])
    """
    _check(reduction)
    if len(log_probs.shape) == 2:
        x = reshape(log_probs, (log_probs.shape[0], 1, log_probs.shape[1]))
        one = [np.asarray(a).reshape(1, -1) for a in (targets, input_lengths, target_lengths)]
        loss = ctc_loss(x, one[0], one[1][0], one[2][0], blank, reduction, zero_infinity)
        return reshape(loss, ()) if reduction == "none" else loss
    if len(log_probs.shape) != 3:
        raise ValueError(f"ctc_loss: log_probs {list(log_probs.shape)}: [T, N, C] is needed")
    if log_probs.layout.code > core.F64:
        raise TypeError(f"ctc_loss: log_probs {core.describe(log_probs)}: floats are needed")
    _, n, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise ValueError(f"ctc_loss: blank={blank}: one of {classes} classes is needed")
    steps = core.sizes("ctc_loss: input_lengths", input_lengths, n, log_probs.shape[0])
    lengths = core.sizes("ctc_loss: target_lengths", target_lengths, n)
    labels = _padded(targets, lengths)
    if ((labels == blank) & (np.arange(labels.shape[1]) < lengths[:, None])).any():
        raise ValueError(f"ctc_loss: the blank, {blank}, is among the targets: it is no label")
    paths = core.Paths(labels, steps, lengths, blank)
    loss = _ctc(log_probs, _Run(paths, log_probs.node is not None and is_grad_enabled()))
    if zero_infinity:
        loss = where(eq(loss, math.inf), 0.0, loss)
    if reduction == "mean":
        return mean(div(loss, from_numpy(np.maximum(lengths, 1).astype(loss.dtype))))
    return _reduced(loss, reduction)
