"""One row per op: how to call it, what it should give, where to draw its operands from.

test_ops.py derives from this table the comparison with NumPy and with PyTorch, the gradient checks
of first and second order; test_house.py fails where an op is missing from it.  To add an op, add a
row.  Here are the ops that compute; op_table_data.py has those that move data, and the losses.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import op_table_data  # noqa: F401 (puts its rows into ROWS)
import op_table_sequences  # noqa: F401
import oracles
from draw import POSITIVE, REAL, Domain, Draw, Grid
from op_row import ROWS, Row, Sample, row

import minigrad
from minigrad.nn import fused
from minigrad.ops import elementwise, linalg, reduce, rows, sequence

# ---- elementwise ops -----------------------------------------------------------------------------
# Bounds: 0.5 ULP where IEEE 754 rounds the exact result, the sum of the steps' errors where there
# are several steps, otherwise what tests/c/ulp_sweep.c asserts of cextension/kernels/vmath.inc over
# all inputs.

EXACT = (0.5, 0.5)
MATH = (2.5, 4.0)  # the four functions that the issue bounds: exp, log, tanh, sigmoid
OTHER = (4.0, 4.0)
LONG = (4.0, 8.0)  # gelu, pow


def elementwise_row(
    f: Any, oracle: Any, *domains: Any, ulps: Any = None, torch: Any = None, **rest: Any
) -> Row:
    """A row whose operands broadcast, one per domain."""

    def sample(draw: Draw) -> Sample:
        shapes = draw.broadcasting(len(domains)) if len(domains) > 1 else [draw.shape()]
        return [draw.values(s, d) for s, d in zip(shapes, domains)], {}

    name = rest.pop("name", f.__name__)
    torch = torch or getattr(oracle, "torch", name)
    return Row(name, f, oracle, sample, torch, ulps=ulps, domains=domains, **rest)


def grad_of(name: str) -> Any:
    """How to have PyTorch compute g f'(x) from g and y = f(x)."""
    return lambda torch, g, y: getattr(torch.ops.aten, name)(g, y)


KINK = Domain(holes=(0.0,))  # derivative jumps at 0
AWAY = Domain(0.4, 2.0)  # denominators
OPEN = Domain(-0.9, 0.9)

