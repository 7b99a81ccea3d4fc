"""Ridge regression in closed form, for the readout of an echo state network.

    W, b = argmin |X W + b - Y|² + ridge |W|²

The rows of X are added block by block, so that a million steps need no more memory than some
thousands.  What is kept of them is the triangle R with RᵀR = [1 X Y]ᵀ[1 X Y], by QR decompositions of
R and the next block below it.  To add up XᵀX itself would square the condition of X, and of the
states of a reservoir half of the digits are in what is then lost: Mackey-Glass is predicted a
hundred times less precisely (examples/mackey_glass.py).  Below the column of ones R is the triangle of
the data taken from their means.  One decomposition of it into singular values, R_X = U S Vᵀ, gives W
for every ridge: V S (S² + ridge)⁻¹ Uᵀ R_Y.

A. Hoerl and R. Kennard, Ridge Regression, Technometrics 12, 1970; for reservoirs: M. Lukoševičius, A
Practical Guide to Applying Echo State Networks, 2012.  MISSION E1, E2, E6.
"""

from __future__ import annotations

import math
from typing import Any, Callable, NamedTuple

import numpy as np

from ..nn import EchoStateNetwork
from ..nn.recurrent import checked_valid
from ..ops.create import from_numpy
from ..tape import no_grad

#: what "auto" tries, in units of the mean eigenvalue of XᵀX: down to what float64 resolves
GRID = 10.0 ** np.arange(-21, 1)


class Ridge:
    """The triangle of all rows added so far, and the solutions that follow from it.

    features K, outputs O; bias=False: b is 0, and nothing is taken from the means.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> ridge = Ridge(3, 1)
    >>> ridge.add(X[:50], X[:50, :1] + 5)
    >>> ridge.add(X[50:], X[50:, :1] + 5)
    >>> W, b = ridge.solve([0.0])[0]
    >>> abs(W.ravel() - [1, 0, 0]).max() < 1e-12, abs(b - 5).max() < 1e-12
    (np.True_, np.True_)
    """

    def __init__(self, features: int, outputs: int, bias: bool = True) -> None:
        self.features, self.outputs, self.bias = features, outputs, bias
        self.rows = 0
        self.triangle: Any = np.zeros((0, bias + features + outputs))

    def add(self, X: Any, Y: Any) -> None:
        """Rows X [rows, K] with targets Y [rows, O], float64."""
        if not len(X):
            return
        self.rows += len(X)
        block = np.concatenate([np.ones((len(X), int(self.bias))), X, Y], 1)
        self.triangle = np.asarray(np.linalg.qr(np.concatenate([self.triangle, block]), mode="r"))

    def _parts(self) -> tuple[Any, Any]:
        """(R_X, R_Y), of the data taken from their means if there is a bias."""
        if not self.rows:
            raise ValueError("ridge regression: no rows are left: take more steps or less washout")
        first, last = int(self.bias), int(self.bias) + self.features
        return self.triangle[first:last, first:last], self.triangle[first:last, last:]

    def solve(self, ridges: Any) -> list[tuple[Any, Any]]:
        """(W [K, O], b [O]) for each ridge.  What the rows do not determine is 0, even without."""
        R, targets = self._parts()
        U, S, Vt = np.linalg.svd(R, full_matrices=False)
        rotated = U.T @ targets
        found, keep = [], np.finfo(float).eps * S.max(initial=0) < S
        for ridge in ridges:
            gain = np.where(keep, S, 0) / (np.where(keep, S, 1) ** 2 + ridge)
            W = Vt.T @ (gain[:, None] * rotated)
            b = np.zeros(self.outputs)
            if self.bias:
                top = self.triangle[0, 1:]
                b = (top[self.features :] - top[: self.features] @ W) / self.triangle[0, 0]
            found.append((W, b))
        return found

    def scale(self) -> float:
        """The mean eigenvalue of XᵀX, taken from the means if there is a bias."""
        return float((self._parts()[0] ** 2).sum()) / max(self.features, 1)


class Fit(NamedTuple):
    """What `fit` did."""

    ridge: Any  #: the regularisation, or {name: that of this readout}
    ridges: Any  #: those tried [L], ascending
    curve: Any  #: NRMSE of the validation part for each [L], or {name: [L]}; None: nothing tried
    state: Any  #: of the network after the last step, of teacher forcing if there is feedback
    rows: int  #: how many steps the readout was computed from


def nrmse(prediction: Any, target: Any) -> float:
    """√(Σ (prediction - target)² / Σ (target - its mean)²), over all steps and outputs."""
    a, b = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    spread = ((b - b.reshape(-1, b.shape[-1]).mean(0)) ** 2).sum()
    return float(np.sqrt(((a - b) ** 2).sum() / spread))


