"""Products of matrices."""

from __future__ import annotations

from typing import Any, Optional

from .. import core
from ..autograd import Tensor, op
from .elementwise import add, mul
from .reduce import sum
from .shape import reshape, transpose


@op
def _matmul(A: Tensor, B: Tensor) -> Any:
    """A B for at least two dimensions each."""
    return core.gemm(A, B)


def _rows(x: Tensor) -> Tensor:
    """[..., n] as [rows, n]"""
    return x if len(x.shape) == 2 else reshape(x, (-1, x.shape[-1]))  # type: ignore[no-any-return]


def _grad_B(g: Tensor, A: Tensor, shape: core.Shape) -> Any:
    """Aᵀ g.  Where B was one matrix for a whole batch, summing over the batch is one long product."""
    if len(shape) == 2:
        A, g = _rows(A), _rows(g)
    return _matmul(transpose(A, -1, -2), g)


def _grad_B_into(total: Tensor, g: Tensor, A: Tensor, shape: core.Shape) -> None:
    if len(shape) == 2:
        core.gemm_into(total, transpose(_rows(A), 0, 1), _rows(g))
    else:
        core.add_into(total, _grad_B(g, A, shape).sum_to(shape))


_matmul.vjp(A=lambda g, B: _matmul(g, transpose(B, -1, -2)), B=_grad_B)
_matmul.vjp_into(B=_grad_B_into)


def matmul(A: Tensor, B: Tensor) -> Any:
    """Matrix product A B: [..., n, k] @ [..., k, m] -> [..., n, m]; leading dimensions broadcast.

    A one-dimensional A is a row, a one-dimensional B a column; the dimension added is taken away again.
    ValueError where the inner sizes differ, TypeError where the element types do.
    """
    if len(A.shape) > 1 and len(B.shape) > 1:
        if len(B.shape) == 2 and len(A.shape) > 2:  # one matrix for the whole batch: one long product
            return reshape(_matmul(_rows(A), B), (*A.shape[:-1], B.shape[-1]))
        return _matmul(A, B)
    if not A.shape or not B.shape:
        raise ValueError("matmul: a number is no matrix: use *")
    row, column = len(A.shape) == 1, len(B.shape) == 1
    y = _matmul(reshape(A, (1, -1)) if row else A, reshape(B, (-1, 1)) if column else B)
    lead, last = y.shape[:-2], y.shape[-2:]
    return reshape(y, (*lead, *last[row : 2 - column]))


def linear(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Any:
    """y = x Wᵀ + b: x [..., I], weight W [O, I], bias b [O] -> [..., O]."""
    y = matmul(x, transpose(weight, 0, 1))
    return y if bias is None else add(y, bias)


def outer(a: Tensor, b: Tensor) -> Any:
    """y_ij = a_i b_j: [n], [m] -> [n, m]."""
    return mul(reshape(a, (-1, 1)), b)


def dot(a: Tensor, b: Tensor) -> Any:
    """Σ a b of two vectors."""
    return sum(mul(a, b))
