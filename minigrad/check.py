"""Are the gradients right?  Backward against central differences, element by element.

Entry (j, i) of the Jacobian of a function f is d output_j / d input_i.  Backward gives it row by
row, one pass from each element of the output; central differences give it column by column,

    (f(x + eps e_i) - f(x - eps e_i)) / (2 eps),

with an error of about eps² f''' / 6 + 1e-16 |f| / eps: some 1e-10 where f and its derivatives are
near 1, but 1e-1 in float32, which is why float64 is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Callable, Union

import numpy as np

from . import autograd, core
from .autograd import Tensor, grad
from .tape import enable_grad

Inputs = Union[Any, Sequence[Any]]  # a tensor, or a sequence of tensors and other things


class GradcheckError(RuntimeError):
    """Backward and central differences disagree."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Inputs,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether backward b and central differences c agree: |b - c| <= atol + rtol |c|.

    Checked are the derivatives of every element of every float output of `func(*inputs)` by every
    element of every input that requires gradients; other inputs are handed on as they are.
    Outputs may be a tensor or nested sequences of tensors.  The inputs are changed by eps in place
    and put back, so that `gradcheck(lambda *_: model(x), list(model.parameters()))` works.

    ValueError if there is nothing to check, or if something is not float64.  GradcheckError, naming
    the worst entry, if the two disagree; False instead without raise_exception.

    >>> import minigrad
    >>> x = minigrad.tensor([0.5, 2.0], dtype=minigrad.float64, requires_grad=True)
    >>> minigrad.gradcheck(lambda x: x.log().sum(), x)
    True
    """
    try:
        for analytic, numeric, of, by in _jacobians(func, _listed(inputs), eps):
            _compare(analytic, numeric, of, by, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Inputs,
    grad_outputs: Inputs | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """The same for second derivatives: `gradcheck` of (inputs, gradients) -> backward of `func`.

    The gradients to start backward from, `grad_outputs`, are random where they are not given.
    """
    xs = _listed(inputs)
    if grad_outputs is None:
        random = np.random.default_rng(0)
        ys = _outputs(func, xs)
        gs = [core.from_numpy(np.asarray(random.standard_normal(y.shape))) for y in ys]
        gs = [g.requires_grad_() for g in gs]
    else:
        gs = _listed(grad_outputs)

    def backward(*args: Any) -> tuple[Tensor, ...]:
        xs, gs = args[: len(args) - count], args[len(args) - count :]
        found = [(y, g) for y, g in zip(_outputs(func, xs), gs) if y.requires_grad]
        if not found:
            return ()
        outputs, weights = zip(*found)
        wanted = [x for x in xs if _tracked(x)]
        dxs = grad(outputs, wanted, weights, create_graph=True, allow_unused=True)
        return tuple(dx for dx in dxs if dx is not None)

    count = len(gs)
    options = {"eps": eps, "atol": atol, "rtol": rtol, "raise_exception": raise_exception}
    return gradcheck(backward, [*xs, *gs], **options)  # type: ignore[arg-type]


# ---- inputs and outputs --------------------------------------------------------------------------


def _listed(inputs: Inputs) -> list[Any]:
    return [inputs] if isinstance(inputs, Tensor) else list(inputs)


def _tracked(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _flat(result: Any) -> Iterator[Tensor]:
    """The tensors in nested sequences."""
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, (tuple, list)):
        for part in result:
            yield from _flat(part)
    elif result is not None:
        message = f"gradcheck: the function returned {type(result).__name__}, not a tensor"
        raise TypeError(message)


def _outputs(func: Callable[..., Any], xs: Sequence[Any]) -> list[Tensor]:
    """The float outputs of the function: integers have no derivative."""
    with enable_grad():
        ys = [y for y in _flat(func(*xs)) if y.layout.code in (core.F32, core.F64)]
    for i, y in enumerate(ys):
        if y.layout.code == core.F32:
            message = f"gradcheck: output {i} is {core.describe(y)}: float64 is needed throughout"
            raise ValueError(message)
    return ys


def _checked(xs: Sequence[Any]) -> list[tuple[int, Tensor, Any]]:
    """(position, tensor, ndarray on its memory) of each input to check."""
    found = []
    for i, x in enumerate(xs):
        if not _tracked(x):
            continue
        if x.layout.code != core.F64:
            message = (
                f"gradcheck: input {i} is {core.describe(x)}: float64 is needed, since differences "
                f"in float32 are mostly rounding error: make it with dtype=minigrad.float64"
            )
            raise ValueError(message)
        if x.layout.size and any(
            n > 1 and step == 0 for n, step in zip(x.shape, core.strides_of(x))
        ):
            message = f"gradcheck: input {i} repeats its elements (expand): clone() it first"
            raise ValueError(message)
        found.append((i, x, np.asarray(x)))
    if not found:
        message = "gradcheck: no input requires gradients: there is nothing to check"
        raise ValueError(message)
    return found


# ---- the two Jacobians -------------------------------------------------------------------------


def _values(func: Callable[..., Any], xs: Sequence[Any]) -> list[Any]:
    return [np.array(y) for y in _outputs(func, xs)]


def _jacobians(
    func: Callable[..., Any], xs: Sequence[Any], eps: float
) -> Iterator[tuple[Any, Any, str, str]]:
    """For each output and input: (by backward, by differences, names); [output..., input...]."""
    checked = _checked(xs)
    ys = _outputs(func, xs)
    for k, (y, again) in enumerate(zip(ys, _values(func, xs))):
        if not np.array_equal(np.asarray(y), again, equal_nan=True):
            message = (
                f"output {k} differs between two calls with the same inputs: a random function, "
                f"such as dropout in training mode, has no gradient to check"
            )
            raise GradcheckError(message)
    analytic = [_by_backward(y, [x for _, x, _ in checked]) for y in ys]
    for j, (i, x, a) in enumerate(checked):
        numeric = _by_differences(func, xs, x, a, ys, eps)
        for k, y in enumerate(ys):
            of, by = f"output {k} {list(y.shape)}", f"input {i} {list(x.shape)}"
            yield analytic[k][j], numeric[k], of, by


def _by_backward(y: Tensor, xs: Sequence[Tensor]) -> list[Any]:
    """For each x the derivatives of y, [y..., x...]: one backward pass per element of y."""
    rows = [np.zeros((*y.shape, *x.shape)) for x in xs]
    if not y.requires_grad:  # it then depends on no x, or a detach hides that it does
        return rows
    for at in np.ndindex(y.shape):
        one = np.zeros(y.shape)
        one[at] = 1
        g = core.from_numpy(one)
        dxs = grad(y, xs, g, retain_graph=True, allow_unused=True)
        for row, x, dx in zip(rows, xs, dxs):
            if dx is None:
                continue
            if dx.layout.shape != x.layout.shape or dx.layout.code != x.layout.code:
                message = f"backward gave {core.describe(dx)} for an input {core.describe(x)}"
                raise GradcheckError(message)
            row[at] = np.asarray(dx)
    return rows


def _by_differences(
    func: Callable[..., Any], xs: Sequence[Any], x: Tensor, a: Any, ys: Sequence[Tensor], eps: float
) -> list[Any]:
    """For each y the derivatives by x, [y..., x...]: two evaluations per element of x."""
    columns = [np.zeros((*y.shape, *x.shape)) for y in ys]
    for at in np.ndindex(x.shape):
        before = a[at].copy()
        try:
            a[at] = before + eps
            upper, above = _values(func, xs), a[at].copy()
            a[at] = before - eps
            lower, below = _values(func, xs), a[at].copy()
        finally:
            a[at] = before
        place = (..., *at)
        for column, high, low in zip(columns, upper, lower):
            column[place] = (high - low) / (above - below)  # by what eps became in rounding
    return columns


def _compare(analytic: Any, numeric: Any, of: str, by: str, atol: float, rtol: float) -> None:
    """GradcheckError, naming the worst entry, where the two differ by more than the tolerance."""
    error, tolerance = np.abs(analytic - numeric), atol + rtol * np.abs(numeric)
    wrong = ~(error <= tolerance)  # so that NaN is wrong
    if not wrong.any():
        return
    excess = np.where(np.isnan(error), np.inf, error - tolerance)
    worst = np.unravel_index(np.argmax(np.where(wrong, excess, -np.inf)), error.shape)
    message = (
        f"the derivative of {of} with respect to {by} is wrong in {wrong.sum()} of {wrong.size} "
        f"entries; the worst, at {[int(i) for i in worst]} of [output..., input...]: backward "
        f"gives {analytic[worst]:.9g}, central differences {numeric[worst]:.9g}; they differ by "
        f"{error[worst]:.3g}; tolerance {tolerance[worst]:.3g} (atol={atol:g}, rtol={rtol:g})"
    )
    raise GradcheckError(message)


# PyTorch has these two in torch.autograd as well.
autograd.gradcheck, autograd.gradgradcheck = gradcheck, gradgradcheck  # type: ignore[attr-defined]
