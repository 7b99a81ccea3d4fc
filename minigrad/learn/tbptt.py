"""Truncated back-propagation through time: for sequences too long to go back through as a whole.

Every k1 steps the loss of these steps goes back, but k2 steps at most:

    x_1 … x_{t-k2} | x_{t-k2+1} … x_{t-k1} | x_{t-k1+1} … x_t        loss of the last k1 steps,
      done before  |   computed anew, for the gradient to pass       gradient to the bar

Each loss goes back between k2 - k1 and k2 steps.  k1 = k2 is the usual case: windows side by side,
each step computed once.  With k2 ≥ T nothing is cut off, and k1 = T as well is plain BPTT.

R. Williams and J. Peng, An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent
Network Trajectories, 1990: BPTT(h; h') with h = k2, h' = k1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

import numpy as np

from ..autograd import Tensor, grad
from ..nn.module import Module
from ..nn.stateful import detached
from ..ops.shape import cat


class tbptt:
    """Go through x [T, …] in windows of k1 steps whose gradients reach back k2 steps.

    Yields (y, steps): the outputs [k1, …] of a window and the slice of time that they belong to.
    What follows is the user's: a loss of y, backward, perhaps a step of the optimiser.  The state
    is detached here; after the last window `.state` is the one to go on from.  model(x, state) ->
    (y, state), time first: any recurrent layer, or a module of one's own.

    With weights that are the same in all windows, the sum of the gradients is that of BPTT without
    the terms that are cut off (`truncation_bias`).  ValueError unless 1 ≤ k1 ≤ k2 (default: k2 = k1).

    >>> import minigrad
    >>> from minigrad import learn, nn, optim
    >>> rnn, x, target = nn.RNN(3, 5), minigrad.randn(20, 4, 3), minigrad.randn(20, 4, 5)
    >>> optimizer = optim.SGD(rnn.parameters(), lr=0.1)
    >>> for y, steps in (run := learn.tbptt(rnn, x, k1=5, k2=10)):
    ...     loss = nn.functional.mse_loss(y, target[steps])
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    >>> steps, run.state.shape
    (slice(15, 20, None), (1, 4, 5))
    """

    def __init__(
        self,
        model: Callable[..., Any],
        x: Tensor,
        k1: int,
        k2: int | None = None,
        state: Any = None,
    ) -> None:
        k2 = k1 if k2 is None else k2
        if not 1 <= k1 <= k2:
            raise ValueError(f"tbptt: k1={k1}, k2={k2}: 1 ≤ k1 ≤ k2 is needed")
        self.model, self.x, self.k1, self.k2 = model, x, k1, k2
        self.state = state  #: after the last window that was yielded

    def __iter__(self) -> Iterator[tuple[Tensor, slice]]:
        steps = self.x.shape[0]
        start, origin = 0, detached(self.state)  # where the gradient ends, and the state there
        for begin in range(0, steps, self.k1):
            end = min(begin + self.k1, steps)
            following = max(min(end + self.k1, steps) - self.k2, 0)  # the next `start`
            # the state there is met on the way, since start ≤ following ≤ end
            cuts = sorted({start, begin, min(following, end), end})
            state, after, ys = origin, origin, []
            for a, b in zip(cuts, cuts[1:]):
                y, state = self.model(self.x[a:b], state)
                if a >= begin:
                    ys.append(y)
                if b == following:
                    after = detached(state)
            self.state = detached(state)
            yield ys[0] if len(ys) == 1 else cat(ys), slice(begin, end)
            start, origin = following, after


class Bias(NamedTuple):
    """How the gradient of truncated BPTT, g, differs from the full one, G, over all parameters."""

    relative_error: float  #: ‖g - G‖ / ‖G‖
    cosine: float  #: g·G / (‖g‖ ‖G‖)
    errors: dict[str, float]  #: ‖g - G‖ / ‖G‖ for each parameter


def truncation_bias(
    model: Module,
    x: Tensor,
    loss_of: Callable[[Tensor, slice], Tensor],
    k1: int,
    k2: int | None = None,
    state: Any = None,
) -> Bias:
    """What truncation does to the gradient of Σ loss_of(y, steps), a sum over the steps of time.

    loss_of(y [k, …], steps) is the sum of the losses of these steps; nothing is learnt meanwhile.

    >>> import minigrad
    >>> from minigrad import learn, nn
    >>> rnn, x = nn.RNN(3, 5), minigrad.randn(20, 4, 3)
    >>> bias = learn.truncation_bias(rnn, x, lambda y, steps: (y * y).sum(), k1=20)
    >>> bias.relative_error < 1e-6
    True
    """
    names, parameters = zip(*model.named_parameters())

    def gradients(windows: Any) -> list[Any]:
        total: list[Any] = [np.zeros(p.shape) for p in parameters]
        for y, steps in windows:
            found = grad(loss_of(y, steps), list(parameters), allow_unused=True)
            for k, g in enumerate(found):
                if g is not None:
                    total[k] += np.asarray(g)
        return total

    steps = x.shape[0]
    cut = gradients(tbptt(model, x, k1, k2, state))
    full = gradients(tbptt(model, x, max(steps, 1), None, state))

    def norm(arrays: list[Any]) -> float:
        return math.sqrt(sum(float((a * a).sum()) for a in arrays))

    def relative(a: list[Any], b: list[Any]) -> float:
        size, difference = norm(b), norm([p - q for p, q in zip(a, b)])
        return difference / size if size else (0.0 if difference == 0 else math.inf)

    product = norm(cut) * norm(full)
    along = sum(float((a * b).sum()) for a, b in zip(cut, full))
    errors = {name: relative([a], [b]) for name, a, b in zip(names, cut, full)}
    return Bias(relative(cut, full), along / product if product else math.nan, errors)
