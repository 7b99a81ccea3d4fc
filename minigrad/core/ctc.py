"""Connectionist temporal classification in C: the loss of each sequence, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad._core import ffi, lib

from .array import NULL, Array, check, contiguous, empty, empty_of

_ALIGN = lib.MG_CTC_ALIGN


class Paths:
    """Which labels the steps of a batch are to read: the operands beside x [T, N, C] of a call.

    labels [N, S], of which lengths [N] count, and steps [N], how many steps of each sequence do:
    integers.
    """

    __slots__ = ("blank", "labels", "lengths", "memory", "steps")

    def __init__(self, labels: Any, steps: Any, lengths: Any, blank: int) -> None:
        arrays = tuple(np.ascontiguousarray(a, np.int64) for a in (labels, steps, lengths))
        self.labels, self.steps, self.lengths = arrays
        self.blank = blank
        self.memory = tuple(ffi.from_buffer("int64_t[]", a) for a in arrays)

    def form(self, x: Any) -> Any:
        """{ dtype, T, N, C, S, blank }"""
        return ffi.new("int64_t[]", [x.layout.code, *x.shape, self.labels.shape[1], self.blank])


def ctc_forward(x: Any, paths: Paths, save: bool) -> tuple[Any, Array | None]:
    """(loss [N], what `ctc_backward` needs, if it is to be saved) for x [T, N, C].

    ValueError where a size or a label is out of range.
    """
    x = contiguous(x)
    steps, n, _ = x.shape
    if {len(paths.labels), len(paths.steps), len(paths.lengths)} != {n}:
        raise ValueError(
            f"ctc_loss: {len(paths.labels)} rows of labels, {len(paths.steps)} numbers of steps and "
            f"{len(paths.lengths)} lengths for log_probs {list(x.shape)}"
        )
    loss, alpha = empty_of((n,), x.layout.code), None
    if save:
        width = _ALIGN * (1 + 2 * (paths.labels.shape[1] // _ALIGN + 1))
        alpha = empty_of((n, steps + 1, width), x.layout.code)
    bad = ffi.new("int64_t *")
    status = lib.mg_ctc_forward(
        paths.form(x), loss.ptr, NULL if alpha is None else alpha.ptr, x.ptr, *paths.memory, bad
    )
    if status == lib.MG_BAD_INDEX:
        i = int(bad[0])
        length = int(paths.lengths[i])
        labels = paths.labels[i, : max(length, 0)].tolist()
        raise ValueError(
            f"ctc_loss: sequence {i} has input length {int(paths.steps[i])}, target length {length} and "
            f"targets {labels}: needed are 0 … T={steps}, 0 … S={paths.labels.shape[1]} and labels "
            f"from 0 to {x.shape[2] - 1}"
        )
    check(status, "ctc_loss", x)
    return loss, alpha


def ctc_backward(g: Any, x: Any, alpha: Any, paths: Paths) -> Any:
    """The gradient of x, for g [N], that of the loss."""
    x, g = contiguous(x), contiguous(g)
    dx = empty(x.layout)
    form = paths.form(x)
    check(lib.mg_ctc_backward(form, dx.ptr, g.ptr, alpha.ptr, x.ptr, *paths.memory), "ctc_loss", x)
    return dx
