"""Schedules: how the learning rate changes from epoch to epoch (or from step to step).

Make one after the optimiser, and call its `step()` after the optimiser's.  Each computes the next
rate from the present one, so that several on one optimiser multiply, as PyTorch's do.  At time t =
0, when it is made, a schedule starts from the group's `initial_lr`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .optimizer import Optimizer


class LRScheduler:
    """Base class.  A schedule is its `get_lr`."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.last_epoch = 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._apply()

    def get_lr(self) -> list[float]:
        """The rate of each group at time t = last_epoch, from `present()` and `base_lrs`."""
        raise NotImplementedError

    def present(self) -> list[float]:
        """The rate that each group has."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _apply(self) -> None:
        self._last_lr = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr):
            group["lr"] = lr

    def restart(self) -> None:
        """Go back to t = 0, with the rates as they were to begin with."""
        self.last_epoch = 0
        for group, base in zip(self.optimizer.param_groups, self.base_lrs):
            group["lr"] = base
        self._apply()

    def step(self) -> None:
        """Set the rates for the next epoch."""
        self.last_epoch += 1
        self._apply()

    def get_last_lr(self) -> list[float]:
        """The rate of each group, as last set."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """All there is to know, but for the optimiser and for functions."""
        return {k: v for k, v in vars(self).items() if k not in ("optimizer", "lr_lambdas")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there; the rates themselves are in the optimiser's state_dict."""
        vars(self).update(state_dict)


class StepLR(LRScheduler):
    """lr ← γ lr every `step_size` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size={step_size}: at least 1 is needed")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """See the class."""
        drop = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if drop else lr for lr in self.present()]


class ExponentialLR(LRScheduler):
    """lr ← γ lr."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """See the class."""
        return [lr * self.gamma if self.last_epoch else lr for lr in self.present()]


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (base - eta_min) (1 + cos(π t / T_max)) / 2.

    Down to eta_min at t = T_max, and up again after that.  Loshchilov and Hutter, SGDR, 2017.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max={T_max}: at least 1 is needed")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """See the class."""
        t, low = self.last_epoch, self.eta_min
        if t == 0:
            return self.present()
        now, before = (1 + math.cos(math.pi * s / self.T_max) for s in (t, t - 1))
        if (t - 1) % (2 * self.T_max) == self.T_max:  # `before` is 0: up from the bottom
            return [lr + (base - low) * now / 2 for lr, base in zip(self.present(), self.base_lrs)]
        return [low + (lr - low) * now / before for lr in self.present()]


class LinearLR(LRScheduler):
    """lr = base f(t), where f goes straight from start_factor to end_factor in total_iters epochs.

    With the defaults, a warm-up.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(
                f"LinearLR: start_factor={start_factor}, end_factor={end_factor}: from 0 to 1, and "
                f"the start above 0"
            )
        if total_iters < 1:
            raise ValueError(f"LinearLR: total_iters={total_iters}: at least 1 is needed")
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        """f(t)."""
        return self.start_factor + (self.end_factor - self.start_factor) * t / self.total_iters

    def get_lr(self) -> list[float]:
        """See the class."""
        t = self.last_epoch
        if t > self.total_iters:
            return self.present()
        change = self.factor(t) / self.factor(t - 1) if t else self.factor(0)
        return [lr * change for lr in self.present()]


class LambdaLR(LRScheduler):
    """lr = base f(t), with f = lr_lambda, one function or one for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
    ) -> None:
        n = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * n if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != n:
            raise ValueError(
                f"LambdaLR: {len(self.lr_lambdas)} functions for {n} groups of parameters"
            )
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """See the class."""
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]


class SequentialLR(LRScheduler):
    """One schedule after the other: number i from t = milestones[i - 1] on, which is its t = 0."""

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        if len(schedulers) != len(milestones) + 1 or list(milestones) != sorted(set(milestones)):
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedules and milestones {list(milestones)}: one "
                f"milestone less than schedules is needed, in rising order"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: all schedules must be made for the optimiser given")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def _apply(self) -> None:
        now = self.schedulers[bisect_right(self.milestones, self.last_epoch)]
        if self.last_epoch in (0, *self.milestones):
            now.restart()
        else:
            now.step()
        self._last_lr = now.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """The states of all schedules, too."""
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        for scheduler, state in zip(self.schedulers, state_dict["schedulers"]):
            scheduler.load_state_dict(state)
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "schedulers"})
