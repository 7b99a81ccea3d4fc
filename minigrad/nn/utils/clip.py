"""Clipping of gradients, in place: against the explosion that recurrent networks are prone to.

R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks, 2013.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import core
from ...autograd import Tensor
from ...ops.create import tensor
from ...ops.elementwise import where
from ...tape import Leaf, no_grad, written
from ..cells.base import Cell
from ..module import Module

if TYPE_CHECKING:
    from collections.abc import Iterable


def clip_grad_norm_(
    parameters: Module | Tensor | Iterable[Any],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = True,
) -> Any:
    """If ‖g‖ > θ: g ← g θ / ‖g‖, where g is all gradients as one vector and θ is max_norm.

    `parameters`: a module, its parameters(), its named_parameters(), or tensors.  Returns ‖g‖ from
    before, a tensor.  There is no epsilon: after clipping, ‖g‖ is θ (PyTorch adds 1e-6 to the
    divisor).

    RuntimeError if a gradient is not finite, with the names of such parameters: scaling would
    spread the NaN to all of them.  With error_if_nonfinite=False the gradients stay as they are,
    and the norm returned tells.
    """
    _check("max_norm", max_norm)
    if not norm_type > 0:
        raise ValueError(f"norm_type={norm_type}: a number above 0, or inf, is needed")
    gradients = _gradients(parameters)
    copies = [g if g.layout.strides is None else core.contiguous(g) for g in gradients]
    whole = core.Arrays(copies)
    norm = math.sqrt(whole.sum_squares()) if norm_type == 2 else _total_norm(copies, norm_type)
    if not math.isfinite(norm):
        bad = _nonfinite(gradients)
        if bad and error_if_nonfinite:
            raise RuntimeError(bad)
        if not bad:  # only the powers were too large
            norm = _scaled_norm(copies, norm_type)
    if max_norm < norm and math.isfinite(norm):
        whole.scale(max_norm / norm)
        for g, copy in zip(gradients, copies):
            if copy is not g:
                core.copy_into(g, copy)
        written(*gradients)
    return core.scalar(norm, copies[0].layout.code) if copies else tensor(norm)


def clip_grad_value_(
    parameters: Module | Tensor | Iterable[Any], clip_value: float, error_if_nonfinite: bool = True
) -> None:
    """g ← min(max(g, -clip_value), clip_value), element by element.

    RuntimeError if a gradient is not finite, as in `clip_grad_norm_`; with
    error_if_nonfinite=False, infinities become ±clip_value and NaN stays.
    """
    _check("clip_value", clip_value)
    with no_grad():
        gradients = _gradients(parameters)
        if error_if_nonfinite and (bad := _nonfinite(gradients)):
            raise RuntimeError(bad)
        for g in gradients:
            g.clip_(-clip_value, clip_value)


@no_grad()
def clip_grad_adaptive_(module: Module, clip_factor: float = 0.01, eps: float = 1e-3) -> float:
    """For each unit u: if ‖g_u‖ > λ m, with m = max(‖w_u‖, ε):  g_u ← g_u λ m / ‖g_u‖.

    λ is clip_factor.  w_u are the weights that lead to u: a column of a cell's matrices, a row of
    any other layer's; a vector, such as a bias, is clipped as a whole.  So a step is never large
    beside the weights that it changes.  Returns the fraction of such groups that were clipped.
    RuntimeError if a gradient is not finite, as in `clip_grad_norm_`.

    A. Brock, S. De, S. Smith and K. Simonyan, High-Performance Large-Scale Image Recognition Without
    Normalization, 2021.
    """
    if not isinstance(module, Module):
        raise TypeError(
            f"clip_grad_adaptive_: {type(module).__name__}: the module is needed, not its parameters: "
            f"it says which weights lead to which unit"
        )
    _check("clip_factor", clip_factor)
    _check("eps", eps)
    if bad := _nonfinite(_gradients(module)):
        raise RuntimeError(bad)
    columns = {id(p) for m in module.modules() if isinstance(m, Cell) for p in m.parameters()}
    groups = clipped = 0
    for p in module.parameters():
        if p.grad is None or not p.layout.size:
            continue
        dims: Any = None  # over all
        if len(p.shape) > 1:
            dims = 0 if id(p) in columns else tuple(range(1, len(p.shape)))
        g = (p.grad * p.grad).sum(dims, keepdim=True).sqrt()
        most = clip_factor * (p * p).sum(dims, keepdim=True).sqrt().clamp(min=eps)
        over = g > most
        groups += over.layout.size
        count = int(over.sum().item())
        if count:
            clipped += count
            p.grad.copy_(where(over, p.grad * (most / g), p.grad))
    return clipped / groups if groups else 0.0


def _check(name: str, bound: float) -> None:
    if not bound >= 0:
        raise ValueError(f"{name}={bound}: a number from 0 on is needed")


def _gradients(parameters: Any) -> dict[Any, tuple[int, Any]]:
    """{gradient: the number and the item of its parameter} for those that have one; each once.

    The items are those of a module's named_parameters(), pairs (name, tensor), or tensors.
    """
    if isinstance(parameters, Module):
        parameters = parameters.named_parameters()
    elif isinstance(parameters, Tensor):
        parameters = [parameters]
    found: dict[Any, tuple[int, Any]] = {}
    for i, item in enumerate(parameters):
        x = item[1] if isinstance(item, tuple) else item
        if not isinstance(x, Tensor):
            raise TypeError(f"parameter {i}: a tensor is needed, not {type(x).__name__}")
        g = x.node.grad if x.node.__class__ is Leaf else None
        if g is not None and g not in found:
            found[g] = i, item
    return found


def _name(i: int, item: Any) -> str:
    return (item[0] if isinstance(item, tuple) else getattr(item, "name", "")) or f"parameter {i}"


@no_grad()
def _total_norm(gs: list[Any], p: float) -> float:
    """(Σ |g|ᵖ)^(1/p) over all elements; max |g| for p = ∞.  NaN if there is one."""
    gs = [g for g in gs if g.layout.size]
    if math.isinf(p):
        return float(np.max([g.abs().amax().item() for g in gs], initial=0.0))
    return float(sum((g.abs() ** p).sum().item() for g in gs) ** (1 / p))


@no_grad()
def _scaled_norm(gs: list[Any], p: float) -> float:
    """The same where the powers overflow."""
    largest = _total_norm(gs, math.inf)
    return largest * _total_norm([g / largest for g in gs], p)


def _nonfinite(gradients: dict[Any, tuple[int, Any]]) -> str:
    """A sentence that names the parameters whose gradients hold NaN or inf; "" if none does."""
    bad = []
    for g, item in gradients.items():
        if not math.isfinite(core.Arrays([core.contiguous(g)]).sum_squares()):
            a = np.asarray(g)
            nan, inf = np.count_nonzero(np.isnan(a)), np.count_nonzero(np.isinf(a))
            if nan or inf:
                bad.append(f"{_name(*item)} ({core.describe(g)}: {nan} NaN and {inf} infinite)")
    if not bad:
        return ""
    more = f" and of {len(bad) - 5} more" if len(bad) > 5 else ""
    return (
        f"non-finite gradient of {', '.join(bad[:5])}{more}: look for an infinite loss, or try a "
        f"lower learning rate"
    )
