"""Back-propagation through time, taken apart.

With L = Σ_t L_t, s_t the state after step t (h, or h and c side by side), and a parameter θ:

    ∂L/∂θ = Σ_t Σ_{k≤t}  ∂L_t/∂s_t · (Π_{j=k+1…t} ∂s_j/∂s_{j-1}) · ∂⁺s_k/∂θ

∂⁺ is the immediate derivative: s_{k-1} is held.  Autograd gives the double sum as one number per
weight; here each term, each factor and their norms can be had.  It takes T times the memory and T
times the time, so it is for looking, not for training, and costs nothing where it is not asked for.

The terms, the step Jacobians and their bound: R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty
of training recurrent neural networks, 2013.  (MISSION B1–B3, B13)
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any, Callable, NamedTuple

import numpy as np

from ..autograd import Tensor, grad
from ..nn import Cell
from ..ops.create import from_numpy
from ..ops.shape import unbind
from ..tape import enable_grad
from .jacobians import Transition, differentiate

LossOf = Callable[[int, Tensor], Any]


class BPTT:
    """The gradient of Σ_t loss_of(t, y_t) through `model`, unrolled over x [T, N, I], in its parts.

    model: a Cell, or layers of cells (`learn.Transition` says which).  loss_of(t, y_t [N, O]) is a
    tensor with one element, or None where step t has no loss.  All arrays are NumPy's, in the type of
    the model; float64 is advisable.  State s: n numbers per sequence; [t] is after step t = 0 … T - 1.

    >>> import minigrad
    >>> from minigrad import learn, nn
    >>> cell = nn.RNNCell(2, 3, dtype="float64")
    >>> x = minigrad.randn(5, 4, 2, dtype="float64")
    >>> parts = learn.BPTT(cell, x, lambda t, y: (y * y).sum())
    >>> terms = parts.terms("U")
    >>> terms.shape
    (5, 5, 3, 3)
    >>> parts.check() < 1e-12
    True
    """

    def __init__(self, model: Any, x: Tensor, loss_of: LossOf, state: Any = None) -> None:
        self.transition = F = Transition(model)
        self.T, self.N = x.shape[:2]
        self._x, self._loss_of = x.detach(), loss_of
        self._initial = F.checked(state, self.N)
        self.losses = np.zeros(self.T)  #: L_t
        #: s_{-1}, s_0, …: T + 1 arrays [N, n]
        self.states: list[Any] = [_row(F.reals(self._initial))]
        J, D, delta = [], [], []
        s: Any = self._initial
        for t, x_t in enumerate(unbind(self._x)):
            step = differentiate(F, x_t, s)
            y, rows = step.y.detach().requires_grad_(), np.zeros((self.N, step.m))
            with enable_grad():
                loss = loss_of(t, y)
            if loss is not None:
                self.losses[t] = loss.item()
                (g,) = grad(loss, y, allow_unused=True)
                if g is not None:
                    at = F.n  # the rows of y: its own, or those of the state that it is
                    if step.m == F.n:
                        at = sum(F.widths[: [a is step.y for a in F.reals(step.state)].index(True)])
                    rows[:, at : at + y.shape[1]] = np.asarray(g)
            J.append(np.asarray(step.J))
            D.append(np.asarray(step.D))
            delta.append(rows)
            s = step.state
            self.states.append(_row(F.reals(s)))
        #: ∂L_t/∂s_t [T, N, m] of the step's own loss; m > n where y is not one of the states
        self.delta = np.array(delta)
        self._J, self._D = np.array(J), np.array(D)

    @property
    def J(self) -> Any:
        """The step Jacobians ∂s_t/∂s_{t-1} [T, N, n, n]."""
        return self._J[:, :, : self.transition.n]

    @cached_property
    def products(self) -> Any:
        """∂s_t/∂s_k [T, T, N, n, n] = J_t J_{t-1} … J_{k+1} for k ≤ t; zeros above."""
        n = self.transition.n
        P = np.zeros((self.T, self.T, self.N, n, n))
        for t in range(self.T):
            P[t, t] = np.eye(n)
            for k in range(t - 1, -1, -1):
                P[t, k] = P[t, k + 1] @ self.J[k + 1]
        return P

    @cached_property
    def norms(self) -> Any:
        """‖∂s_t/∂s_k‖, the largest singular value, [T, T, N]."""
        return np.linalg.norm(self.products, 2, axis=(-2, -1))

    @cached_property
    def bound(self) -> Any:
        """Π_{j=k+1…t} ‖J_j‖ ≥ ‖∂s_t/∂s_k‖ [T, T, N].

        For h' = f(x W + h U + b) a factor is at most β_W β_h with β_W = ‖U‖ and β_h = max |f'|, so
        this is itself at most (β_W β_h)^(t-k): `elman_bound`.
        """
        each = np.linalg.norm(self.J, 2, axis=(-2, -1))
        result = np.zeros((self.T, self.T, self.N))
        for t in range(self.T):
            result[t, t] = 1
            for k in range(t - 1, -1, -1):
                result[t, k] = result[t, k + 1] * each[k + 1]
        return result

    @cached_property
    def arriving(self) -> Any:
        """∂L_t/∂s_k [T, T, N, n] for k ≤ t: what of the error of step t arrives at step k."""
        n = self.transition.n
        result = np.zeros((self.T, self.T, self.N, n))
        for t in range(self.T):
            result[t, t] = self.delta[t][:, :n]  # rows of y's own, if any, go through _J below
            error = self.delta[t]
            for k in range(t, 0, -1):
                error = np.einsum("bm,bmn->bn", error, self._J[k][:, : error.shape[1]])
                result[t, k - 1] = error
        return result

    def terms(self, name: str) -> Any:
        """The terms of the double sum for one parameter, [T, T, *shape]: [t, k], summed over the batch.

        Row t: by which uses of the parameter the loss of step t complains; zeros for k > t.
        """
        F = self.transition
        if name not in F.parameters:
            raise ValueError(f"terms: no parameter {name!r}; there are {', '.join(F.parameters)}")
        p, at = F.parameters[name], F.places[name]
        D = self._D[..., at : at + p.layout.size]
        result = np.zeros((self.T, self.T, p.layout.size))
        for t in range(self.T):
            result[t, t] = np.einsum("bm,bmp->p", self.delta[t], D[t])
            for k in range(t):
                result[t, k] = np.einsum("bn,bnp->p", self.arriving[t, k], D[k][:, : F.n])
        return result.reshape(self.T, self.T, *p.shape)

    def check(self) -> float:
        """How far the sums of the terms are from autograd's gradient: the largest relative difference.

        AssertionError if that is more than rounding explains (1e-9 in float64, 1e-3 in float32).
        """
        F, total = self.transition, None
        with enable_grad():
            s = self._initial
            for t, x_t in enumerate(unbind(self._x)):
                y, s = F(x_t, s)
                loss = self._loss_of(t, y)
                if loss is not None:
                    total = loss if total is None else total + loss
        worst = 0.0
        ps = list(F.parameters.values())
        found: Any = [None] * len(ps)
        if total is not None and total.requires_grad:
            found = grad(total, ps, allow_unused=True)
        for (name, p), g in zip(F.parameters.items(), found):
            wanted = np.zeros(p.shape) if g is None else np.asarray(g)
            terms = self.terms(name)
            scale = max(float(np.abs(terms).sum((0, 1)).max(initial=0)), np.finfo(p.dtype).tiny)
            off = float(np.abs(terms.sum((0, 1)) - wanted).max(initial=0)) / scale
            worst = max(worst, off)
            most = 1e-9 if p.dtype == np.float64 else 1e-3
            assert off < most, f"{name}: the terms and autograd differ by {off:.1e}"
        return worst


def elman_bound(cell: Any, slope: float = 1.0) -> float:
    """β_W β_h for h' = f(x W + h U + b): ‖U‖ max |f'|; slope: max |f'|, 1 for tanh and relu.

    ‖∂h_t/∂h_k‖ ≤ (β_W β_h)^(t-k).  Below 1, gradients must vanish; above 1, they may explode.
    """
    return float(np.linalg.norm(np.asarray(cell.U.detach()), 2)) * slope


# ---- which way the gradient goes -------------------------------------------------------------------


class Flow(NamedTuple):
    """Where the gradient of a loss is, at each step; norms over units, one per sequence."""

    state: Any  #: ‖∂L/∂s‖ [T + 1, N]: of the initial state, then after each step
    input: Any  #: ‖∂L/∂x_t‖ [T, N]: which inputs caused the error (MISSION B13)
    #: ‖what step t hands back to s_{t-1}‖ [T, N], split by the way it takes: through each gate, and
    #: "direct" for what goes through none, as in an LSTM from c' to c.  These sum up (as vectors) to
    #: the whole.  A gate that acts only through another one, as a GRU's r through n, is part of that.
    paths: dict[str, Any]
    vectors: dict[str, Any]  #: the same, not their norms: [T, N, n]


def gradient_flow(cell: Cell, x: Tensor, loss_of: LossOf, state: Any = None) -> Flow:
    """The gradient of Σ_t loss_of(t, y_t) on its way back through `cell`, over x [T, N, I].

    The paths need the cell to say what its gates are (`Cell.activations`); of one that does not, only
    "direct" is there, which is then everything.

    >>> import minigrad
    >>> from minigrad import learn, nn
    >>> cell = nn.LSTMCell(2, 3, dtype="float64")
    >>> x = minigrad.randn(9, 1, 2, dtype="float64")
    >>> flow = learn.gradient_flow(cell, x, lambda t, y: y.sum() if t == 8 else None)
    >>> flow.state.shape, flow.input.shape, sorted(flow.paths)
    ((10, 1), (9, 1), ['direct', 'f', 'g', 'i', 'o'])
    """
    if not isinstance(cell, Cell):
        raise TypeError(
            f"gradient_flow: {type(cell).__name__}: a cell is needed, of layers each one of its cells()"
        )
    x = x.detach().requires_grad_()
    T, N = x.shape[:2]
    F = Transition(cell)
    before = F.leaves(cell.checked(state, N))
    with enable_grad():
        zs = unbind(cell.project(x))
        states, total, s = [before], None, before
        for t in range(T):
            y, new = cell.advance(zs[t], s)
            # tensors of their own: h' depends on c', but in the state the two stand side by side
            s = tuple(v * 1.0 if real else v for v, real in zip(new, F.real))
            states.append(s)
            loss = loss_of(t, next((a for a, b in zip(s, new) if b is y), y))
            if loss is not None:
                total = loss if total is None else total + loss
    flat = [v for s in states for v in F.reals(s)]
    found = _gradients(total, [x, *flat])
    width = len(F.widths)
    rows = [found[1 + i * width : 1 + (i + 1) * width] for i in range(T + 1)]
    arrived = np.stack([np.concatenate(row, -1) for row in rows])
    vectors: dict[str, list[Any]] = {}
    for t in range(T):
        for name, v in _ways(F, cell, zs[t], states[t], rows[t + 1]).items():
            vectors.setdefault(name, []).append(v)
    whole = {name: np.stack(v) for name, v in vectors.items()}
    paths = {name: np.linalg.norm(v, axis=-1) for name, v in whole.items()}
    norm = np.linalg.norm
    return Flow(norm(arrived, axis=-1), norm(found[0], axis=-1), paths, whole)


def _ways(F: Transition, cell: Cell, z: Tensor, state: Any, g: list[Any]) -> dict[str, Any]:
    """The gradient with respect to `state` [N, n] through each gate, and past them all."""
    z = z.detach()
    old = F.leaves(state)
    with enable_grad():
        gates = cell.activations(z, old)
        held = tuple(a.detach().requires_grad_() for a in gates)
        past = F.leaves(state)
        twin: Any = copy.copy(cell)
        if held:
            vars(twin)["activations"] = lambda *_: held
        _, new = twin.advance(z, past)
        errors = [from_numpy(e) for e in g]
    past, old = F.reals(past), F.reals(old)
    through = _gradients(F.reals(new), [*past, *held], errors)
    result = {"direct": np.concatenate(through[: len(past)], -1)}
    for letter, a, e in zip(cell.gates, gates, through[len(past) :]):
        result[letter] = np.concatenate(_gradients([a], list(old), [from_numpy(e)]), -1)
    return result


def _gradients(ys: Any, xs: list[Any], gs: Any = None) -> list[Any]:
    """`grad`, with zeros where nothing depends on something, as ndarrays."""
    pairs = zip(ys, gs) if gs is not None else [] if ys is None else [(ys, None)]
    kept = [(y, g) for y, g in pairs if y.requires_grad]
    if not kept:
        return [np.zeros(x.shape, x.dtype) for x in xs]
    found = grad(
        [y for y, _ in kept], xs, [g for _, g in kept], retain_graph=True, allow_unused=True
    )
    return [np.zeros(x.shape, x.dtype) if g is None else np.asarray(g) for x, g in zip(xs, found)]


def _row(state: Any) -> Any:
    return np.concatenate([np.asarray(s.detach()) for s in state], -1)
