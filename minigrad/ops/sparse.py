"""Products with a sparse matrix."""

from __future__ import annotations

from typing import Any

from .. import core
from ..autograd import Tensor, op
from ..core import Pattern
from .elementwise import mul
from .index import take
from .reduce import sum
from .shape import reshape, transpose


@op
def spmm(values: Tensor, x: Tensor, pattern: Pattern) -> Any:
    """x Aᵀ of the sparse A with these values: x [..., columns] -> [..., rows].

    `pattern` says where the values [size] are: `minigrad.core.Pattern(first, index, (rows, columns))`,
    compressed rows.  ValueError where the shapes do not fit, TypeError where the element types do.
    """
    return core.spmm(values, x, pattern)


def _to_x(g: Tensor, values: Tensor, pattern: Pattern) -> Any:
    """g A"""
    transposed, order = pattern.transposed
    return spmm(take(values, core.from_numpy(order)), g, transposed)


def _to_values(g: Tensor, x: Tensor, pattern: Pattern) -> Any:
    """Of the value in row i and column j: Σ g_i x_j over all rows of x."""
    at = [core.from_numpy(i.astype("int64")) for i in (pattern.rows, pattern.index)]
    flat = [transpose(reshape(a, (-1, a.shape[-1])), 0, 1) for a in (g, x)]
    return sum(mul(take(flat[0], at[0]), take(flat[1], at[1])), 1)


spmm.vjp(x=_to_x, values=_to_values)
