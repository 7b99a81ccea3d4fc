"""Real-time recurrent learning: the gradient through time, carried forwards.

Back-propagation through time remembers all steps and goes back over them.  RTRL remembers no step; it
carries along how the state depends on every parameter,

    S_t = ds_t/dθ = J_t S_{t-1} + ∂⁺s_t/∂θ          dL_t/dθ = ∂L_t/∂s_t S_t,

so that the exact gradient of the losses so far is there after every step, and memory does not grow
with T.  The price is S, [n, P] for each sequence, and its product with J: n² P multiply-adds per step,
for an Elman network of n units about n⁴.  `SnAp1` keeps of S what one step can fill, `learn.UORO` a
random product of two vectors that is S on average.

The equations are derived in docs/learning.md; J and ∂⁺s/∂θ come from `jacobians`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Tensor, grad
from ..ops.create import from_numpy
from ..tape import no_grad
from .jacobians import Derivatives, Transition, pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .jacobians import State


def accumulate(parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """p.grad += g."""
    with no_grad():
        for p, g in zip(parameters, gradients):
            p.grad = g.contiguous() if p.grad is None else p.grad + g


class RTRL:
    """The exact gradient through time without going back.  (MISSION B11)

    R. Williams and D. Zipser, A Learning Algorithm for Continually Running Fully Recurrent Neural
    Networks, 1989.

    model: a Cell, or layers of cells (`learn.Transition` says which).  Of one RNNCell, GRUCell or
    plain LSTMCell C does the work; all others go through the tape; fused=False: these, too.

        rtrl = learn.RTRL(cell)
        for x_t, target_t in stream:
            y_t = rtrl.step(x_t)                    # x [N, I] -> y [N, O]
            rtrl.backward(loss(readout(y_t), target_t))
            optimizer.step(); optimizer.zero_grad()      # at every step, or now and then

    While the parameters stand still, the sum of what `backward` adds to `.grad` is the gradient that
    BPTT gives for the sum of the losses.  An optimiser that steps in between makes S_t a little out of
    date, as it was computed with parameters of before: the learning algorithm of the paper.

    state: that after the last step, a flat tuple, which a loss may use as well.  S [N, m, P]: its
    derivatives, None before the first step; m > n where y is not one of the states.

    >>> import minigrad
    >>> from minigrad import learn, nn
    >>> cell = nn.RNNCell(1, 3)
    >>> rtrl = learn.RTRL(cell)
    >>> for x in minigrad.randn(100, 2, 1):
    ...     rtrl.backward(rtrl.step(x).sum())
    >>> cell.U.grad.shape, rtrl.S.shape
    ((3, 3), (2, 3, 15))
    """

    def __init__(self, model: Any, state: Any = None, fused: bool = True) -> None:
        self.transition = Transition(model)
        self.fused = fused
        self.reset(state)

    def reset(self, state: Any = None) -> None:
        """Begin new sequences, from `state` (None: the initial one), which depends on nothing."""
        self._initial = state
        self.state: State | None = None
        self.S: Any = None
        self._leaves: list[tuple[Tensor, int]] = []  # what a loss can use, and its first row of S

    def step(self, x: Tensor) -> Tensor:
        """One time step: x [N, I] -> y [N, O], which requires gradients and is the end of its graph.

        ValueError where N changes without `reset`, or x requires gradients.
        """
        F, before = self.transition, self.state
        if before is None:
            before = F.checked(self._initial, x.shape[0])
        if before[0].shape[0] != x.shape[0]:
            raise ValueError(
                f"input {list(x.shape)}: there are {before[0].shape[0]} sequences; reset() before "
                f"others begin"
            )
        with no_grad():
            step = Derivatives(F, x, tuple(s.detach() for s in before), self.fused)
            self.S = self._advance(step)
        self.state = F.leaves(step.state)
        at = np.cumsum([0, *F.widths]).tolist()
        self._leaves = list(zip(F.reals(self.state), at))
        for s, old in zip(self.state, step.state):
            if old is step.y:
                return s
        y = step.y.detach().requires_grad_()
        self._leaves.append((y, F.n))
        return y

    def backward(self, loss: Tensor) -> None:
        """Add d(loss)/dp to the `.grad` of every parameter p, of the model and of what comes after it.

        `loss` is a number that was computed from what the last `step` gave.
        """
        for leaf, _ in self._leaves:
            leaf.grad = None
        loss.backward()
        gs = [leaf.grad for leaf, _ in self._leaves]
        if all(g is None for g in gs):
            raise ValueError("the loss was not computed from what the last step() gave")
        stacked = [None if g is None else g.reshape(1, *g.shape) for g in gs]
        parts = self.transition.parts(self._gradient(stacked)[0])
        accumulate(list(self.transition.parameters.values()), list(parts.values()))

    def jacobian(self, y: Tensor, params: Sequence[Tensor]) -> Any:
        """dy/dθ, ndarray [m, P'], for the m numbers of y and the P' of `params`: for `learn.EKF`.

        y was computed from what the last `step` gave; the graph stays.  Nothing is added to any
        `.grad`.
        """
        F, m = self.transition, y.layout.size
        leaves = [leaf for leaf, _ in self._leaves]
        ones = np.eye(m, dtype=y.dtype).reshape(m, *y.shape)
        rows = [
            grad(y, [*leaves, *params], from_numpy(one), retain_graph=True, allow_unused=True)
            for one in ones
        ]
        direct = [_stacked(gs, p.shape) for gs, p in zip(zip(*rows), [*leaves, *params])]
        gs = [None if g is None else from_numpy(g) for g in direct[: len(leaves)]]
        through = self._gradient(gs).numpy()
        at = {p: F.places[name] for name, p in F.parameters.items()}
        blocks = []
        for p, g in zip(params, direct[len(leaves) :]):
            size = p.layout.size
            own = through[:, at[p] : at[p] + size] if p in at else np.zeros((m, size), p.dtype)
            blocks.append(own if g is None else own + g.reshape(m, size))
        return np.concatenate(blocks, axis=1)

    # ---- what an approximation changes -----------------------------------------------------------

    def _advance(self, step: Derivatives) -> Tensor:
        """S_t from S_{t-1}."""
        S = self.S
        return step.advance(S if S is None or step.m == self.transition.n else self._of_state(S))

    def _of_state(self, S: Tensor) -> Tensor:
        """The rows of S that belong to the state, not to y."""
        return S[:, : self.transition.n]

    @no_grad()
    def _gradient(self, gs: Sequence[Tensor | None]) -> Tensor:
        """Σ g S [m, P] over the numbers of the states; gs: of each leaf m gradients [m, N, width]."""
        total: Any = None
        for g, (_, at) in zip(gs, self._leaves):
            if g is not None:
                S = self.S[:, at : at + g.shape[2]]
                part = (g.permute(1, 0, 2) @ S).sum(0)
                total = part if total is None else total + part
        return total


class SnAp1(RTRL):
    """RTRL that keeps, of S, what can differ from zero after one step.

    J. Menick et al., Practical Real Time Recurrent Learning with a Sparse Approximation to the Jacobian,
    2020 (SnAp with n = 1).

        S_t = M ∘ (J_t S_{t-1} + ∂⁺s_t/∂θ),    M: where ∂⁺s/∂θ is not zero for all x, s and θ

    In an Elman network, an LSTM, and a GRU with reset_after=True, the parameters that act on a unit
    within one step are its own columns of W, U and b, so S shrinks to [N, n / H, P] and a step costs
    about what the forward pass does.  The reset gate of a GRU that resets before the product acts on
    all units, and an LSTM's projection mixes them: there, and in layers, the mask is applied to the
    whole of S.  The gradient is biased: what goes from unit to unit over more than one step is left
    out.  `mask` [n, P] is M.
    """

    def __init__(self, model: Any, state: Any = None, fused: bool = True) -> None:
        super().__init__(model, state, fused)
        F = self.transition
        self.sparse = fused and F.kernel is not None and F.kernel != "gru"
        self._mask: Any = None

    @property
    def mask(self) -> Any:
        """M, bool ndarray [n, P]."""
        if self._mask is None:
            self._mask = pattern(self.transition)
        return self._mask

    def _advance(self, step: Derivatives) -> Tensor:
        if self.sparse:
            return step.advance_masked(self.S)
        S = super()._advance(step)
        mask = np.ones(S.shape[1:], S.dtype)
        mask[: self.transition.n] = self.mask
        return S * from_numpy(mask)

    @no_grad()
    def _gradient(self, gs: Sequence[Tensor | None]) -> Tensor:
        if not self.sparse:
            return super()._gradient(gs)
        H, size = self.transition.widths[0], self.transition.size
        total: Any = None
        for i, g in enumerate(gs):
            if g is not None:
                S = self.S[:, i].reshape(1, -1, size // H, H)
                part = (S * g.reshape(len(g), -1, 1, H)).sum(1).reshape(-1, size)
                total = part if total is None else total + part
        return total


def _stacked(gs: Sequence[Tensor | None], shape: tuple[int, ...]) -> Any:
    """m gradients of one tensor as an ndarray [m, *shape]; None where all are."""
    given = [g for g in gs if g is not None]
    if not given:
        return None
    zero = np.zeros(shape, given[0].dtype)
    return np.stack([zero if g is None else g.numpy() for g in gs])
