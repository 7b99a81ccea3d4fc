"""A recurrent layer over a whole sequence as one op, with one rule for all its gradients.

The readable layer in `nn.recurrent` computes the same from a handful of ops per time step.  The rule
goes through that where the gradient is itself to be differentiated.
"""

from __future__ import annotations

from typing import Any, Callable

from .. import core
from ..autograd import Tensor, grad, op
from ..tape import is_grad_enabled
from .shape import contiguous

Results = tuple[Any, ...]


class Run:
    """One call: which cell, in which direction, and what C saves between forward and backward.

    `readable` computes the same results from the same operands by other ops.  Nothing is saved
    unless a gradient can be asked for, or `save` says so.
    """

    __slots__ = ("cell", "counts", "lead", "readable", "reverse", "save", "saved")

    def __init__(
        self,
        cell: str,
        readable: Callable[..., Results],
        reverse: bool = False,
        lead: bool = False,
        counts: core.Counts | None = None,
        save: bool = False,
    ) -> None:
        self.cell, self.reverse, self.lead, self.counts = cell, reverse, lead, counts
        self.readable, self.save = readable, save
        self.saved: core.Saved | None = None

    def kept(self) -> list[core.Array]:
        """What the backward pass reads besides the operands: it must not have been written since."""
        return [] if self.saved is None else self.saved.results()


@op
def _sequence(
    x: Tensor,
    W: Tensor,
    U: Tensor,
    Un: Any,
    P: Any,
    b: Any,
    c: Any,
    p_i: Any,
    p_f: Any,
    p_o: Any,
    h0: Any,
    c0: Any,
    run: Run,
) -> Any:
    """(y, hn[, cn])"""
    how = run.reverse, run.lead, run.counts, run.save
    results, run.saved = core.sequence_forward(
        run.cell, x, W, U, Un, P, b, c, p_i, p_f, p_o, h0, c0, *how
    )
    return results


def _rule(
    g: Any,
    tracked: Any,
    x: Tensor,
    W: Tensor,
    U: Tensor,
    Un: Any,
    P: Any,
    b: Any,
    c: Any,
    p_i: Any,
    p_f: Any,
    p_o: Any,
    h0: Any,
    c0: Any,
    run: Run,
) -> Any:
    if is_grad_enabled():
        return _readable_rule(g, tracked, (x, W, U, Un, P, b, c, p_i, p_f, p_o, h0, c0), run)
    assert run.saved is not None
    return *core.sequence_backward(run.saved, g, tracked), None


def _readable_rule(g: Any, tracked: Any, operands: Any, run: Run) -> list[Any]:
    """The gradients as results of ops: those of the readable layer."""
    # Stand-ins, where the gradient ends: an operand may have been computed from another one.
    stand_ins: list[Any] = [None if a is None else contiguous(a) for a in operands]
    pairs = [(y, gy) for y, gy in zip(run.readable(*stand_ins), g) if gy is not None]
    ys, gs = zip(*pairs)
    wanted = [a for a, want in zip(stand_ins, tracked) if want]
    found = iter(grad(ys, wanted, gs, create_graph=True, allow_unused=True))
    gradients: list[Any] = []
    for a, want in zip(operands, tracked):
        dx = next(found) if want else None
        gradients.append(core.zeros(a.layout) if want and dx is None else dx)
    return [*gradients, None]


_sequence.vjp_all(_rule, fresh=True)


def sequence(run: Run, *operands: Any) -> Results:
    """(y, hn[, cn]) of all time steps; operands, shapes and errors: see `minigrad.core.sequence`.

    One step, x [N, I]: (y[, cn]).
    """
    if is_grad_enabled():
        for a in operands:
            if a is not None and a.node is not None:
                run.save = True
                return _sequence(*operands, run)
    return _sequence.forward(*operands, run)
