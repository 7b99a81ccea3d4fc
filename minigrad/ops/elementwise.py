"""Elementwise ops, each next to its derivative.

y has the shape of x, or the broadcast shape of a and b.  float32 and float64 in, the same out.
Where a float tensor meets a number, an integer or a bool tensor, the result has the float's type;
float32 and float64 do not mix (TypeError).  Shapes that do not broadcast: ValueError.

Rules are written with ops, so that they can be differentiated again; `g` is the gradient of the
result.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Union

from .. import core
from ..autograd import Tensor, op
from ..rules import of, same

Operand = Union[Tensor, float]


def _unary(name: str, doc: str) -> Any:
    """The op of the kernel `name`; `doc` is its equation."""
    kernel = core.unary(name)
    kernel.__doc__ = f"y = {doc}, elementwise: [...] -> [...]"
    return op(kernel)


def _binary(name: str, doc: str) -> Any:
    kernel = core.binary(name)
    kernel.__doc__ = f"y = {doc}, elementwise with broadcasting.  a or b may be a number."
    return op(kernel)


# ---- arithmetic ------------------------------------------------------------------------------

add = _binary("add", "a + b")
add.vjp(a=same, b=same)

sub = _binary("sub", "a - b")
sub.vjp(a=same, b=lambda g: neg(g))

mul = _binary("mul", "a b")
mul.vjp(a=of(mul, "g", "b"), b=of(mul, "g", "a"))
mul.vjp_into(a=of(core.muladd_into, "total", "g", "b"), b=of(core.muladd_into, "total", "g", "a"))

div = _binary("div", "a / b")
div.vjp(a=of(div, "g", "b"), b=lambda g, y, b: neg(div(mul(g, y), b)))

neg: Any = _unary("neg", "-x")
neg.vjp(x=lambda g: neg(g))

abs = _unary("abs", "|x|; its derivative at 0 is 0")
abs.vjp(x=lambda g, x: mul(g, sign(x)))

sign: Any = _unary("sign", "-1, 0 or 1")
sign.vjp(x=lambda g: mul(g, 0.0))

square = _unary("square", "x²")
square.vjp(x=lambda g, x: mul(g, mul(x, 2.0)))

sqrt = _unary("sqrt", "√x")
sqrt.vjp(x=lambda g, y: div(g, mul(y, 2.0)))

reciprocal = _unary("reciprocal", "1 / x")
reciprocal.vjp(x=lambda g, y: neg(mul(g, square(y))))

pow = _binary("pow", "a^b; NaN where a < 0 and b is no integer")


def _pow_base(g: Tensor, a: Operand, b: Operand) -> Tensor:
    """g b a^(b-1), and 0 where b = 0, also at a = 0."""
    if isinstance(b, (int, float)):
        if b == 0:
            return mul(g, 0.0)
        return mul(g, mul(a, 2.0) if b == 2 else mul(pow(a, b - 1), b))
    return mul(g, mul(b, pow(a, where(eq(b, 0.0), 1.0, sub(b, 1.0)))))


def _pow_exponent(g: Tensor, y: Tensor, a: Operand) -> Tensor:
    """g y log a, and 0 where y = 0 (there a = 0, whose logarithm is infinite)."""
    logarithm = math.log(a) if isinstance(a, (int, float)) and a > 0 else None
    if logarithm is not None:
        return mul(g, mul(y, logarithm))
    base = a if isinstance(a, Tensor) else core.operand(float(a), y)
    return mul(g, mul(y, log(where(eq(y, 0.0), 1.0, base))))


pow.vjp(a=_pow_base, b=_pow_exponent)


def _choose(kernel: Any, chosen: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """maximum and minimum: the gradient goes to the argument chosen, by halves where they are equal."""

    def share(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return mul(g, where(eq(a, b), 0.5, core.astype(chosen(a, b), g.layout.code)))

    kernel.vjp(a=lambda g, a, b: share(g, a, b), b=lambda g, a, b: share(g, b, a))
    return kernel


maximum = _choose(_binary("maximum", "max(a, b); NaN if one is"), lambda a, b: gt(a, b))
minimum = _choose(_binary("minimum", "min(a, b); NaN if one is"), lambda a, b: lt(a, b))

# ---- exponentials and their kin ------------------------------------------------------------------

exp = _unary("exp", "eˣ")
exp.vjp(x=of(mul, "g", "y"))

expm1 = _unary("expm1", "eˣ - 1, exact near 0")
expm1.vjp(x=lambda g, y: mul(g, add(y, 1.0)))

log = _unary("log", "ln x")
log.vjp(x=of(div, "g", "x"))

log1p = _unary("log1p", "ln(1 + x), exact near 0")
log1p.vjp(x=lambda g, x: div(g, add(x, 1.0)))

sin = _unary("sin", "sin x")
sin.vjp(x=lambda g, x: mul(g, cos(x)))

cos: Any = _unary("cos", "cos x")
cos.vjp(x=lambda g, x: neg(mul(g, sin(x))))

erf = _unary("erf", "2/√π ∫₀ˣ e^(-t²) dt")
erf.vjp(x=lambda g, x: mul(g, mul(exp(neg(square(x))), 2 / math.sqrt(math.pi))))

# ---- activations -----------------------------------------------------------------------------
# X_grad is g times the derivative of X, from X's output, in one pass over memory.

tanh_grad = _binary("tanh_grad", "a (1 - b²)")
tanh_grad.vjp(a=of(tanh_grad, "g", "b"), b=lambda g, a, b: mul(mul(g, a), mul(b, -2.0)))

tanh = _unary("tanh", "tanh x")
tanh.vjp(x=of(tanh_grad, "g", "y"))

sigmoid_grad = _binary("sigmoid_grad", "a b (1 - b)")
sigmoid_grad.vjp(
    a=of(sigmoid_grad, "g", "b"), b=lambda g, a, b: mul(mul(g, a), sub(1.0, mul(b, 2.0)))
)

sigmoid = _unary("sigmoid", "1 / (1 + e⁻ˣ)")
sigmoid.vjp(x=of(sigmoid_grad, "g", "y"))

relu_grad = _binary("relu_grad", "a where b > 0, else 0")
relu_grad.vjp(a=of(relu_grad, "g", "b"), b=lambda b: mul(b, 0.0))

relu = _unary("relu", "max(x, 0); its derivative at 0 is 0")
relu.vjp(x=of(relu_grad, "g", "y"))

_leaky_relu = _binary("leaky_relu", "a where a > 0, else a b")
_leaky_relu.vjp(
    a=lambda g, a, b: where(gt(a, 0.0), g, mul(g, b)), b=lambda g, a: mul(g, minimum(a, 0.0))
)


def leaky_relu(x: Tensor, negative_slope: Operand = 0.01) -> Any:
    """y = x where x > 0, else negative_slope x.  The slope may be a tensor, and is then learnt."""
    return _leaky_relu(x, negative_slope)


_elu = _binary("elu", "a where a > 0, else b (eᵃ - 1)")
_elu.vjp(
    a=lambda g, a, b: mul(g, where(gt(a, 0.0), 1.0, mul(b, exp(minimum(a, 0.0))))),
    b=lambda g, a: mul(g, expm1(minimum(a, 0.0))),
)


def elu(x: Tensor, alpha: Operand = 1.0) -> Any:
    """y = x where x > 0, else alpha (eˣ - 1)."""
    return _elu(x, alpha)


_gelu = _unary("gelu", "x Φ(x)")
_gelu.vjp(
    x=lambda g, x: mul(
        g,
        add(
            mul(add(erf(mul(x, math.sqrt(0.5))), 1.0), 0.5),
            mul(mul(x, exp(mul(square(x), -0.5))), 1 / math.sqrt(2 * math.pi)),
        ),
    )
)


def gelu(x: Tensor, approximate: str = "none") -> Any:
    """y = x Φ(x), with Φ the normal distribution function; approximate="tanh" is the usual formula.

    Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """
    if approximate == "none":
        return _gelu(x)
    if approximate != "tanh":
        raise ValueError(f"gelu: approximate={approximate!r}: 'none' or 'tanh'")
    inner = mul(mul(x, add(mul(square(x), 0.044715), 1.0)), math.sqrt(2 / math.pi))
    return mul(mul(x, 0.5), add(tanh(inner), 1.0))


softplus = _unary("softplus", "ln(1 + eˣ)")
softplus.vjp(x=lambda g, x: mul(g, sigmoid(x)))

logsigmoid = _unary("logsigmoid", "ln(1 / (1 + e⁻ˣ))")
logsigmoid.vjp(x=lambda g, x: mul(g, sigmoid(neg(x))))

# ---- choices ---------------------------------------------------------------------------------


where: Any = op(core.where)
where.vjp(
    a=lambda g, condition: where(condition, g, 0.0), b=lambda g, condition: where(condition, 0.0, g)
)


_clip = op(core.clip)
_clip.vjp(
    x=lambda g, x, low, high: where(ge(x, low), where(le(x, high), g, 0.0), 0.0),
    low=lambda g, x, low, high: where(lt(x, low), where(le(low, high), g, 0.0), 0.0),
    high=lambda g, x, low, high: where(gt(maximum(x, low), high), g, 0.0),
)


def clip(x: Tensor, min: Operand | None = None, max: Operand | None = None) -> Any:
    """y = min(max(x, min), max); a bound left out does not bind.  NaN stays NaN."""
    low = -math.inf if min is None else min
    high = math.inf if max is None else max
    return _clip(x, low, high)


# ---- comparisons: bool, without gradient ---------------------------------------------------------

eq: Any
ne: Any
lt: Any
le: Any
gt: Any
ge: Any
eq, ne, lt, le, gt, ge = map(core.compare, ("eq", "ne", "lt", "le", "gt", "ge"))
for _compare, _sign in ((eq, "="), (ne, "≠"), (lt, "<"), (le, "≤"), (gt, ">"), (ge, "≥")):
    _compare.__doc__ = f"a {_sign} b as bool, elementwise with broadcasting."


@op
def to(x: Tensor, dtype: Any) -> Any:
    """x converted to `dtype`; x itself if it has that type.  Floats become integers toward zero."""
    if dtype not in core.DTYPES:
        raise TypeError(f"to: {dtype!r}: float32, float64, int64 and bool are possible")
    code = core.DTYPES.index(dtype)
    return core.alias(x) if code == x.layout.code else core.astype(x, code)


to.vjp(x=lambda g, x: to(g, x.dtype))
