"""Training by extended Kalman filter: the weights are a hidden state that targets are observations of.

    w_{t+1} = w_t + noise of variance q          y*_t = y(w_t) + noise of variance r

The filter keeps a covariance P of what is not known about the weights, and from the derivatives
H = ∂y/∂w of the outputs computes how far each observation should move each weight:

    A = (r I + H P Hᵀ)⁻¹;   K = P Hᵀ A;   w ← w + K (y* - y);   P ← P - K H P + q I

With P = ∞ and constant H that is recursive least squares; in general it is a method of second order,
which learns from few presentations at a cost of P per step.  The derivation is in docs/learning.md.
"""

from __future__ import annotations

from typing import Any, Callable, Union

import numpy as np

from .. import core
from ..autograd import Tensor, grad
from ..nn import Cell, Linear
from ..nn.module import Module
from ..ops.create import from_numpy
from ..tape import no_grad

Schedule = Union[float, Callable[[int], float]]


def annealed(first: float, last: float, steps: int) -> Callable[[int], float]:
    """From `first` to `last`, > 0, by equal factors over `steps` steps: a schedule for `EKF`'s r and q.

    >>> from minigrad import learn
    >>> q = learn.annealed(1e-2, 1e-6, 1000)
    >>> f"{q(0):.0e} {q(500):.0e} {q(5000):.0e}"
    '1e-02 1e-04 1e-06'
    """
    if not (first > 0 and last > 0 and steps > 0):
        raise ValueError(f"annealed({first}, {last}, {steps}): numbers above 0 are needed")
    return lambda t: first * (last / first) ** min(1.0, t / steps)


def output_jacobian(y: Tensor, params: Any) -> Any:
    """H = ∂y/∂w through the tape, ndarray [m, P], for the m numbers of y and the P of `params`.

    A backward pass for each number: back-propagation through time as far as the graph goes, truncated
    where the state was detached.
    """
    params = list(params)
    rows = np.zeros((y.layout.size, sum(p.layout.size for p in params)), y.dtype)
    for i, row in enumerate(rows):
        one = np.zeros(y.layout.size, y.dtype)
        one[i] = 1
        g = from_numpy(one.reshape(y.shape))
        at = 0
        for p, dp in zip(params, grad(y, params, g, retain_graph=True, allow_unused=True)):
            if dp is not None:
                row[at : at + p.layout.size] = dp.numpy().ravel()
            at += p.layout.size
    return rows


