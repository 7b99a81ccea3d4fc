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
from ...tape import no_grad
from ..module import Module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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
    with no_grad():
        gradients = _gradients(parameters)
        norm = _total_norm(list(gradients), norm_type)
        if not math.isfinite(norm):
            bad = _nonfinite(gradients)
            if bad and error_if_nonfinite:
                raise RuntimeError(bad)
            if not bad:  # only the powers were too large
                norm = _scaled_norm(list(gradients), norm_type)
        if max_norm < norm and math.isfinite(norm):
            for g in gradients:
                g.mul_(max_norm / norm)
    return tensor(norm, dtype=next(iter(gradients)).dtype if gradients else None)


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


def _check(name: str, bound: float) -> None:
    if not bound >= 0:
        raise ValueError(f"{name}={bound}: a number from 0 on is needed")


def _named(parameters: Any) -> Iterator[tuple[str, Any]]:
    """(name, tensor) of a module, of pairs (name, tensor), of tensors, or of one tensor."""
    if isinstance(parameters, Module):
        parameters = parameters.named_parameters()
    elif isinstance(parameters, Tensor):
        parameters = [parameters]
    for i, item in enumerate(parameters):
        name, x = item if isinstance(item, tuple) else (getattr(item, "name", ""), item)
        if not isinstance(x, Tensor):
            raise TypeError(f"parameter {i}: a tensor is needed, not {type(x).__name__}")
        yield (name or f"parameter {i}"), x


def _gradients(parameters: Any) -> dict[Any, str]:
    """{gradient: the name of its parameter} for the parameters that have one; each once."""
    found: dict[Any, str] = {}
    for name, x in _named(parameters):
        if x.grad is not None:
            found.setdefault(x.grad, name)
    return found


def _total_norm(gs: list[Any], p: float) -> float:
    """(Σ |g|ᵖ)^(1/p) over all elements; max |g| for p = ∞.  NaN if there is one."""
    gs = [g for g in gs if g.layout.size]
    if p == 2:  # in double, also for float32
        return math.sqrt(sum(core.sum_squares(core.contiguous(g)) for g in gs))
    if math.isinf(p):
        return float(np.max([g.abs().amax().item() for g in gs], initial=0.0))
    return float(sum((g.abs() ** p).sum().item() for g in gs) ** (1 / p))


def _scaled_norm(gs: list[Any], p: float) -> float:
    """The same where the powers overflow."""
    largest = _total_norm(gs, math.inf)
    return largest * _total_norm([g / largest for g in gs], p)


def _nonfinite(gradients: dict[Any, str]) -> str:
    """A sentence that names the parameters whose gradients hold NaN or inf; "" if none does."""
    bad = []
    for g, name in gradients.items():
        if not math.isfinite(core.sum_squares(core.contiguous(g))):
            a = np.asarray(g)
            nan, inf = np.count_nonzero(np.isnan(a)), np.count_nonzero(np.isinf(a))
            if nan or inf:
                bad.append(f"{name} ({core.describe(g)}: {nan} NaN and {inf} infinite)")
    if not bad:
        return ""
    more = f" and of {len(bad) - 5} more" if len(bad) > 5 else ""
    return (
        f"non-finite gradient of {', '.join(bad[:5])}{more}: look for an infinite loss, or try a "
        f"lower learning rate"
    )