def fit(
    esn: EchoStateNetwork,
    u: Any,
    y: Any,
    washout: int = 0,
    ridge: Any = "auto",
    validation: float = 0.2,
    lengths: Any = None,
    state: Any = None,
) -> Fit:
    """Set the readout of `esn` to the ridge regression of y on what it reads.

    u [T, N, I], or [T, I] without batch (None: no inputs); y [T, N, O], tensors or ndarrays, or {name:
    [T, N, ·]} for a network with named readouts.  The first `washout` steps of each sequence, and what
    is beyond its length, do not count.  With feedback the reservoir hears y (teacher forcing).  For
    classes, y are ones and zeros.  Noise of the reservoir is on while this runs; afterwards the network
    is in evaluation mode.

    ridge: a number; or several, of which each readout takes that with the least error on what is held
    back, the share `validation`: the last steps of one sequence, the last sequences of a batch; then all
    is fitted again with it.  "auto": 10⁻²¹ … 1 times the mean eigenvalue of XᵀX.

    >>> import minigrad
    >>> from minigrad import nn, learn
    >>> u = minigrad.randn(600, 1)
    >>> esn = nn.EchoStateNetwork(1, 50, 1, seed=1)
    >>> found = learn.readout.fit(esn, u[1:], u[:-1], washout=50)   # remember the input before
    >>> learn.readout.nrmse(esn(u[1:])[0][50:], u[50:-1]) < 0.1
    True
    """
    if not hasattr(esn, "joined"):
        raise TypeError(f"fit: {type(esn).__name__}: an EchoStateNetwork is needed")
    y = esn.joined(y)
    if u is None:
        u = np.zeros((*y.shape[:-1], 0))
    u = np.asarray(u)
    single = u.ndim == 2
    if single:
        u, y = u[:, None], y.reshape(len(y), 1, -1)
        state = None if state is None else tuple(s.reshape(1, -1) for s in state)
    if u.ndim != 3 or u.shape[2] != esn.inputs or y.shape != (*u.shape[:2], esn.outputs):
        raise ValueError(
            f"fit: u {list(u.shape)} and y {list(y.shape)}: [T, N, {esn.inputs}] and "
            f"[T, N, {esn.outputs}] are needed"
        )
    steps, n = u.shape[:2]
    if not 0 <= washout < steps:
        raise ValueError(f"fit: washout={washout} of {steps} steps: from 0 to below T")
    choose = isinstance(ridge, str) or np.ndim(ridge) > 0
    if isinstance(ridge, str) and ridge != "auto":
        raise ValueError(f'fit: ridge={ridge!r}: "auto", a number or several')
    if not isinstance(ridge, str) and not (np.asarray(ridge) >= 0).all():
        raise ValueError(f"fit: ridge={ridge}: 0 or more is needed")
    if choose and not 0 < validation < 1:
        raise ValueError(f"fit: validation={validation}: a share between 0 and 1 is needed")
    if not (np.isfinite(u).all() and np.isfinite(y).all()) and lengths is None:
        raise ValueError("fit: u or y holds NaN or infinity")
    valid = checked_valid(lengths, None, steps, n)
    counts = np.full(n, steps) if valid is None else valid.sum(0)
    data = _Data(esn, u, y, counts, washout)
    state = esn.start(state, n)
    features = sum(esn.readout.sizes[p] for p in esn.readout.parts if p != "bias")
    solver = Ridge(features, esn.outputs, "bias" in esn.readout.parts)
    training = esn.training
    esn.train()
    try:
        if not choose:
            everything = slice(None)
            state = data.each(everything, everything, state, solver.add)
            ridges, curves = np.array([ridge], float), None
            chosen = dict.fromkeys(_groups(esn), float(ridge))
        else:
            state, ridges, chosen, curves = _validated(data, solver, ridge, validation, state)
        _store(esn, solver, chosen)
    except BaseException:
        esn.train(training)
        raise
    esn.eval()
    if single:
        state = tuple(s[0] for s in state)
    if esn.names is not None:
        return Fit(chosen, ridges, curves, state, solver.rows)
    return Fit(chosen[""], ridges, curves and curves[""], state, solver.rows)


def _groups(esn: EchoStateNetwork) -> dict[str, int]:
    """How many columns each readout has; a single one has no name."""
    return esn.names or {"": esn.outputs}


