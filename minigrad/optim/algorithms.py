"""SGD, Adam, AdamW and RMSprop: PyTorch's arguments, defaults and order of operations.

A step passes once over the parameters, their gradients and their state, in one C call for all
(plan.py, cextension/kernels/update.inc).
"""

from __future__ import annotations

from typing import Any

from .optimizer import Optimizer, at_least_zero
from .plan import Buffers


class SGD(Optimizer):
    """Gradient descent, with momentum μ, dampening d and weight decay λ if these are not 0.

        g ← g + λ p;    m ← μ m + (1 - d) g  (m ← g at the first step);    p ← p - lr m

    nesterov:  p ← p - lr (g + μ m).  maximize: g counts as -g.

    >>> import minigrad
    >>> p = minigrad.tensor([1.0], requires_grad=True)
    >>> (p * p).sum().backward()
    >>> minigrad.optim.SGD([p], lr=0.25).step()
    >>> p.detach()
    tensor([0.5])
    """

    kernel = "sgd"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        """ValueError for an option out of range."""
        at_least_zero(group, "lr", "momentum", "weight_decay")
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and a dampening of 0")

    def buffers(self, group: dict[str, Any]) -> Buffers:
        """The momentum buffer."""
        return _MOMENTUM if group["momentum"] != 0 else _NONE

    def hyper(self, group: dict[str, Any], t: int) -> list[float]:
        """sgd_hyper."""
        return [
            group["lr"],
            group["momentum"],
            group["dampening"],
            group["weight_decay"],
            group["nesterov"],
            t == 1,
            group["maximize"],
        ]


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

        g ← g + λ p;    m ← β₁ m + (1 - β₁) g;    v ← β₂ v + (1 - β₂) g²
        p ← p - lr m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + eps)    at step t = 1, 2, …

    D. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, 2015.
    """

    kernel, clock = "adam", "step"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        """ValueError for an option out of range."""
        at_least_zero(group, "lr", "eps", "weight_decay")
        if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"betas={group['betas']}: two numbers from 0 to below 1 are needed")

    def buffers(self, group: dict[str, Any]) -> Buffers:  # noqa: ARG002
        """m and v."""
        return _MEANS

    def hyper(self, group: dict[str, Any], t: int) -> list[float]:
        """adam_hyper."""
        beta1, beta2 = group["betas"]
        return [
            group["lr"],
            beta1,
            beta2,
            group["eps"],
            group["weight_decay"],
            1 - beta1**t,
            1 - beta2**t,
            group["maximize"],
        ]


class AdamW(Adam):
    """Adam with the weight decay outside of the means: p ← (1 - lr λ) p, then Adam with λ = 0.

    I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization, 2019.
    """

    kernel = "adamw"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize)


class RMSprop(Optimizer):
    """Steps divided by the root of a running mean of the gradient's square.

        g ← g + λ p;    v ← α v + (1 - α) g²;    u = g / (√v + eps)
        p ← p - lr u;   with momentum μ:  b ← μ b + u;  p ← p - lr b

    centered: a running mean of g is kept, too, and its square taken off v under the root.

    T. Tieleman and G. Hinton, lecture 6.5, 2012; centered: A. Graves, 2013.
    """

    kernel = "rmsprop"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        """ValueError for an option out of range."""
        at_least_zero(group, "lr", "alpha", "eps", "weight_decay", "momentum")

    def buffers(self, group: dict[str, Any]) -> Buffers:
        """v; the momentum buffer; if centered, that and the mean of g, side by side as C wants."""
        if group["centered"]:
            return _CENTERED
        return _SQUARE_MOMENTUM if group["momentum"] != 0 else _SQUARE

    def hyper(self, group: dict[str, Any], t: int) -> list[float]:  # noqa: ARG002
        """rmsprop_hyper."""
        return [
            group["lr"],
            group["alpha"],
            group["eps"],
            group["weight_decay"],
            group["momentum"],
            group["centered"],
            group["maximize"],
        ]


# What the kernels keep; see Optimizer.buffers.
_NONE: Buffers = ()
_MOMENTUM = (("momentum_buffer", 1),)
_MEANS = (("exp_avg", 1), ("exp_avg_sq", 1))
_SQUARE = (("square_avg", 1),)
_SQUARE_MOMENTUM = (*_SQUARE, *_MOMENTUM)
_CENTERED = (*_SQUARE, ("momentum_and_mean", 2))
