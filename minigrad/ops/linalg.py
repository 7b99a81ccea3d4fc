"""Products of matrices."""

from __future__ import annotations

import math
from typing import Any

from .. import core
from ..autograd import Tensor, op
from ..rules import of
from .elementwise import mul
from .reduce import sum
from .shape import reshape


@op
def matrix_transpose(x: Tensor) -> Any:
    """xᵀ: [..., n, m] -> [..., m, n], on the same memory."""
    return core.transposed(x)


matrix_transpose.vjp(x=lambda g: matrix_transpose(g))


# Three products that are closed under differentiation; none copies to transpose.


@op
def _nn(A: Tensor, B: Tensor) -> Any:
    """A B"""
    return core.gemm(A, B)


@op
def _nt(A: Tensor, B: Tensor) -> Any:
    """A Bᵀ"""
    return core.gemm_nt(A, B)


@op
def _tn(B: Tensor, A: Tensor) -> Any:
    """Aᵀ B"""
    return core.gemm_tn(B, A)


_nn.vjp(A=of(_nt, "g", "B"), B=of(_tn, "g", "A"))
_nt.vjp(A=of(_nn, "g", "B"), B=lambda g, A: _tn(A, g))
_tn.vjp(A=lambda g, B: _nt(B, g), B=lambda g, A: _nn(A, g))
_nn.vjp_into(B=of(core.gemm_tn_into, "total", "g", "A"))
_nt.vjp_into(B=lambda total, g, A: core.gemm_tn_into(total, A, g))


@op
def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Any:
    """x Wᵀ + b of rows x [n, I], in one pass over the result"""
    return core.gemm_nt_add(x, weight, core.contiguous(bias))


_affine.vjp(x=of(_nn, "g", "weight"), weight=lambda g, x: _tn(x, g), bias=lambda g: sum(g, 0))
_affine.vjp_into(weight=lambda total, g, x: core.gemm_tn_into(total, x, g))


def matmul(A: Tensor, B: Tensor) -> Any:
    """Matrix product A B: [..., n, k] @ [..., k, m] -> [..., n, m]; leading dimensions broadcast.

    A one-dimensional A is a row, a one-dimensional B a column; the dimension added is taken away
    again.  ValueError where the inner sizes differ, TypeError where the element types do.
    """
    try:
        a, b = A.layout.shape, B.layout.shape
    except AttributeError:  # an ndarray
        return matmul(core.operand(A, B), core.operand(B, A))
    if len(a) == len(b) == 2:
        return _nn(A, B)
    if not a or not b:
        raise ValueError("matmul: a number is no matrix: use *")
    if len(a) > 2 and len(b) == 2:  # one matrix for a whole batch: one long product
        rows = reshape(A, (math.prod(a[:-1]), a[-1]))
        return reshape(_nn(rows, B), (*a[:-1], b[-1]))
    y = _nn(A if len(a) > 1 else reshape(A, (1, -1)), B if len(b) > 1 else reshape(B, (-1, 1)))
    if len(a) > 1 and len(b) > 1:
        return y
    lead, (n, m) = y.shape[:-2], y.shape[-2:]
    return reshape(y, (*lead, *((n,) if len(a) > 1 else ()), *((m,) if len(b) > 1 else ())))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """y = x Wᵀ + b: x [..., I], weight W [O, I], bias b [O] -> [..., O]."""
    x = core.operand(x, weight)
    shape = x.layout.shape
    if len(shape) == 2:
        return _nt(x, weight) if bias is None else _affine(x, weight, bias)
    y = linear(reshape(x, (math.prod(shape[:-1]), *shape[-1:])), weight, bias)
    return reshape(y, (*shape[:-1], *y.shape[1:]))


def outer(a: Tensor, b: Tensor) -> Any:
    """y_ij = a_i b_j: [n], [m] -> [n, m]."""
    return mul(reshape(a, (-1, 1)), b)


def dot(a: Tensor, b: Tensor) -> Any:
    """Σ a b of two vectors."""
    return sum(mul(a, b))
