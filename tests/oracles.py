"""The equations of the ops in NumPy: slow, readable, in whatever precision the arguments have.

The tests call them with `numpy.longdouble`, which has 64 significant bits on x86 and more on ARM
Linux, so that what they give can count as exact beside float64.
"""

from __future__ import annotations

import math
from typing import Any, Union

import numpy as np

Dim = Union[None, int, tuple[int, ...]]


# ---- elementwise -------------------------------------------------------------------------------


def sign(x: Any) -> Any:
    """-1, 0, 1; 0 for NaN, as in PyTorch (NumPy: NaN)."""
    return np.where(np.isnan(x), 0, np.sign(x))


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)"""
    return 1 / (1 + np.exp(-x))


def softplus(x: Any) -> Any:
    """log(1 + e^x)"""
    return np.logaddexp(0, x)


def logsigmoid(x: Any) -> Any:
    """-log(1 + e^-x)"""
    return -np.logaddexp(0, -x)


def relu(x: Any) -> Any:
    """max(x, 0)"""
    return np.maximum(x, 0)


def leaky_relu(x: Any, slope: Any = 0.01) -> Any:
    """x > 0: x, else slope x"""
    return np.where(x > 0, x, slope * x)


def elu(x: Any, alpha: Any = 1.0) -> Any:
    """x > 0: x, else alpha (e^x - 1)"""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def erf(x: Any) -> Any:
    """From math.erf, which is right to 1 ULP of float64."""
    x = np.asarray(x)
    return np.array([math.erf(v) for v in x.ravel()], x.dtype).reshape(x.shape)


def gelu(x: Any) -> Any:
    """x Phi(x) = x erfc(a) / 2, a = -x/√2.

    math.erfc sees a rounded a; its slope makes up for that.  From a = 10 on, where it is about to
    give denormals, the series e^(-a²)/(a √π) (1 - 1/(2a²) + 3/(2a²)² - 15/(2a²)³ …) to 1e-21.
    """
    x = np.asarray(x)
    root_pi = np.sqrt(4 * np.arctan(x.dtype.type(1)))
    a = np.clip(-x / np.sqrt(x.dtype.type(2)), -50, 50)  # beyond, the result is x or 0 in float64
    near = a.astype(np.float64)
    tail = np.array([math.erfc(v) for v in near.ravel()], x.dtype).reshape(x.shape)
    tail -= 2 / root_pi * np.exp(-a * a) * (a - near)
    far = np.maximum(a, 10)
    series = term = np.ones_like(far)
    for k in range(20):
        term = -term * (2 * k + 1) / (2 * far * far)
        series = series + term
    tail = np.where(a > 10, np.exp(-far * far) / (far * root_pi) * series, tail)
    return np.where(x == -np.inf, -0.0, x * tail / 2)


def gelu_tanh(x: Any) -> Any:
    """Hendrycks and Gimpel's formula."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """min(max(x, low), high)"""
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


# ---- along dimensions --------------------------------------------------------------------------


def reduction(f: Any) -> Any:
    """f(x, axis, keepdims) with the arguments' names that tensors use."""
    return lambda x, dim=None, keepdim=False: f(x, axis=dim if x.ndim else None, keepdims=keepdim)


