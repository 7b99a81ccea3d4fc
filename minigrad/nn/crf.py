"""A conditional random field on top of a tagger: tags that are scored together, not one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import core
from ..autograd import grad
from ..ops.create import zeros
from ..ops.crf import crf_partition, crf_score
from ..ops.elementwise import sub
from ..ops.over_time import sequence_loss
from ..ops.shape import reshape
from ..tape import enable_grad
from . import init
from .module import Module, Parameter

if TYPE_CHECKING:
    from ..autograd import Tensor


class CRF(Module):
    """ln p(y | x) = score(x, y) - ln Z of a linear-chain conditional random field.

    score(x, y) = start(y₁) + Σ_t x_t(y_t) + Σ_t A(y_{t-1}, y_t) + end(y_T), and Z = Σ_y e^score(x, y)
    over all sequences of tags.  The scores x, emissions, come from a network below, for example a
    Bi-LSTM (Z. Huang, W. Xu and K. Yu, 2015).  Learnt here are `transitions` A [C, C], from row to
    column, `start_transitions` and `end_transitions` [C], drawn from U(-0.1, 0.1); names as in the
    package pytorch-crf.  A transition that must not happen: -inf, or a large negative number.

        emissions [T, N, C]   tags [T, N], int64   lengths [N], or mask [T, N], bool, true up to the
        end of each sequence: what stands behind changes nothing

    J. Lafferty, A. McCallum and F. Pereira, Conditional Random Fields, 2001.

    >>> import minigrad
    >>> crf = minigrad.nn.CRF(3)
    >>> emissions, tags = minigrad.randn(5, 2, 3), minigrad.randint(0, 3, (5, 2))
    >>> loss = -crf(emissions, tags, lengths=[5, 2], reduction="mean_of_sums")
    >>> [len(tags) for tags in crf.decode(emissions, lengths=[5, 2])]
    [5, 2]
    """

    def __init__(self, num_tags: int, dtype: Any = None) -> None:
        super().__init__()
        if num_tags < 1:
            raise ValueError(f"CRF: num_tags={num_tags}: at least 1 is needed")
        self.num_tags = num_tags
        self.transitions = Parameter(zeros(num_tags, num_tags, dtype=dtype))
        self.start_transitions = Parameter(zeros(num_tags, dtype=dtype))
        self.end_transitions = Parameter(zeros(num_tags, dtype=dtype))
        for parameter in self.parameters():
            init.uniform_(parameter, -0.1, 0.1)

    def _scores(self) -> tuple[Any, Any, Any]:
        return self.transitions, self.start_transitions, self.end_transitions

    def _steps(self, emissions: Tensor, lengths: Any, mask: Any) -> Any:
        """The lengths, int64 ndarray [N]."""
        shape = emissions.shape
        if len(shape) != 3 or shape[2] != self.num_tags:
            raise ValueError(
                f"CRF: emissions {list(shape)}: [T, N, {self.num_tags}] is needed (time, batch, tags)"
            )
        counted = core.valid_steps("CRF", shape, lengths, mask)
        if counted is None:
            return np.full(shape[1], shape[0])
        steps = counted.sum(0)
        if not np.array_equal(counted, np.arange(shape[0])[:, None] < steps):
            raise ValueError(
                "CRF: a mask must be true from the first step to the end, without gaps"
            )
        return steps

    def forward(
        self,
        emissions: Tensor,
        tags: Tensor,
        lengths: Any = None,
        mask: Any = None,
        reduction: str = "sum",
    ) -> Any:
        """ln p(tags | emissions); the loss to minimise is minus that.

        reduction "sums": of each sequence, [N]; "sum"; "mean_of_sums": over the batch; "mean": by the
        number of tags.  ValueError where shapes, tags or words do not fit.
        """
        steps = self._steps(emissions, lengths, mask)
        if tags.shape != emissions.shape[:2]:
            raise ValueError(
                f"CRF: tags {list(tags.shape)} of emissions {list(emissions.shape)}: "
                f"{list(emissions.shape[:2])} is needed"
            )
        scores = self._scores()
        score = crf_score(emissions, tags, *scores, steps)
        each = sub(score, crf_partition(emissions, *scores, steps))
        if reduction not in ("sums", "sum", "mean", "mean_of_sums"):
            raise ValueError(
                f"CRF: reduction={reduction!r}: 'sums', 'sum', 'mean' or 'mean_of_sums'"
            )
        if reduction == "mean":
            return each.sum() / int(steps.sum())
        return sequence_loss(reshape(each, (1, -1)), reduction=reduction)

    def marginals(self, emissions: Tensor, lengths: Any = None, mask: Any = None) -> Any:
        """p(y_t = j | x) [T, N, C], zeros in the padding: the gradient of ln Z by the emissions."""
        steps = self._steps(emissions, lengths, mask)
        with enable_grad():
            x = emissions.detach().requires_grad_()
            A, start, end = (p.detach() for p in self._scores())
            log_z = crf_partition(x, A, start, end, steps)
            return grad(log_z.sum(), x)[0]

    def decode(self, emissions: Tensor, lengths: Any = None, mask: Any = None) -> list[list[int]]:
        """The most probable tags of each sequence, by the Viterbi recursion:

        δ_t(j) = x_t(j) + max_i (δ_{t-1}(i) + A(i, j)), and back along the tags i that were chosen.
        A. Viterbi, Error Bounds for Convolutional Codes, 1967.
        """
        steps = self._steps(emissions, lengths, mask)
        x, (A, start, end) = np.asarray(emissions), map(np.asarray, self._scores())
        n = np.arange(len(steps))
        longest = int(steps.max(initial=0))
        chosen = np.zeros((longest, len(steps), self.num_tags), np.int64)
        delta = start + (x[0] if longest else np.zeros((len(steps), self.num_tags)))
        for t in range(1, longest):
            ways = delta[:, :, None] + A  # [N, from, to]
            chosen[t] = ways.argmax(1)
            new = x[t] + np.take_along_axis(ways, chosen[t][:, None], 1)[:, 0]
            delta = np.where((t < steps)[:, None], new, delta)
        tags = np.zeros((longest, len(steps)), np.int64)
        tag = (delta + end).argmax(1)
        for t in range(longest - 1, -1, -1):
            tags[t] = tag
            tag = np.where(t < steps, chosen[t][n, tag], tag)  # at the end: the best last tag
        return [tags[:length, i].tolist() for i, length in enumerate(steps)]

    def extra_repr(self) -> str:
        """For repr()."""
        return str(self.num_tags)