class _Data:
    """Inputs and targets, and what the readout reads of them."""

    def __init__(self, esn: EchoStateNetwork, u: Any, y: Any, counts: Any, washout: int) -> None:
        self.esn, self.u, self.y, self.counts, self.washout = esn, u, y, counts, washout

    def each(
        self, steps: slice, sequences: slice, state: Any, use: Callable[[Any, Any], None]
    ) -> Any:
        """Call use(X, Y) for blocks of rows of this part; gives the state after it."""
        esn, dtype = self.esn, self.esn.cell.W.dtype
        begin, end, _ = steps.indices(len(self.u))
        u, y, counts = self.u[:, sequences], self.y[:, sequences], self.counts[sequences]
        state = tuple(from_numpy(np.asarray(s)[sequences].copy()) for s in state)
        width = esn.cell.hidden_size + esn.inputs + esn.outputs + 1
        rows = max(1024, min(4 * width, (1 << 23) // width))  # a block is to outweigh the triangle
        each = max(1, rows // max(1, u.shape[1]))
        for low in range(begin, end, each):
            high = min(low + each, end)
            inputs, targets = (from_numpy(a[low:high].astype(dtype)) for a in (u, y))
            lengths = np.clip(counts - low, 0, high - low)
            with no_grad():
                h, back, state = esn.states(
                    inputs,
                    state,
                    None if (lengths == high - low).all() else lengths,
                    targets if esn.feedback else None,
                )
                X = esn.readout.features(inputs, h, back)
            t = np.arange(low, high)[:, None]
            valid = (t >= self.washout) & (t < counts)
            use(X[valid].astype(np.float64), y[low:high][valid].astype(np.float64))
        return state


def _validated(data: _Data, solver: Ridge, ridge: Any, share: float, state: Any) -> Any:
    """(state, ridges, {name: chosen}, {name: curve}); everything is in `solver` afterwards."""
    esn, everything = data.esn, slice(None)
    steps, n = data.u.shape[:2]
    if n == 1:
        border = steps - math.ceil(share * (steps - data.washout))
        parts = [(slice(0, border), everything), (slice(border, None), everything)]
    else:
        border = n - math.ceil(share * n)
        parts = [(everything, slice(0, border)), (everything, slice(border, None))]
    between = data.each(*parts[0], state, solver.add)
    ridges = GRID * solver.scale() if isinstance(ridge, str) else np.sort(np.asarray(ridge, float))
    solutions = solver.solve(ridges)
    weights, bias = (np.concatenate([s[i] for s in solutions], -1) for i in (0, 1))
    errors = np.zeros((len(ridges), esn.outputs))
    moments = np.zeros((3, esn.outputs))  # of the targets: number, sum, sum of squares
    origin = np.nan_to_num(data.y[data.washout, 0])  # lest sums of squares drown their difference

    def compare(X: Any, Y: Any) -> None:
        shape = (len(X), len(ridges), esn.outputs)
        errors[...] += ((((X @ weights) + bias).reshape(shape) - Y[:, None]) ** 2).sum(0)
        centred = Y - origin
        moments[0] += len(Y)
        moments[1:] += centred.sum(0), (centred**2).sum(0)
        solver.add(X, Y)

    after = data.each(*parts[1], state if n > 1 else between, compare)
    if not moments[0].all():
        raise ValueError("fit: nothing is held back to validate on: more data, or ridge=a number")
    if n > 1:
        after = tuple(
            np.concatenate([np.asarray(a), np.asarray(b)]) for a, b in zip(between, after)
        )
        after = tuple(map(from_numpy, after))
    spread = np.maximum(moments[2] - moments[1] ** 2 / moments[0], np.finfo(float).tiny)
    chosen, curves, at = {}, {}, 0
    for name, size in _groups(esn).items():
        own = slice(at, at + size)
        at += size
        curves[name] = np.sqrt(errors[:, own].sum(1) / spread[own].sum())
        chosen[name] = float(ridges[np.argmin(curves[name])])
    return after, ridges, chosen, curves


def _store(esn: EchoStateNetwork, solver: Ridge, chosen: dict[str, float]) -> None:
    """Solve with the ridges chosen, each for the columns of its readout."""
    ridges = sorted(set(chosen.values()))
    solutions = dict(zip(ridges, solver.solve(ridges)))
    columns, at = [], 0
    for name, size in _groups(esn).items():
        W, bias = solutions[chosen[name]]
        W = np.concatenate([bias[None], W]) if solver.bias else W
        columns.append(W[:, at : at + size])
        at += size
    with no_grad():
        esn.readout.W.copy_(from_numpy(np.concatenate(columns, 1).astype(esn.readout.W.dtype)))
