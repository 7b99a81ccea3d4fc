"""Rows of the table of ops: losses of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import oracles_sequences as oracle
from draw import Draw
from op_row import Sample, row

from minigrad import core
from minigrad.ops import crf, ctc, loss, over_time
from minigrad.ops.rows import log_softmax

# ---- connectionist temporal classification -------------------------------------------------------


def _paths(d: Draw) -> tuple[Any, Any, Any, Any, int]:
    """Scores, and targets that paths through them can read; what is not counted may be anything."""
    t, n, c = d.pick(1, 4), d.pick(1, 2), d.pick(2, 3)
    blank = d.pick(0, c - 1)
    steps = d.integers(0 if d.flag() else t, t + 1, (n,))
    read = [oracle.read(d.integers(0, c, (length,)).tolist(), blank) for length in steps]
    lengths = np.array([len(labels) for labels in read])
    targets = np.full((n, lengths.max() + d.pick(0, 1)), blank)
    for labels, target in zip(read, targets):
        target[: len(labels)] = labels
    return d.values((t, n, c)), targets, steps, lengths, blank


def _of_torch(torch: Any, x: Any, *rest: Any, **options: Any) -> Any:
    return torch.nn.functional.ctc_loss(torch.log_softmax(x, -1), *rest, **options)


@row(
    lambda x, *rest, **options: ctc.ctc_loss(log_softmax(x), *rest, **options),
    lambda x, *rest, **options: oracle.ctc_loss(oracles.log_softmax(x), *rest, **options),
    _of_torch,
    name="ctc_loss",
)
def _(d: Draw) -> Sample:
    *operands, blank = _paths(d)
    return operands, {"blank": blank, "reduction": d.choice("none", "sum", "mean")}


@row(ctc.ctc_loss, oracle.ctc_loss, None, side="any scores")
def _(d: Draw) -> Sample:
    *operands, blank = _paths(d)
    return operands, {"blank": blank, "reduction": "none"}


@row(
    lambda x, *rest: ctc.ctc_by_ops(x, core.Paths(*map(np.asarray, rest[:3]), rest[3])),
    oracle.ctc,
    None,
    name="ctc_by_ops",
)
def _(d: Draw) -> Sample:
    x, targets, steps, lengths, blank = _paths(d)
    return [x, targets, steps, lengths, blank], {}


# ---- conditional random fields -------------------------------------------------------------------


def _chain(d: Draw) -> list[Any]:
    t, n, c = d.pick(1, 4), d.pick(1, 3), d.pick(1, 3)
    steps = d.integers(0 if d.flag() else t, t + 1, (n,))
    return [d.values((t, n, c)), d.values((c, c)), d.values((c,)), d.values((c,)), steps]


for _f in (crf.crf_partition, crf.crf_partition_by_ops):

    @row(
        lambda *operands, f=_f: f(*operands[:4], np.asarray(operands[4])),
        oracle.crf_partition,
        None,
        name=_f.__name__,
    )
    def _(d: Draw) -> Sample:
        return _chain(d), {}


@row(
    lambda x, tags, *rest: crf.crf_score(x, tags, *rest[:3], np.asarray(rest[3])),
    lambda x, tags, *rest: np.array(
        [oracle.crf_score(x[:n, i], tags[:n, i], *rest[:3]) for i, n in enumerate(rest[3])], x.dtype
    ),
    None,
    name="crf_score",
)
def _(d: Draw) -> Sample:
    x, *rest = _chain(d)
    return [x, d.integers(0, x.shape[2], x.shape[:2]), *rest], {}


# ---- single steps ----------------------------------------------------------------------------------


@row(
    over_time.sequence_loss,
    oracle.over_time,
    None,
)
def _(d: Draw) -> Sample:
    t, n = d.pick(1, 4), d.pick(1, 3)
    mask = d.mask((t, n))
    mask[0, 0] = True
    options = {"mask": mask, "reduction": d.choice(*over_time.REDUCTIONS)}
    return [d.values((t, n, *d.shape(0, 2, least=1)))], options


@row(
    loss.half_squared_error,
    lambda x, t, reduction: oracles.reduced((x - t) ** 2 / 2, reduction),
    None,
)
def _(d: Draw) -> Sample:
    s = d.shape(least=1)
    return [d.values(s), d.values(s)], {"reduction": d.choice("none", "sum", "mean")}
