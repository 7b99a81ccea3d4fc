"""Unbiased online recurrent optimisation: of RTRL's S, a random product that is right on average."""

from __future__ import annotations

from typing import Any

from ..autograd import Tensor, grad
from ..ops.create import rand, zeros
from ..ops.elementwise import where
from ..ops.shape import cat, split
from ..tape import enable_grad, no_grad
from .jacobians import Transition
from .rtrl import accumulate


class UORO:
    """RTRL with S of rank one, right on average.

    C. Tallec and Y. Ollivier, Unbiased Online Recurrent Optimization, 2017.

    In place of S_t there are a row s̃ of n numbers and one θ̃ of P, with E[s̃ᵀ θ̃] = S_t:

        s̃' = ρ₀ J s̃ + ρ₁ ν         ρ₀² = ‖θ̃‖ / ‖J s̃‖
        θ̃' = θ̃ / ρ₀ + ν ∂⁺s'/∂θ / ρ₁    ρ₁² = ‖ν ∂⁺s'/∂θ‖ / ‖ν‖

    with random signs ν, new at each step.  E[νᵀ ν] = 1, so what mixes old and new is zero on average;
    ρ makes its variance least.  The gradient of a loss is

        dL_t/dθ = ∂⁺L_t/∂θ + ∂L_t/∂s_{t-1} S_{t-1} ≈ ∂⁺L_t/∂θ + (∂L_t/∂s_{t-1} · s̃) θ̃

    A step costs a small number of forward and backward passes and memory for P numbers, of any cell,
    and no Jacobian is formed.  The gradient is unbiased and noisy; the noise grows with n and with how
    long the state remembers.  The states of a batch are one state of N n numbers, for which there is
    one θ̃.

    Used as `RTRL`: `step`, `backward`, `reset`; signs come from minigrad's generator (manual_seed).
    """

    def __init__(self, model: Any, state: Any = None) -> None:
        self.transition = Transition(model)
        self.reset(state)

    def reset(self, state: Any = None) -> None:
        """Begin new sequences, from `state` (None: the initial one), which depends on nothing."""
        self._initial = state
        self.state: Any = None
        self._before: Any = None  # leaves: the state before the last step
        #: s̃ [N, n] and θ̃ [P], of `state` after the last step and of that before it
        self.s: Any = None
        self.theta: Any = None
        self._old: Any = None

    def step(self, x: Tensor) -> Tensor:
        """One time step: x [N, I] -> y [N, O], recorded on the tape from the state before on."""
        F = self.transition
        if x.requires_grad:
            raise ValueError("UORO: the input must not require gradients, see learn.RTRL")
        if self.state is None:
            self.state = F.checked(self._initial, x.shape[0])
            code = F.reals(self.state)[0].dtype
            self.s, self.theta = zeros(x.shape[0], F.n, dtype=code), zeros(F.size, dtype=code)
        if self.state[0].shape[0] != x.shape[0]:
            raise ValueError(
                f"input {list(x.shape)}: there are {self.state[0].shape[0]} sequences; reset() "
                f"before others begin"
            )
        before = F.leaves(self.state)
        self._before = F.reals(before)
        with enable_grad():
            y, new = F(x, before)
            whole = cat(list(F.reals(new)), -1)
        self._old = self.s, self.theta
        self._advance(whole)
        self.state = tuple(s.detach() for s in new)
        return y

    def _advance(self, whole: Tensor) -> None:
        """s̃ and θ̃ of the new state, which is given with its graph."""
        F = self.transition
        forward = self._jacobian_times(whole, self.s)
        coin: Any = rand(*whole.shape)
        nu = where(coin < 0.5, -1.0, 1.0).to(whole.dtype)
        ps = list(F.parameters.values())
        found = grad(whole, ps, nu, retain_graph=True, allow_unused=True)
        with no_grad():
            parts = [
                (zeros(*p.shape, dtype=p.dtype) if g is None else g).reshape(-1)
                for p, g in zip(ps, found)
            ]
            back = cat(parts, 0)
            eps = 1e-7  # as in the paper: at the first step both s̃ and θ̃ are zero
            ratio = [
                ((_norm(a) + eps) / (_norm(b) + eps)) ** 0.5
                for a, b in ((self.theta, forward), (back, nu))
            ]
            self.s = ratio[0] * forward + ratio[1] * nu
            self.theta = self.theta / ratio[0] + back / ratio[1]

    def _jacobian_times(self, whole: Tensor, s: Tensor) -> Tensor:
        """J s̃ [N, n] by two backward passes: w J is linear in w, and its derivative by w is J."""
        w = zeros(*whole.shape, dtype=whole.dtype).requires_grad_()
        with enable_grad():
            rows = grad(whole, list(self._before), w, create_graph=True, allow_unused=True)
            widths = self.transition.widths
            pairs = zip(rows, split(s, tuple(widths), -1))
            products = [(row * part).sum() for row, part in pairs if row is not None]
            total = products[0]
            for product in products[1:]:
                total = total + product
        (forward,) = grad(total, w)
        assert forward is not None
        return forward

    def backward(self, loss: Tensor) -> None:
        """Add an unbiased estimate of d(loss)/dp to the `.grad` of every parameter p.

        `loss` is a number that was computed from what the last `step` gave.
        """
        for s in self._before or ():
            s.grad = None
        loss.backward()
        if self._before is None or all(s.grad is None for s in self._before):
            raise ValueError("the loss was not computed from what the last step() gave")
        s, theta = self._old
        with no_grad():
            scale = 0.0
            for before, part in zip(self._before, split(s, tuple(self.transition.widths), -1)):
                if before.grad is not None:
                    scale = scale + (before.grad * part).sum()
            parts = self.transition.parts(theta * scale)
        accumulate(list(self.transition.parameters.values()), list(parts.values()))


def _norm(x: Tensor) -> float:
    return float((x * x).sum().item()) ** 0.5