ROWS += [
    elementwise_row(minigrad.neg, np.negative, REAL, ulps=EXACT),
    elementwise_row(minigrad.abs, np.abs, KINK, ulps=EXACT),
    elementwise_row(minigrad.sign, oracles.sign, KINK, ulps=EXACT),
    elementwise_row(minigrad.square, np.square, REAL, ulps=EXACT),
    elementwise_row(minigrad.sqrt, np.sqrt, POSITIVE, ulps=EXACT),
    elementwise_row(minigrad.reciprocal, lambda x: 1 / x, AWAY, ulps=EXACT),
    elementwise_row(minigrad.relu, oracles.relu, KINK, ulps=EXACT),
    elementwise_row(minigrad.exp, np.exp, REAL, ulps=MATH),
    elementwise_row(minigrad.expm1, np.expm1, REAL, ulps=OTHER),
    elementwise_row(minigrad.log, np.log, POSITIVE, ulps=MATH),
    elementwise_row(minigrad.log1p, np.log1p, Domain(-0.7, 2.0), ulps=OTHER),
    elementwise_row(minigrad.sin, np.sin, REAL, ulps=OTHER),
    elementwise_row(minigrad.cos, np.cos, REAL, ulps=OTHER),
    elementwise_row(minigrad.erf, oracles.erf, REAL, ulps=OTHER),
    elementwise_row(minigrad.sigmoid, oracles.sigmoid, REAL, ulps=MATH),
    elementwise_row(minigrad.tanh, np.tanh, REAL, ulps=MATH),
    elementwise_row(
        minigrad.softplus,
        oracles.softplus,
        REAL,
        ulps=OTHER,
        torch=lambda torch, x: torch.logaddexp(
            x, torch.zeros_like(x)
        ),  # its softplus cuts off at 20
    ),
    elementwise_row(
        minigrad.logsigmoid,
        oracles.logsigmoid,
        REAL,
        ulps=OTHER,
        torch=lambda torch, x: torch.nn.functional.logsigmoid(x),
    ),
    elementwise_row(
        minigrad.gelu,
        oracles.gelu,
        REAL,
        ulps=LONG,
        torch=lambda torch, x: torch.nn.functional.gelu(x),
    ),
    elementwise_row(
        lambda x: minigrad.gelu(x, approximate="tanh"),
        oracles.gelu_tanh,
        REAL,
        name="gelu",
        side="tanh",
        torch=lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"),
    ),
    elementwise_row(minigrad.add, np.add, REAL, REAL, ulps=EXACT),
    elementwise_row(minigrad.sub, np.subtract, REAL, REAL, ulps=EXACT),
    elementwise_row(minigrad.mul, np.multiply, REAL, REAL, ulps=EXACT),
    elementwise_row(minigrad.div, np.divide, REAL, AWAY, ulps=EXACT),
    elementwise_row(minigrad.maximum, np.maximum, Grid(0, 2), Grid(1, 2), ulps=EXACT),
    elementwise_row(minigrad.minimum, np.minimum, Grid(0, 2), Grid(1, 2), ulps=EXACT),
    elementwise_row(minigrad.pow, np.power, POSITIVE, REAL, ulps=LONG),
    elementwise_row(
        minigrad.leaky_relu,
        oracles.leaky_relu,
        KINK,
        REAL,
        ulps=EXACT,
        torch=lambda torch, x, slope: torch.where(x > 0, x, slope * x),
    ),
    elementwise_row(
        minigrad.elu,
        oracles.elu,
        KINK,
        REAL,
        ulps=(4.5, 4.5),  # expm1, then a product
        torch=lambda torch, x, alpha: torch.where(x > 0, x, alpha * torch.expm1(x)),
    ),
    elementwise_row(
        elementwise.tanh_grad,
        lambda g, y: g * (1 - y * y),
        REAL,
        OPEN,
        torch=grad_of("tanh_backward"),
    ),
    elementwise_row(
        elementwise.sigmoid_grad,
        lambda g, y: g * (y * (1 - y)),
        REAL,
        Domain(0.1, 0.9),
        torch=grad_of("sigmoid_backward"),
    ),
    elementwise_row(
        elementwise.relu_grad,
        lambda g, y: np.where(y <= 0, 0, g),
        REAL,
        KINK,
        torch=lambda torch, g, y: torch.ops.aten.threshold_backward(g, y, 0),
    ),
    elementwise_row(
        minigrad.clip,
        oracles.clip,
        Grid(0, 3),
        Grid(1, 3),
        Grid(2, 3),
        torch=lambda torch, *xs: torch.clip(*torch.broadcast_tensors(*xs)),
    ),
    elementwise_row(
        lambda x: 2 - 3.5 / (1 + x) + (x - True) * 2**x - x**2 / 4 + x**-1 - abs(-x) + x**0.5,
        lambda x: 2 - 3.5 / (1 + x) + (x - True) * 2**x - x**2 / 4 + 1 / x - abs(-x) + x**0.5,
        POSITIVE,
        name="add",
        side="numbers",
        torch=lambda _, x: 2 - 3.5 / (1 + x) + (x - 1) * 2**x - x**2 / 4 + x**-1 - abs(-x) + x**0.5,
    ),
]


@row(minigrad.where, np.where)
def _(d: Draw) -> Sample:
    a, b, c = d.broadcasting(3)
    return [d.mask(a), d.values(b), d.values(c)], {}


@row(minigrad.clip, oracles.clip, name="clip", side="numbers")
def _(d: Draw) -> Sample:
    low, high = d.choice((None, 0.33), (-0.52, None), (-0.72, 0.48))
    return [d.values(d.shape(), Grid()), low, high], {}


