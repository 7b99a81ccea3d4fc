"""vjp, jvp, jacobian, hessian, hvp: see the package's docstring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from .. import autograd, core
from ..autograd import Tensor
from ..ops.create import zeros_like
from ..ops.shape import reshape, stack
from ..tape import enable_grad
from .call import Argnums, Call, like, matching

# ---- products with the Jacobian ------------------------------------------------------------------


def vjp(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    """(func(*primals), u ↦ uᵀ J): the second gives a tuple, one entry for each of the primals.

    u has the form of the output.  It may be called again and again.  ValueError where u does not fit.

    >>> import minigrad
    >>> y, pull = minigrad.func.vjp(minigrad.sin, minigrad.zeros(2))
    >>> pull(minigrad.ones(2))
    (tensor([1., 1.]),)
    """
    call = Call(func, primals, range(len(primals)))

    def pull(cotangents: Any) -> Any:
        return call.shaped(call.pull(matching("vjp: cotangents", cotangents, call.ys)))

    return call.output(), pull


def _push(call: Call) -> Callable[[Sequence[Any]], list[Any]]:
    """v ↦ J v for a call, one entry for each output."""
    gs = [zeros_like(y).requires_grad_() for y in call.ys]  # J v does not depend on them
    with enable_grad():
        pulled = call.pull(gs, again=True)

    def push(vs: Sequence[Any]) -> list[Any]:
        pairs = [(dx, v) for dx, v in zip(pulled, vs) if dx.requires_grad]
        if not pairs:
            return [zeros_like(g) for g in gs]
        dxs, weights = zip(*pairs)
        found = autograd.grad(dxs, gs, weights, True, call.again, allow_unused=True)
        return [zeros_like(g) if t is None else t for g, t in zip(gs, found)]

    return push


def jvp(func: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """(func(*primals), J v): the derivative in the direction v = tangents, a tuple like primals.

    ValueError where tangents do not fit.

    >>> import minigrad
    >>> x, v = minigrad.tensor([1.0, 2.0]), minigrad.tensor([0.0, 1.0])
    >>> minigrad.func.jvp(lambda x: x * x, (x,), (v,))
    (tensor([1., 4.]), tensor([0., 4.]))
    """
    call = Call(func, tuple(primals), range(len(primals)))
    found = _push(call)(matching("jvp: tangents", tuple(tangents), call.xs))
    return call.output(), like(call.y, iter(found))


# ---- whole Jacobians -----------------------------------------------------------------------------


def _unit(x: Tensor, i: int) -> Any:
    """Zeros, with 1 at the i-th element."""
    one = np.zeros(x.layout.size, x.dtype)
    one[i] = 1
    return core.from_numpy(one.reshape(x.shape))


def _by_units(
    varied: Sequence[Tensor], product: Callable[[Sequence[Any]], Sequence[Any]], count: int
) -> list[list[Any]]:
    """For each of `varied`, of size n, the `count` products with its n unit vectors, n lists."""
    found = []
    for k, x in enumerate(varied):
        rows = []
        for i in range(x.layout.size):
            units: list[Any] = [zeros_like(a) for a in varied]
            units[k] = _unit(x, i)
            rows.append(product(units))
        found.append([[row[j] for row in rows] for j in range(count)])
    return found


def jacobian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The function x ↦ J, [output…, input…], by one backward pass per element of the output.

    `argnums` says which arguments to derive by, one or several (then it gives a tuple).  If the output
    is no single tensor, the result has its form, with a Jacobian in place of each tensor.  The same
    as `jacrev` in torch.func and JAX; with few inputs and many outputs, `jacfwd` is faster.

    >>> import minigrad
    >>> minigrad.func.jacobian(lambda x: x * x)(minigrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if isinstance(argnums, Tensor) or not callable(func):
        raise TypeError("jacobian(func, argnums) gives a function: jacobian(func)(x)")

    def at(*primals: Any) -> Any:
        call = Call(func, primals, argnums)
        rows = _by_units(call.ys, call.pull, len(call.xs))
        blocks = [
            call.shaped(
                [stacked(rows[k][j], (*y.shape, *x.shape), x) for j, x in enumerate(call.xs)]
            )
            for k, y in enumerate(call.ys)
        ]
        return like(call.y, iter(blocks))

    return at


def jacfwd(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The same Jacobian, one product J v per element of the input."""

    def at(*primals: Any) -> Any:
        call = Call(func, primals, argnums)
        columns = _by_units(call.xs, _push(call), len(call.ys))
        blocks = []
        for k, y in enumerate(call.ys):
            parts = []
            for j, x in enumerate(call.xs):
                whole = stacked(columns[j][k], (x.layout.size, y.layout.size), x)
                parts.append(reshape(whole.T, (*y.shape, *x.shape)))
            blocks.append(call.shaped(parts))
        return like(call.y, iter(blocks))

    return at


def stacked(rows: list[Any], shape: core.Shape, x: Tensor) -> Any:
    """The rows as one tensor of this shape, of the type of x where there are none."""
    if not rows:
        return core.zeros(core.layout(shape, None, x.layout.code))
    return reshape(stack(rows), shape)


jacrev = jacobian


# ---- functions with one number as output ---------------------------------------------------------


def grad_and_value(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The function x ↦ (gradient, value) of a function that gives one number, []."""

    def at(*primals: Any) -> Any:
        call = Call(func, primals, argnums)
        one = core.from_numpy(np.ones((), call.scalar("grad").dtype))
        return call.shaped(call.pull([one])), call.output()

    return at


def grad(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The function x ↦ gradient, in the form of the argument, of one that gives one number, [].

    >>> import minigrad
    >>> f = minigrad.func.grad(minigrad.func.grad(lambda x: x**3))
    >>> f(minigrad.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(func, argnums)
    return lambda *primals: both(*primals)[0]


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The function x ↦ ∇² f, [input…, input…], of a function that gives one number."""
    return jacobian(grad(func, argnums), argnums)


def hvp(func: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """(func(*primals), ∇² f v), the second a tuple like primals: Pearlmutter 1994.

    >>> import minigrad
    >>> x = minigrad.tensor([1.0, 2.0])
    >>> minigrad.func.hvp(lambda x: (x**3).sum(), (x,), (minigrad.ones(2),))
    (tensor(9.), (tensor([ 6., 12.]),))
    """
    call = Call(func, tuple(primals), range(len(primals)))
    vs = matching("hvp: tangents", tuple(tangents), call.xs)
    one = core.from_numpy(np.ones((), call.scalar("hvp").dtype))
    with enable_grad():
        pairs = [(dx, v) for dx, v in zip(call.pull([one], again=True), vs) if dx.requires_grad]
    found: Sequence[Any] = [None] * len(vs)
    if pairs:
        dxs, weights = zip(*pairs)
        found = autograd.grad(dxs, call.xs, weights, None, call.again, allow_unused=True)
    products = [zeros_like(x) if h is None else h for x, h in zip(call.xs, found)]
    return call.output(), call.shaped(products)
