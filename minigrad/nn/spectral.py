"""The largest eigenvalue and the largest singular value of a large sparse matrix.

Arnoldi's iteration spans the vectors v, A v, A² v … by an orthonormal basis V; the eigenvalues of
H = Vᵀ A V, a small matrix, come near those of A, the outermost first.  When the basis is full, the
part that belongs to the outermost ones is kept and the iteration goes on from there (thick restart;
in exact arithmetic the Krylov-Schur method: G. Stewart, A Krylov-Schur Algorithm for Large
Eigenproblems, 2001).  Real arithmetic throughout: complex pairs are kept together.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

BASIS = 120  #: vectors; a matrix up to this size is solved as it is
_RESTARTS = 300


def largest_eigenvalue(
    product: Callable[[Any], Any], n: int, tolerance: float = 1e-11, restarts: int = _RESTARTS
) -> complex:
    """The eigenvalue of largest modulus of A [n, n], given x -> A x for float64 vectors [n].

    Its residual |A v - λ v| is at most `tolerance` |λ|, and so are those of the next three, lest a
    larger one be missed.  RuntimeError where that is not reached.
    """
    if n <= BASIS:
        columns = [product(e) for e in np.eye(n)]
        values = np.linalg.eigvals(np.array(columns).T) if n else np.zeros(1)
        return complex(values[np.argmax(abs(values))])
    rng = np.random.default_rng(0)
    V, H = np.zeros((BASIS + 1, n)), np.zeros((BASIS + 1, BASIS))
    V[0], kept = _unit(rng.standard_normal(n)), 0
    for _ in range(restarts):
        for j in range(kept, BASIS):
            _extend(V, H, j, product(V[j]), rng)
        values, vectors = np.linalg.eig(H[:BASIS])
        order = np.argsort(-abs(values), kind="stable")
        values, vectors = values[order], vectors[:, order]
        residuals = abs(H[BASIS] @ vectors)
        if (
            residuals[:4].max() <= tolerance * abs(values[0])
            or abs(values[0]) < np.finfo(float).tiny
        ):
            return complex(values[0])
        kept = BASIS // 2
        if abs(values[kept - 1] - values[kept].conj()) <= 1e-9 * abs(values[kept]):
            kept += 1  # do not cut a pair in two
        _restart(V, H, vectors[:, :kept], kept)
    raise RuntimeError(
        f"largest_eigenvalue: residual {residuals[:4].max() / abs(values[0]):.1e} after {restarts} "
        f"restarts, {tolerance:.0e} wanted: the outermost eigenvalues lie too close to each other; "
        f"raise `tolerance` or `restarts`, draw the matrix with another seed, or use "
        f"numpy.linalg.eigvals of the dense matrix"
    )


def _unit(x: Any) -> Any:
    return x / np.linalg.norm(x)


def _extend(V: Any, H: Any, j: int, w: Any, rng: Any) -> None:
    """V[j + 1], and column j of H, from w = A V[j]."""
    size = np.linalg.norm(w)
    for _ in range(2):  # once is not orthogonal to rounding
        h = V[: j + 1] @ w
        w = w - h @ V[: j + 1]
        H[: j + 1, j] += h
    rest = np.linalg.norm(w)
    if rest > 1e-14 * size:
        H[j + 1, j], V[j + 1] = rest, w / rest
        return
    w = rng.standard_normal(len(w))  # the basis is closed under A: go on elsewhere
    for _ in range(2):
        w = w - (V[: j + 1] @ w) @ V[: j + 1]
    H[j + 1, j], V[j + 1] = 0, _unit(w)


def _restart(V: Any, H: Any, vectors: Any, kept: int) -> None:
    """Keep the space of these eigenvectors of H and the vector that comes next."""
    parts = np.concatenate([vectors.real, vectors.imag], 1)
    left, sizes, _ = np.linalg.svd(parts, full_matrices=False)
    del sizes
    Q = left[:, :kept]
    square, next_row = Q.T @ H[:BASIS] @ Q, H[BASIS] @ Q
    V[:kept] = Q.T @ V[:BASIS]
    V[kept] = V[BASIS]
    H[:] = 0
    H[:kept, :kept], H[kept, :kept] = square, next_row