for _f, _g in (
    (minigrad.eq, np.equal),
    (minigrad.ne, np.not_equal),
    (minigrad.lt, np.less),
    (minigrad.le, np.less_equal),
    (minigrad.gt, np.greater),
    (minigrad.ge, np.greater_equal),
):

    @row(_f, _g, differentiable=False)
    def _(d: Draw) -> Sample:
        a, b = d.broadcasting(2)
        return [np.asarray(d.integers(-1, 2, s), float) for s in (a, b)], {}


@row(
    lambda x: minigrad.to(x, minigrad.float64) * 2.0,
    lambda x: x * 2,
    torch=lambda torch, x: x.to(torch.float64) * 2,
    name="to",
)
def _(d: Draw) -> Sample:
    return [d.values(d.shape())], {}


# ---- reductions --------------------------------------------------------------------------------


def _torch_dims(name: str) -> Any:
    """PyTorch's reductions, where 'all dimensions' is said in different ways."""

    def f(torch: Any, x: Any, dim: Any = None, **options: Any) -> Any:
        dim = tuple(range(x.ndim)) if dim is None else dim
        return getattr(torch, name)(x, dim=dim, **options)

    return f


def reduction_row(
    f: Any, oracle: Any, torch: Any, *, domain: Any = REAL, least: int = 0, **rest: Any
) -> None:
    """A row for f(x, dim, keepdim)."""

    @row(f, oracle, torch, **rest)
    def _(d: Draw) -> Sample:
        s = d.shape(least=least)
        return [d.values(s, domain)], {"dim": d.dims(len(s)), "keepdim": d.flag()}


reduction_row(reduce.sum, oracles.reduction(np.sum), _torch_dims("sum"))
reduction_row(reduce.mean, oracles.mean, _torch_dims("mean"))
reduction_row(reduce.prod, oracles.reduction(np.prod), None)
reduction_row(
    reduce.amax, oracles.reduction(np.max), _torch_dims("amax"), domain=Grid(), least=1, name="amax"
)
reduction_row(
    reduce.amin, oracles.reduction(np.min), _torch_dims("amin"), domain=Grid(), least=1, name="amin"
)
reduction_row(reduce.logsumexp, oracles.logsumexp, _torch_dims("logsumexp"))


def one_dim_row(f: Any, oracle: Any, torch: Any = "", **rest: Any) -> None:
    """A row for f(x, dim, keepdim) over one dimension."""

    @row(f, oracle, torch, **rest)
    def _(d: Draw) -> Sample:
        s = d.shape(1, 3, least=1)
        return [d.values(s, Grid())], {"dim": d.dim(len(s)), "keepdim": d.flag()}


def _extreme(f: Any, arg: Any) -> Any:
    def both(x: Any, dim: int, keepdim: bool) -> Any:
        return f(x, axis=dim, keepdims=keepdim), arg(x, axis=dim, keepdims=keepdim)

    return both


one_dim_row(reduce.max, _extreme(np.max, np.argmax))
one_dim_row(reduce.min, _extreme(np.min, np.argmin))
one_dim_row(reduce.argmax, oracles.reduction(np.argmax), differentiable=False)
one_dim_row(reduce.argmin, oracles.reduction(np.argmin), differentiable=False)
one_dim_row(reduce.prod, oracles.reduction(np.prod), side="one")


@row(
    lambda x: (reduce.max(x), reduce.min(x)),
    lambda x: (x.max(), x.min()),
    None,
    name="max",
    side="all",
)
def _(d: Draw) -> Sample:
    return [d.values(d.shape(least=1), Grid())], {}


for _f in (reduce.var, reduce.std):

    @row(_f, getattr(oracles, _f.__name__), _torch_dims(_f.__name__))
    def _(d: Draw) -> Sample:
        s = d.shape(least=2)
        x = (
            d.values(s) + 3 * d.normal(*s) if s else d.values((2,))
        )  # two equal ones: std has a kink
        return [x], {
            "dim": d.dims(max(len(s), 1)),
            "correction": d.choice(0, 1),
            "keepdim": d.flag(),
        }