def mean(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Σ x / n"""
    dim = dim if x.ndim else None
    with np.errstate(invalid="ignore"):
        return np.sum(x, axis=dim, keepdims=keepdim) / x.dtype.type(_length(x, dim))


def sum_to(x: Any, to: tuple[int, ...]) -> Any:
    """Σ over the dimensions along which an array of shape `to` is repeated in x"""
    new = x.ndim - len(to)
    x = x.sum(axis=tuple(range(new)))
    return x.sum(axis=tuple(d for d, n in enumerate(to) if n == 1), keepdims=True)


def logsumexp(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """log Σ e^x"""
    dim = dim if x.ndim else None
    with np.errstate(divide="ignore"):
        peak = np.max(x, axis=dim, keepdims=True, initial=-np.inf)
        peak = np.where(np.isfinite(peak), peak, 0)
        y = np.log(np.sum(np.exp(x - peak), axis=dim, keepdims=True)) + peak
    return y if keepdim else np.sum(y, axis=dim)


def var(x: Any, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Any:
    """Σ (x - mean)² / max(0, n - correction)"""
    dim = dim if x.ndim else None
    n = _length(x, dim)
    with np.errstate(divide="ignore", invalid="ignore"):
        d = x - np.sum(x, axis=dim, keepdims=True) / x.dtype.type(n)
        return np.sum(d * d, axis=dim, keepdims=keepdim) / x.dtype.type(max(0, n - correction))


def _length(x: Any, dim: Dim) -> int:
    axes = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    return math.prod(x.shape[d] for d in axes)


def std(x: Any, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Any:
    """√var"""
    return np.sqrt(var(x, dim, correction, keepdim))


def softmax(x: Any, dim: int = -1) -> Any:
    """e^x / Σ e^x"""
    return np.exp(log_softmax(x, dim))


def log_softmax(x: Any, dim: int = -1) -> Any:
    """x - log Σ e^x"""
    return x - logsumexp(x, dim, keepdim=True)


def layer_norm(
    x: Any, last: tuple[int, ...], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - mean) / √(var + eps) weight + bias over the last dimensions"""
    axes = tuple(range(x.ndim - len(last), x.ndim))
    with np.errstate(invalid="ignore"):
        y = (x - mean(x, axes, keepdim=True)) / np.sqrt(var(x, axes, 0, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


# ---- shapes and indices --------------------------------------------------------------------------


def split(x: Any, size: Any, dim: int = 0) -> list[Any]:
    """x cut along `dim`"""
    if isinstance(size, int):
        size = [min(size, x.shape[dim] - i) for i in range(0, x.shape[dim], size)] or [0]
    return list(np.split(x, np.cumsum(size)[:-1], axis=dim)) if size else []


def chunk(x: Any, chunks: int, dim: int = 0) -> list[Any]:
    """x cut into so many parts of size ceil(n / chunks), the last smaller, or fewer"""
    return split(x, max(1, -(-x.shape[dim] // chunks)), dim)


def gather(x: Any, dim: int, index: Any) -> Any:
    """y[i, j] = x[i, index[i, j]] for dim 1, and so on: index may be smaller elsewhere"""
    y = np.empty(index.shape, x.dtype)
    for at in np.ndindex(index.shape):
        source = list(at)
        source[dim] = index[at]
        y[at] = x[tuple(source)]
    return y


# ---- losses ------------------------------------------------------------------------------------


def reduced(loss: Any, reduction: str) -> Any:
    """mean, sum or none"""
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / np.float64(loss.size)


def nll_loss(
    x: Any,
    target: Any,
    ignore_index: int = -100,
    reduction: str = "mean",
    weight: Any | None = None,
) -> Any:
    """-weight[target] x[target], x [N, C, d…] and target [N, d…]; the mean divides by Σ weights"""
    loss, total = np.zeros(target.shape, x.dtype), x.dtype.type(0)
    for at in np.ndindex(target.shape):
        t = target[at]
        if t == ignore_index:
            continue
        scale = 1 if weight is None else weight[t]
        loss[at] = -scale * x[(*at[:1], t, *at[1:])]
        total += scale
    if reduction == "mean":
        with np.errstate(invalid="ignore"):
            return loss.sum() / total
    return reduced(loss, reduction)


def cross_entropy(x: Any, target: Any, weight: Any = None, **options: Any) -> Any:
    """nll_loss of log_softmax"""
    return nll_loss(log_softmax(x, 1 if x.ndim > 1 else 0), target, weight=weight, **options)


def bce_with_logits(
    x: Any, t: Any, weight: Any = 1, reduction: str = "mean", pos_weight: Any = 1
) -> Any:
    """-(p t log σ(x) + (1 - t) log(1 - σ(x)))"""
    loss = -(pos_weight * t * logsigmoid(x) + (1 - t) * logsigmoid(-x)) * weight
    return reduced(loss, reduction)


# ---- recurrent nets ----------------------------------------------------------------------------
#
# A cell is f(parameters, x [N, I], state, options) -> new state; its first part is the output.


def projected(p: dict[str, Any], x: Any) -> Any:
    """x W + b; LN(x W) gW + b where there is a gain gW"""
    z = x @ p["W"]
    if "gW" in p:
        z = layer_norm(z, z.shape[1:]) * p["gW"]
    return z + p.get("b", 0)


def product(p: dict[str, Any], h: Any, matrix: str = "U") -> Any:
    """h U; (h m) U where there is a mask m; LN(h U) gU where there is a gain gU"""
    y = (h * p.get("m", 1)) @ p[matrix]
    if "g" + matrix in p:
        y = layer_norm(y, y.shape[1:]) * p["g" + matrix]
    return y


def zoned(step: Any, kept: Any, p: dict[str, Any], x: Any, state: Any) -> Any:
    """k of the old state, and 1 - k of what the cell gives; kept: a k for each state"""
    new = step(p, x, state)
    return tuple(k * old + (1 - k) * s for k, old, s in zip(kept, state, new))


def elman(p: dict[str, Any], x: Any, state: Any, f: Any = np.tanh) -> Any:
    """h' = f(x W + h U + b)"""
    (h,) = state
    return (f(projected(p, x) + product(p, h)),)


def preactivation(p: dict[str, Any], x: Any, state: Any, f: Any = np.tanh) -> Any:
    """h' = f(h) U + x W + b; the output is f(h')"""
    (h,) = state
    return (f(h) @ p["U"] + x @ p["W"] + p.get("b", 0),)


def jordan(p: dict[str, Any], x: Any, state: Any, f: Any = np.tanh, g: Any = lambda a: a) -> Any:
    """h = f(x W + y U + b); y' = g(h V + c)"""
    (y,) = state
    h = f(x @ p["W"] + y @ p["U"] + p.get("b", 0))
    return (g(h @ p["V"] + p.get("c", 0)),)


def lstm(p: dict[str, Any], x: Any, state: Any, coupled: str | None = None) -> Any:
    """i, f, o = σ(…), g = tanh(…); c' = f c + i g; h' = o tanh c', times P where there is one

    h' = o tanh(LN(c') gc + bc) where there is a gain gc.  i and f also see c, o sees c', where there
    are p_i, p_f, p_o: vectors or matrices.
    """
    h, c = state
    gates = {"input": "fgo", "forget": "igo", None: "ifgo"}[coupled]
    z = dict(zip(gates, np.split(projected(p, x) + product(p, h), len(gates), 1)))

    def seen(gate: str, c: Any) -> Any:
        weight = p.get(f"p_{gate}", np.zeros(c.shape[1], c.dtype))
        return weight * c if weight.ndim == 1 else c @ weight

    i, f = (sigmoid(z[gate] + seen(gate, c)) if gate in z else None for gate in "if")
    i, f = 1 - f if i is None else i, 1 - i if f is None else f
    c = f * c + i * np.tanh(z["g"])
    out = layer_norm(c, c.shape[1:], p["gc"], p["bc"]) if "gc" in p else c
    h = sigmoid(z["o"] + seen("o", c)) * np.tanh(out)
    return (h @ p["P"] if "P" in p else h), c


def gru(
    p: dict[str, Any], x: Any, state: Any, reset_after: bool = False, keep: bool = False
) -> Any:
    """r, z = σ(…); h' = (1 - z) h + z n; n = tanh(x W + (r h) U + b), or tanh(x W + b + r (h U + c))

    keep: h' = z h + (1 - z) n
    """
    (h,) = state
    zr, zz, zn = np.split(projected(p, x), 3, 1)
    hr, hz = np.split(product(p, h), 2, 1)
    r, z = sigmoid(zr + hr), sigmoid(zz + hz)
    if reset_after:
        n = np.tanh(zn + r * (product(p, h, "Un") + p.get("c", 0)))
    else:
        n = np.tanh(zn + product(p, r * h, "Un"))
    return (z * h + (1 - z) * n if keep else (1 - z) * h + z * n,)


def clockwork(p: dict[str, Any], x: Any, state: Any, periods: Any, f: Any = np.tanh) -> Any:
    """Sequence by sequence, unit by unit: h_i' = f(x W_i + Σ_{T_j ≥ T_i} h_j U_ji + b_i) if T_i | t

    p["U"] goes unit by unit, too: what it says to all that are as fast or faster.  There are as many
    groups, of one size or the first ones larger by one, as make so many numbers.
    """
    h, t = state
    for g in range(1, len(periods) + 1):
        sizes = [len(part) for part in np.array_split(h[0] if len(h) else p["W"][0], g)]
        every = np.repeat(periods[:g], sizes)
        hears = every[:, None] >= every
        if hears.sum() == len(p["U"]):
            break
    U = np.zeros(hears.shape, h.dtype)
    U[hears] = p["U"]
    new = h.copy()
    for n in range(len(h)):
        for i in range(len(every)):
            if t[n, 0] % every[i] == 0:
                new[n, i] = f(x[n] @ p["W"][:, i] + h[n] @ U[:, i] + p.get("b", 0 * every)[i])
    return new, t + 1


def valid_steps(x: Any, lengths: Any = None, mask: Any = None) -> Any:
    """bool [T, N]: which steps of x [T, N, …] are valid"""
    valid = np.ones(x.shape[:2], bool)
    for t, i in np.ndindex(x.shape[:2]):
        valid[t, i] = (lengths is None or t < lengths[i]) and (mask is None or mask[t, i])
    return valid


def first(state: Any) -> Any:
    """The output of most cells: the first of their states"""
    return state[0]


def unroll(
    step: Any, x: Any, state: Any, valid: Any, reverse: bool = False, output: Any = first
) -> Any:
    """(y [T, N, H], final state): sequence by sequence, through its valid steps alone"""
    y = np.zeros((*x.shape[:2], state[0].shape[-1]), x.dtype)
    final = [s.copy() for s in state]
    for i in range(x.shape[1]):
        now = [s[i : i + 1] for s in state]
        for t in np.flatnonzero(valid[:, i])[:: -1 if reverse else 1]:
            now = step(x[t, i : i + 1], now)
            y[t, i] = output(now)[0]
        for s, last in zip(final, now):
            s[i] = last[0]
    return y, final


def layers(
    steps: Any, x: Any, states: Any, valid: Any, bidirectional: bool = False, output: Any = first
) -> Any:
    """(y, [final state of each cell]): cells on top of each other, two per layer if bidirectional"""
    each = 2 if bidirectional else 1
    final: list[Any] = []
    for k in range(0, len(steps), each):
        results = [
            unroll(steps[k + d], x, states[k + d], valid, d == 1, output) for d in range(each)
        ]
        x = np.concatenate([y for y, _ in results], -1)
        final += [state for _, state in results]
    return x, final
