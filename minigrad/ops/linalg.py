"""Products of matrices."""

from __future__ import annotations

from typing import Any

from .. import core
from ..autograd import Tensor, op
from .elementwise import add, mul
from .reduce import sum
from .shape import reshape


@op
def matrix_transpose(x: Tensor) -> Any:
    """xᵀ: [..., n, m] -> [..., m, n], on the same memory."""
    return core.transposed(x)


matrix_transpose.vjp(x=lambda g: matrix_transpose(g))


@op
def matmul(A: Tensor, B: Tensor) -> Any:
    """Matrix product A B: [..., n, k] @ [..., k, m] -> [..., n, m]; leading dimensions broadcast.

    A one-dimensional A is a row, a one-dimensional B a column; the dimension added is taken away again.
    ValueError where the inner sizes differ, TypeError where the element types do.
    """
    return core.gemm(A, B)


def _grad_A(g: Tensor, B: Tensor, shape: core.Shape) -> Any:
    """g Bᵀ"""
    if len(B.layout.shape) == 1:  # B was a column: [..., n] -> [..., n, 1] [1, k]
        return mul(reshape(g, (*g.shape, 1)), B)
    if len(shape) == 1:  # A was a row: [..., m] -> [..., 1, m] [m, k], without the row
        dx = matmul(reshape(g, (*g.shape[:-1], 1, g.shape[-1])), matrix_transpose(B))
        return reshape(dx, (*dx.shape[:-2], dx.shape[-1]))
    return matmul(g, matrix_transpose(B))


def _grad_B(g: Tensor, A: Tensor, shape: core.Shape) -> Any:
    """Aᵀ g"""
    dims = len(A.layout.shape)
    if dims == 1:  # [k, 1] [..., 1, m]
        column = reshape(A, (-1, 1))
        return (
            mul(column, reshape(g, (*g.shape[:-1], 1, g.shape[-1])))
            if len(shape) > 1
            else mul(g, A)
        )
    if len(shape) == 1:  # a column: the sum over all rows of A, each times its g
        return matmul(reshape(g, (-1,)), reshape(A, (-1, A.shape[-1])))
    if dims > 2 and len(shape) == 2:  # one matrix for a whole batch: one long product sums over it
        A, g = reshape(A, (-1, A.shape[-1])), reshape(g, (-1, g.shape[-1]))
    return matmul(matrix_transpose(A), g)


def _grad_B_into(total: Tensor, g: Tensor, A: Tensor, shape: core.Shape) -> None:
    """total += Aᵀ g"""
    if len(shape) == 2 and len(A.layout.shape) == 2:
        core.gemm_into(total, core.transposed(A), g)
    else:
        core.add_into(total, _grad_B(g, A, shape).sum_to(shape))


matmul.vjp(A=_grad_A, B=_grad_B)
matmul.vjp_into(B=_grad_B_into)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """y = x Wᵀ + b: x [..., I], weight W [O, I], bias b [O] -> [..., O]."""
    y = matmul(x, matrix_transpose(weight))
    return y if bias is None else add(y, bias)


def outer(a: Tensor, b: Tensor) -> Any:
    """y_ij = a_i b_j: [n], [m] -> [n, m]."""
    return mul(reshape(a, (-1, 1)), b)


def dot(a: Tensor, b: Tensor) -> Any:
    """Σ a b of two vectors."""
    return sum(mul(a, b))