@row(reduce.sum_to, oracles.sum_to, lambda _, x, to: x.sum_to_size(to))
def _(d: Draw) -> Sample:
    s = d.shape()
    to = tuple(1 if d.flag() else n for n in s)[d.pick(0, len(s)) :]
    return [d.values(s), to], {}


# ---- rows ----------------------------------------------------------------------------------------

for _f in (rows.softmax, rows.log_softmax):

    @row(_f, getattr(oracles, _f.__name__))
    def _(d: Draw) -> Sample:
        s = d.shape()
        return [d.values(s)], {"dim": d.dim(len(s))}


@row(
    rows.layer_norm,
    oracles.layer_norm,
    lambda torch, x, last, *rest: torch.nn.functional.layer_norm(x, last, *rest),
)
def _(d: Draw) -> Sample:
    s = d.shape(1, 3)
    last = s[d.pick(0, len(s) - 1) :]
    weight = d.values(last) if d.flag() else None
    bias = d.values(last) if d.flag() else None
    return [d.values(s), last, weight, bias], {}


# ---- matrices ----------------------------------------------------------------------------------


@row(linalg.matmul, np.matmul)
def _(d: Draw) -> Sample:
    n, k, m = (d.pick(0, 4) for _ in range(3))
    a, b = d.broadcasting(2) if d.flag() else ((), ())
    left, right = (*a[-2:], n, k), (*b[-2:], k, m)
    if d.pick(0, 3) == 0:
        left = (k,)
    if d.pick(0, 3) == 0:
        right = (k,)
    return [d.values(left), d.values(right)], {}


@row(linalg.matrix_transpose, lambda x: np.swapaxes(x, -1, -2), lambda _, x: x.mT)
def _(d: Draw) -> Sample:
    return [d.values(d.shape(2, 3))], {}


@row(
    linalg.linear,
    lambda x, weight, bias=0: x @ weight.T + bias,
    lambda torch, *xs: torch.nn.functional.linear(*xs),
)
def _(d: Draw) -> Sample:
    o, i = d.pick(0, 4), d.pick(0, 4)
    return [d.values((*d.shape(0, 2), i)), d.values((o, i)), *[d.values((o,))] * d.pick(0, 1)], {}


@row(linalg.outer, np.outer)
def _(d: Draw) -> Sample:
    return [d.values(d.shape(1, 1)), d.values(d.shape(1, 1))], {}


@row(linalg.dot, np.dot)
def _(d: Draw) -> Sample:
    s = d.shape(1, 1)
    return [d.values(s), d.values(s)], {}


# ---- a recurrent layer: test_fused.py has all cells ------------------------------------------------


def _gru_layer(x: Any, W: Any, U: Any, Un: Any, b: Any, h0: Any) -> Any:
    layer = minigrad.nn.Recurrent(minigrad.nn.GRUCell(x.shape[2], h0.shape[1]))
    run = sequence.Run("gru", partial(fused._readable, layer, layer.cell, None, False))
    return sequence.sequence(run, ("x", "W", "U", "Un", "b", "h0"), x, W, U, Un, b, h0)


def _gru_oracle(x: Any, W: Any, U: Any, Un: Any, b: Any, h0: Any) -> Any:
    step = partial(oracles.gru, {"W": W, "U": U, "Un": Un, "b": b})
    y, (h,) = oracles.unroll(step, x, (h0,), np.ones(x.shape[:2], bool))
    return y, h


@row(_gru_layer, _gru_oracle, None, name="sequence")
def _(d: Draw) -> Sample:
    t, n, i, h = (d.pick(1, 3) for _ in range(4))
    shapes = (t, n, i), (i, 3 * h), (h, 2 * h), (h, h), (3 * h,), (n, h)
    return [d.values(s) for s in shapes], {}
