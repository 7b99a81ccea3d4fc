"""A recurrent layer over a whole sequence as one op, with one rule for all its gradients.

The readable layer in `nn.recurrent` computes the same from a handful of ops per time step.  The rule
goes through that where the gradient is itself to be differentiated.
"""

from __future__ import annotations

from typing import Any, Callable

from .. import core
from ..autograd import grad, op
from ..tape import enable_grad, is_grad_enabled
from .shape import contiguous

Results = tuple[Any, ...]


class Run:
    """One call: which cell, in which direction, and what C saves between forward and backward.

    `readable` computes the same results by other ops, from a dict of the operands by letter.
    Nothing is saved unless a gradient can be asked for, or `save` says so.  `reservoir`: the call of
    C for a cell that is one; its gradients are those of the readable layer.
    """

    __slots__ = (
        "cell",
        "clock",
        "counts",
        "lead",
        "letters",
        "readable",
        "reservoir",
        "reverse",
        "save",
        "saved",
    )

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
        self.clock: core.Clock | None = None  #: of a clockwork RNN
        self.letters: tuple[str, ...] = ()  #: of the operands that there are
        self.saved: core.Saved | None = None
        self.reservoir: core.Reservoir | None = None

    def kept(self) -> list[core.Array]:
        """What the backward pass reads besides the operands: it must not have been written since."""
        return [] if self.saved is None else self.saved.results()


@op
def _sequence(*operands: Any, run: Run) -> Any:
    """(y, hn[, cn])"""
    return _forward(operands, run)


def _forward(operands: Any, run: Run) -> Results:
    if run.reservoir is not None:
        return run.reservoir(run.letters, operands, run.reverse, run.lead, run.counts)
    results, run.saved = core.sequence_forward(
        run.cell, run.letters, operands, run.reverse, run.lead, run.counts, run.save, run.clock
    )
    return results


def _rule(g: Any, tracked: Any, operands: Any, run: Run) -> Any:
    if is_grad_enabled():
        return _readable_rule(g, tracked, operands, run)
    if run.reservoir is not None:
        with enable_grad():
            return _readable_rule(g, tracked, operands, run, again=False)
    assert run.saved is not None
    return core.sequence_backward(run.saved, g, tracked)


def _readable_rule(g: Any, tracked: Any, operands: Any, run: Run, again: bool = True) -> list[Any]:
    """The gradients of the readable layer; again: as results of ops, to be differentiated again."""
    # Stand-ins, where the gradient ends: an operand may have been computed from another one.
    stand_ins = [contiguous(a) for a in operands]
    if not again:
        stand_ins = [
            a.detach().requires_grad_() if want else a for a, want in zip(stand_ins, tracked)
        ]
    results = run.readable(dict(zip(run.letters, stand_ins)))
    pairs = [(y, gy) for y, gy in zip(results, g) if gy is not None]
    ys, gs = zip(*pairs)
    wanted = [a for a, want in zip(stand_ins, tracked) if want]
    found = iter(grad(ys, wanted, gs, create_graph=again, allow_unused=True))
    gradients: list[Any] = []
    for a, want in zip(operands, tracked):
        dx = next(found) if want else None
        gradients.append(core.zeros(a.layout) if want and dx is None else dx)
    return gradients


_sequence.vjp_all(_rule, fresh=True)


def sequence(run: Run, letters: tuple[str, ...], *operands: Any) -> Results:
    """(y, hn[, cn]) of all time steps from the operands of these letters.

    Shapes and errors: see `minigrad.core.sequence`.  One step, x [N, I]: (y[, cn]).
    """
    run.letters = letters
    if is_grad_enabled():
        for a in operands:
            if a.node is not None:
                run.save = True
                return _sequence(*operands, run=run)
    return _forward(operands, run)
