"""Initial values of parameters: each function fills a tensor in place and returns it.

The numbers come from minigrad's generator: after `minigrad.manual_seed(n)` they are determined.
Shapes are those of `Linear.weight`, [fan_out, fan_in], with receptive field dimensions after these
if there are any.
"""

from __future__ import annotations

import math
from typing import Any, Callable

import numpy as np

from .. import core
from ..autograd import Tensor
from ..ops.create import from_numpy, rand, randn, zeros
from ..tape import no_grad, written


def _fill(x: Tensor, values: Any) -> Tensor:
    """x[...] = values, an array or a number, also where x is tracked."""
    core.copy_into(x, core.operand(values, x))
    written(x)
    return x


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    return _fill(x, rand(*x.shape, dtype=x.dtype).mul(high - low).add(low))


def _normal(x: Tensor, mean: float, std: float) -> Tensor:
    return _fill(x, randn(*x.shape, dtype=x.dtype).mul(std).add(mean))


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Numbers from [a, b), all equally likely."""
    return _uniform(tensor, a, b)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normally distributed numbers."""
    return _normal(tensor, mean, std)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    """Normally distributed numbers, those outside [a, b] drawn again."""
    low, high = (a - mean) / std, (b - mean) / std
    inside = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    if not inside > 1e-3:
        raise ValueError(
            f"trunc_normal_: [{a}, {b}] holds {max(inside, 0):.1g} of the normal distribution with "
            f"mean {mean} and std {std}: at least 0.001 is needed"
        )
    x = np.asarray(randn(*tensor.shape, dtype=tensor.dtype))
    outside = (x < low) | (x > high)
    while count := int(outside.sum()):
        x[outside] = np.asarray(randn(count, dtype=tensor.dtype))
        outside = (x < low) | (x > high)
    return _fill(tensor, np.clip(x * std + mean, a, b).astype(tensor.dtype))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """`val` everywhere."""
    return _fill(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """0 everywhere."""
    return _fill(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """1 everywhere."""
    return _fill(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity: 1 on the diagonal of a matrix, else 0."""
    if len(tensor.shape) != 2:
        raise ValueError(f"eye_: {core.describe(tensor)}: a matrix is needed")
    return _fill(tensor, np.eye(*tensor.shape, dtype=tensor.dtype))


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out): how many inputs a unit has, and how many units an input feeds."""
    if len(tensor.shape) < 2:
        raise ValueError(
            f"fan in and fan out of {core.describe(tensor)}: two dimensions are needed"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance; `param` is the slope of leaky_relu."""
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: {nonlinearity!r}: one of {', '.join(gains)}")
    return gains[nonlinearity]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """U(-a, a) with a = gain √(6 / (fan_in + fan_out)).  Glorot and Bengio, 2010."""
    bound = gain * math.sqrt(6 / max(sum(fans(tensor)), 1))
    return _uniform(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """N(0, s²) with s = gain √(2 / (fan_in + fan_out)).  Glorot and Bengio, 2010."""
    return _normal(tensor, 0.0, gain * math.sqrt(2 / max(sum(fans(tensor)), 1)))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode={mode!r}: 'fan_in' or 'fan_out'")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """U(-b, b) with b = gain √(3 / fan); `a` is the slope of leaky_relu.  He and others, 2015."""
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return _uniform(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """N(0, s²) with s = gain / √fan; `a` is the slope of leaky_relu.  He and others, 2015."""
    return _normal(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


def orthogonal_(tensor: Tensor, gain: float = 1) -> Tensor:
    """A random matrix with orthonormal rows, or columns if these are fewer, times gain.

    Further dimensions count as columns.  Saxe, McClelland and Ganguli, 2013.
    """
    if len(tensor.shape) < 2:
        raise ValueError(f"orthogonal_: {core.describe(tensor)}: two dimensions are needed")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    a = np.asarray(randn(max(rows, columns), min(rows, columns), dtype=tensor.dtype))
    q, r = np.linalg.qr(a)
    q *= np.where(np.diagonal(r) < 0, -1, 1)  # else q is not uniformly distributed
    q = q.T if rows < columns else q
    return _fill(tensor, from_numpy((gain * q).reshape(tensor.shape).astype(tensor.dtype)))


# ---- the gates of recurrent cells ----------------------------------------------------------------


def gates_(module: Any, **values: Any) -> Any:
    """Fill the parameters of all recurrent cells in `module`, gate by gate; returns the module.

    Each keyword is a parameter of the cells, W, U or b; its value says how each gate's own block of
    it, [I, H], [H, H] or [H], is filled: a number; the name of a function of this module, without the
    underscore; a function that fills a tensor [fan_out, fan_in] in place; or a dict of these by the
    letters of the gates, which leaves the other gates as they are.  What no gate can be told from,
    such as the projection P of an LSTM, is one block.  A matrix of its own belongs to its gate: `U`
    includes the GRU's Un.

    ValueError where no cell has the parameter or the gate.

    >>> import minigrad
    >>> from minigrad import nn
    >>> lstm = nn.LSTM(3, 5, num_layers=2)
    >>> _ = nn.init.gates_(lstm, U="orthogonal", W="xavier_uniform", b=0.0)
    >>> _ = nn.init.gates_(lstm, b={"f": 1.0})
    >>> lstm.cells()[1].b.detach()[3:12]
    tensor([0., 0., 1., 1., 1., 1., 1., 0., 0.])
    """
    cells = [m for m in module.modules() if hasattr(m, "gates")]
    for name, value in values.items():
        found = [blocks for cell in cells if (blocks := _blocks(cell, name))]
        if not found:
            kinds = ", ".join(sorted({type(cell).__name__ for cell in cells})) or "no cell"
            raise ValueError(f"gates_: no parameter {name!r} in {type(module).__name__} ({kinds})")
        by_gate = value if isinstance(value, dict) else {"": value}
        for letters, how in by_gate.items():
            wanted = [b[g] for b in found for g in (letters or b) if g in b]
            unknown = [g for g in letters if not any(g in b for b in found)]
            if unknown:
                known = sorted({"".join(b) or "none" for b in found})
                raise ValueError(
                    f"gates_: no gate {unknown[0]!r} in {name}: the gates there are {', '.join(known)}"
                )
            for parameter, columns in wanted:
                _fill_block(parameter, columns, how)
    return module


def _blocks(cell: Any, name: str) -> dict[str, tuple[Any, slice]]:
    """{gate: (parameter, its columns)}; the gate is "" where there is no telling."""
    own = {g: p for g in cell.gates if isinstance(p := getattr(cell, name + g, None), Tensor)}
    blocks: dict[str, tuple[Any, slice]] = {g: (p, slice(None)) for g, p in own.items()}
    whole = getattr(cell, name, None)
    if isinstance(whole, Tensor):
        size, shared = cell.hidden_size, [g for g in cell.gates if g not in own]
        if whole.shape[-1] == size * len(shared):
            for k, g in enumerate(shared):
                blocks[g] = whole, slice(k * size, (k + 1) * size)
        else:
            blocks[""] = whole, slice(None)
    return blocks


def _fill_block(parameter: Tensor, columns: slice, how: Any) -> None:
    with no_grad():
        block = parameter[..., columns]
        if isinstance(how, (int, float)):
            parameter[..., columns] = how
            return
        fresh = zeros(*block.shape[::-1], dtype=block.dtype)  # [fan_out, fan_in], as in Linear
        _filler(how)(fresh)
        parameter[..., columns] = fresh.mT if len(fresh.shape) > 1 else fresh


def _filler(how: Any) -> Callable[[Tensor], Any]:
    if callable(how):
        return how
    named = {n[:-1]: f for n, f in globals().items() if n.endswith("_") and n != "gates_"}
    known = {n: f for n, f in named.items() if not n.startswith("_")}
    if how not in known:
        raise ValueError(f"gates_: {how!r}: a number, a function, or one of {', '.join(known)}")
    return known[how]