class EKF:
    """Extended Kalman filter training, global or decoupled.  (MISSION B11)

    G. Puskorius and L. Feldkamp, Neurocontrol of Nonlinear Dynamical Systems with Kalman Filter Trained
    Recurrent Networks, 1994.

    model: a Module, or a list of parameters.  Weights of different groups count as independent, so
    that P [n, n] falls apart into one block per group:

        "global"   one group (GEKF): P² numbers
        "layer"    one per module that has parameters
        "node"     one per unit (DEKF): its columns of a cell's W, U, b, of all gates; its row of a
                   Linear's weight and its bias; of other modules, as "layer"

    r, q: variance of the observations' noise, > 0, and of the process noise, >= 0: numbers, or
    functions of the number of steps done, such as `annealed`.  p0: P begins as p0 I.  dtype: of P,
    float64 unless said otherwise, for float32 weights, too.

    One step is numerically safe by its form: with A⁻¹ = L Lᵀ and V = L⁻¹ H P the update is
    P ← P - Vᵀ V + q I, which C computes symmetric to the last bit, in the same pass over P that
    prepares the next step (core.covariance).  Each step checks that P is positive on its diagonal and
    along H, and raises ArithmeticError where rounding has used it up; q > 0 is what prevents this.

        ekf = learn.EKF(model, r=1.0, q=learn.annealed(1e-2, 1e-6, 5000), groups="node")
        for x, target in data:
            ekf.step(model(x), target)

    >>> import minigrad
    >>> from minigrad import learn, nn
    >>> line = nn.Linear(1, 1)
    >>> ekf = learn.EKF(line, r=1e-3)
    >>> for x in (-1.0, 0.0, 1.0):
    ...     _ = ekf.step(line(minigrad.tensor([x])), minigrad.tensor([3 * x + 1]))
    >>> round(line.weight.item(), 2), round(line.bias.item(), 2)
    (3.0, 1.0)
    """

    def __init__(
        self,
        model: Any,
        r: Schedule = 1.0,
        q: Schedule = 0.0,
        p0: float = 100.0,
        groups: str = "global",
        dtype: Any = "float64",
    ) -> None:
        if not p0 > 0:
            raise ValueError(f"EKF: p0={p0}: a variance above 0 is needed")
        self.r, self.q, self.t = r, q, 0
        labels = _labels(model, groups)
        self.params = [p for p, _ in labels]
        if not labels:
            raise ValueError("EKF: there are no parameters to learn")
        flat = np.concatenate([label.ravel() for _, label in labels])
        # of group after group, where each weight is among all
        self._order = np.argsort(flat, kind="stable")
        self.sizes: list[int] = np.unique(flat, return_counts=True)[1].tolist()
        blocks = [p0 * np.eye(n, dtype=dtype).ravel() for n in self.sizes]
        self._P = core.from_numpy(np.concatenate(blocks))
        self._V: Any = None  # what the last step has yet to subtract from P
        self._q = [0.0] * len(self.sizes)

    def step(self, y: Tensor, target: Any, jacobian: Callable[..., Any] = output_jacobian) -> float:
        """Move the weights after observing `target` in place of y; returns ½ ‖target - y‖² of before.

        y: outputs of the model, of any shape, m numbers; those of N sequences are N m observations of
        the same weights, used at once (multi-stream training).  jacobian(y, params) [m, P]: by
        default through the tape, so the window of truncated BPTT is where the state was last
        detached; `learn.RTRL.jacobian` has no window.

        ValueError where y and target differ in shape, or something is not finite; ArithmeticError
        where P is no longer positive definite.  The weights are then as before.
        """
        target = target.numpy() if isinstance(target, Tensor) else np.asarray(target)
        if target.shape != y.shape:
            raise ValueError(f"EKF: outputs {list(y.shape)}, targets {list(target.shape)}")
        r = np.broadcast_to(_at(self.r, self.t), (target.size,))
        q = float(_at(self.q, self.t))
        if not (r > 0).all() or not q >= 0:
            raise ValueError(f"EKF: r={r.min()}, q={q}: r above 0 and q from 0 on are needed")
        error = (target - y.detach().numpy()).astype(self._P.dtype).ravel()
        H = np.ascontiguousarray(jacobian(y, self.params)[:, self._order], self._P.dtype)
        if not (np.isfinite(error).all() and np.isfinite(H).all()):
            raise ValueError("EKF: an output, a target or a derivative is not finite")
        PH = self._pass(H)
        variance = H @ PH.T
        if not (np.diagonal(variance) >= 0).all():
            raise ArithmeticError(_LOST)
        try:
            L = np.linalg.cholesky((variance + variance.T) / 2 + np.diag(r))
        except np.linalg.LinAlgError:
            raise ArithmeticError(_LOST) from None
        V = np.linalg.solve(L, PH)
        change = np.empty(len(self._order), self._P.dtype)
        change[self._order] = V.T @ np.linalg.solve(L, error)
        self._V, self._q = core.from_numpy(V.astype(self._P.dtype)), [q] * len(self.sizes)
        self.t += 1
        at = 0
        with no_grad():
            for p in self.params:
                part = change[at : at + p.layout.size].reshape(p.shape)
                p.add_(from_numpy(part.astype(p.dtype)))
                at += p.layout.size
        return 0.5 * float(error @ error)

    def _pass(self, H: Any) -> Any:
        """P ← P - Vᵀ V + q I for what the last step left, and H P (None for H None)."""
        PH, least = core.covariance(
            self._P, self.sizes, self._V, self._q, None if H is None else core.from_numpy(H)
        )
        self._V, self._q = None, [0.0] * len(self.sizes)
        if not min(least) > 0:
            raise ArithmeticError(_LOST)
        return None if PH is None else PH.numpy()

    @property
    def P(self) -> list[Any]:
        """The covariance of each group: ndarrays [n, n] on the filter's own memory."""
        self._pass(None)
        flat, at = np.asarray(self._P), np.cumsum([0, *(n * n for n in self.sizes)])
        return [flat[i : i + n * n].reshape(n, n) for i, n in zip(at, self.sizes)]

    def eigenvalues(self) -> tuple[float, float]:
        """The smallest and the largest eigenvalue of P: is it positive definite?  n³ per group."""
        found = [np.linalg.eigvalsh(P) for P in self.P]
        return float(min(e[0] for e in found)), float(max(e[-1] for e in found))

    def state_dict(self) -> dict[str, Any]:
        """{"t": steps done, "sizes": of the groups, "P": all covariances, one behind the other}."""
        self._pass(None)
        return {"t": self.t, "sizes": list(self.sizes), "P": from_numpy(np.array(self._P))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the state of another filter of the same model and groups."""
        P = np.array(state["P"], dtype=self._P.dtype)
        if list(state["sizes"]) != self.sizes or P.shape != self._P.shape:
            raise ValueError(
                f"EKF.load_state_dict: groups of {list(state['sizes'])} weights, here {self.sizes}"
            )
        self.t, self._P, self._V = int(state["t"]), core.from_numpy(P), None
        self._q = [0.0] * len(self.sizes)


_LOST = (
    "EKF: the covariance P is no longer positive definite, by rounding: use more process noise q, more "
    "observation noise r, or dtype='float64'"
)


def _at(value: Any, t: int) -> Any:
    return value(t) if callable(value) else value


def _labels(model: Any, groups: str) -> list[tuple[Any, Any]]:
    """(parameter, the group of each of its numbers) for each parameter that is learnt."""
    if groups not in ("global", "layer", "node"):
        raise ValueError(f'EKF: groups={groups!r}: "global", "layer" or "node"')
    if not isinstance(model, Module):
        params = [p for p in model if p.requires_grad]
        if groups == "node":
            raise ValueError("EKF: to find the weights of a node, the model itself is needed")
        return [(p, np.full(p.shape, i if groups == "layer" else 0)) for i, p in enumerate(params)]
    found: dict[Any, Any] = {}
    count = 0
    for module in model.modules():
        own = [p for p in vars(module).values() if isinstance(p, Tensor) and p.requires_grad]
        own = [p for p in own if p not in found]
        labels = [_nodes(module, p) if groups == "node" else np.zeros(p.shape, int) for p in own]
        found.update((p, label + count) for p, label in zip(own, labels))
        if groups != "global":
            count = 1 + max((label.max(initial=0) + count for label in labels), default=count - 1)
    return [(p, found[p]) for p in model.parameters() if p in found]


def _nodes(module: Module, p: Any) -> Any:
    """The unit of `module` to which each number of its parameter p belongs."""
    if isinstance(module, Cell) and p.shape[-1] % module.hidden_size == 0:
        return np.broadcast_to(np.arange(p.shape[-1]) % module.hidden_size, p.shape)
    if isinstance(module, Linear):
        return np.broadcast_to(
            np.arange(p.shape[0]).reshape(-1, *[1] * (len(p.shape) - 1)), p.shape
        )
    return np.zeros(p.shape, int)
