"""The derivatives of one step of a recurrent network, for any cell.

A step is a map, s' = F(x, s, θ), from the input, the state and the parameters to the new state.  For
this file the state is one row of n numbers for each sequence of a batch: all the states of the cell,
(h, c) of an LSTM, one after another, and of several layers those of each layer.  Then

    J = ∂s'/∂s     [N, n, n]  the step Jacobian ∂h_j/∂h_{j-1}; [s, i, k]: of number i by number k
    D = ∂⁺s'/∂θ    [N, n, P]  the immediate derivative: s is held, as if it did not depend on θ

Sequences of a batch do not know each other, so there is one of each per sequence.  P counts the
numbers of all parameters, in the order of `named_parameters`.

Any cell goes through the tape, one backward pass per row of J and of D.  For RNNCell, LSTMCell without
a projection and both forms of GRUCell C writes J and what D is made of in about the time of one step
(cextension/kernels/jacobian.inc), and tests/test_jacobians.py compares the two.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from .. import core
from ..autograd import Tensor, grad
from ..nn import Cell, Layers, Recurrent, Stack
from ..nn.fused import kernel_of
from ..nn.module import Module, Parameter
from ..ops.create import from_numpy, zeros
from ..ops.shape import cat, reshape
from ..tape import enable_grad, no_grad

State = tuple[Tensor, ...]


def _cells(model: Any) -> list[Cell]:
    """The cells of a model, layer by layer, the lowest first."""
    if isinstance(model, Recurrent) and not model.reverse:
        return _cells(model.cell)
    if isinstance(model, Cell) and not (model.training and (model.zoneout or model.draws)):
        return [model]
    if isinstance(model, Stack) and not (model.dropout and model.training):
        return [cell for layer in model.layers for cell in _cells(layer)]
    if isinstance(model, Layers):
        return _cells(model.stack)
    raise TypeError(
        f"{type(model).__name__}: a cell, or layers of cells forwards in time and without dropout "
        f"or zoneout, are needed to go through time step by step; write what is special as a Cell of "
        f"your own"
    )


def _nested(layer: Any, states: Iterator[Tensor]) -> Any:
    """The state of a Recurrent or a Stack from that of its cells one after another."""
    if isinstance(layer, Stack):
        return tuple(_nested(part, states) for part in layer.layers)
    return tuple(next(states) for _ in layer.cell.states)


class Transition:
    """A cell, or layers of cells, as one map from input and state to output and new state.

    model: a Cell, Recurrent, Stack or Layers such as nn.LSTM; TypeError where its output at one time
    depends on the future, or on chance.  The state is a flat tuple, layer by layer.

    >>> from minigrad import learn, nn
    >>> F = learn.Transition(nn.LSTM(3, 5, num_layers=2))
    >>> F.n, F.size, list(F.places.items())[:2]
    (20, 400, [('stack.layers.0.cell.W', 0), ('stack.layers.0.cell.U', 60)])
    """

    def __init__(self, model: Module) -> None:
        self.model = model
        self.cells = _cells(model)
        initial = [s for cell in self.cells for s in cell.initial(1)]
        #: which states are numbers that have derivatives; others, such as a clock, only come along
        self.real = [s.layout.code <= core.F64 for s in initial]
        self.widths = [s.shape[1] for s in self.reals(initial)]
        self.n = sum(self.widths)
        #: those that are learnt
        self.parameters: dict[str, Parameter] = {
            name: p for name, p in model.named_parameters() if p.requires_grad
        }
        #: where each begins among the P = `size` numbers
        self.places: dict[str, int] = {}
        self.size = 0
        for name, p in self.parameters.items():
            self.places[name] = self.size
            self.size += p.layout.size
        whole: Any = model.stack if isinstance(model, Layers) else model
        self.output_size: int = whole.output_size
        #: of a single cell, what C needs: the parameters by letter, and where those learnt begin
        self.operands = dict(self.cells[0].named_parameters())
        at = {p: self.places[name] for name, p in self.parameters.items()}
        self.blocks = {k: at[p] for k, p in self.operands.items() if p in at}
        #: the name under which C knows the derivatives of this step; None where it does not
        self.kernel = kernel_of(self.cells[0]) if len(self.cells) == 1 else None
        known = {"W", "U"} <= self.operands.keys() <= set(core.StepJacobian.letters)
        if not known or self.kernel not in core.StepJacobian.cells or self.cells[0].zoneout:
            self.kernel = None

    def reals(self, state: Iterable[Tensor]) -> State:
        """Those states that have derivatives."""
        return tuple(s for s, real in zip(state, self.real) if real)

    def leaves(self, state: Iterable[Tensor]) -> State:
        """The state as the beginning of a graph: those that have derivatives require gradients."""
        return tuple(s.detach().requires_grad_(real) for s, real in zip(state, self.real))

    def checked(self, state: Any, n: int) -> State:
        """`state`, nested or flat, as a flat tuple of [n, H] tensors; None: the initial one."""
        flat = None if state is None else _flat(state)
        if flat is not None and len(flat) != len(self.real):
            raise ValueError(
                f"{type(self.model).__name__}: {len(flat)} states for {len(self.real)}"
            )
        result: list[Tensor] = []
        for cell in self.cells:
            at = len(result)
            result += cell.checked(flat and tuple(flat[at : at + len(cell.states)]), n)
        if any(s.requires_grad for s in result):
            raise ValueError(
                "the state depends on what is learnt: this is not carried forward, so detach() it"
            )
        return tuple(result)

    def __call__(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x [N, I] -> (y [N, O], new state)."""
        if len(self.cells) == 1:
            (cell,) = self.cells
            return cell.advance(cell.project(x), state)
        layer = self.model.stack if isinstance(self.model, Layers) else self.model
        y, new = layer(reshape(x, (1, *x.shape)), _nested(layer, iter(state)))
        return y[0], tuple(_flat(new))

    def parts(self, flat: Tensor) -> dict[str, Tensor]:
        """{name: [..., *shape]} of [..., P]."""
        return {
            name: flat[..., at : at + p.layout.size].reshape(*flat.shape[:-1], *p.shape)
            for (name, p), at in zip(self.parameters.items(), self.places.values())
        }


class Derivatives:
    """One step of `transition` from x [N, I] and the state, with its derivatives.

    y, state: what the step gives, untracked.  Where y is not itself one of the states, it counts as
    further rows of J and D: m = n + O of them, else m = n.  fused: as in nn.Recurrent, whether C
    computes them where it can.
    """

    def __init__(self, transition: Transition, x: Tensor, state: State, fused: bool = True) -> None:
        if len(x.shape) != 2 or x.requires_grad:
            raise ValueError(
                f"input {list(x.shape)}: one time step [N, I] is needed, of an input that does not "
                f"itself require gradients: how earlier inputs depend on what is learnt would be lost"
            )
        self.transition = F = transition
        self._kernel: Any = None
        if fused and F.kernel is not None:
            self._kernel = core.StepJacobian(F.kernel, x, F.operands, state)
            self.state: State = self._kernel.states
            self.y = self.state[0]
            self.m = F.n
            return
        before = F.leaves(state)
        with enable_grad():
            y, new = F(x, before)
            extra = [] if any(y is s for s in new) else [y]
            self._after = cat([*F.reals(new), *extra], -1)
        self._before = list(F.reals(before))
        self.m = self._after.shape[1]
        self.state = tuple(s.detach() for s in new)
        self.y = y.detach() if extra else next(a for a, b in zip(self.state, new) if b is y)

    def _row(self, where: Any, of: list[Any]) -> list[Any]:
        """The gradients of the sum of numbers of the new state, with respect to `of`."""
        g = np.zeros(self._after.shape, self._after.dtype)
        g[where] = 1
        with no_grad():
            found = grad(self._after, of, from_numpy(g), retain_graph=True, allow_unused=True)
        return [
            np.zeros(p.shape, p.dtype) if dp is None else dp.numpy() for p, dp in zip(of, found)
        ]

    @cached_property
    def J(self) -> Tensor:
        """∂s'/∂s [N, m, n]: one backward pass per row, for all sequences at once."""
        if self._kernel is not None:
            return self._kernel.J
        N, n = self._after.shape[0], self.transition.n
        J = np.zeros((N, self.m, n), self._after.dtype)
        for i in range(self.m):
            J[:, i] = np.concatenate(self._row((slice(None), i), self._before), axis=1)
        return from_numpy(J)

    @cached_property
    def D(self) -> Tensor:
        """∂⁺s'/∂θ [N, m, P]: one backward pass per row and sequence."""
        F = self.transition
        if self._kernel is not None:
            return self._kernel.advance(None, F.blocks, F.size)
        N, ps = self._after.shape[0], list(F.parameters.values())
        D = np.zeros((N, self.m, F.size), self._after.dtype)
        for at in np.ndindex(N, self.m) if ps else ():
            D[at] = np.concatenate([dp.ravel() for dp in self._row(at, ps)])
        return from_numpy(D)

    def advance(self, S: Tensor | None) -> Tensor:
        """J S + D [N, m, P], from S [N, n, P] of the state before; None: zeros."""
        F = self.transition
        if self._kernel is not None:
            return self._kernel.advance(S, F.blocks, F.size)
        with no_grad():
            return self.D if S is None else self.J @ S + self.D

    def advance_masked(self, S: Tensor | None) -> Tensor:
        """The same for S [N, n / H, P] with the derivatives of each unit by its own columns only.

        Of a cell with a kernel whose gates act on one unit each: see core.StepJacobian.advance.
        """
        F = self.transition
        return self._kernel.advance(S, F.blocks, F.size, masked=True)


def differentiate(model: Any, x: Tensor, state: Any = None, fused: bool = True) -> Derivatives:
    """One step of `model` (see `Transition`) and its derivatives: `.y`, `.state`, `.J`, `.D`.

    x [N, I]; state: as the model's cells take it, None for the initial one.  fused=False: through the
    tape, also where C has a kernel.

    >>> import minigrad
    >>> from minigrad import learn, nn
    >>> step = learn.differentiate(nn.LSTMCell(3, 5), minigrad.randn(2, 3))
    >>> step.J.shape, step.D.shape
    ((2, 10, 10), (2, 10, 180))
    """
    F = model if isinstance(model, Transition) else Transition(model)
    return Derivatives(F, x, F.checked(state, x.shape[0]), fused)


def step_jacobian(model: Any, x: Tensor, state: Any = None, fused: bool = True) -> Tensor:
    """J = ∂s'/∂s [N, n, n] of one step: [s, i, k] is that of number i by number k.  (MISSION B2)

    Elman: J = diag(1 - h'²) Uᵀ.  Arguments as in `differentiate`.
    """
    step = differentiate(model, x, state, fused)
    return step.J[:, : step.transition.n]


def immediate(model: Any, x: Tensor, state: Any = None, fused: bool = True) -> dict[str, Tensor]:
    """∂⁺s'/∂θ of one step, the state before held: {name of a parameter p: [N, n, *p.shape]}.

    Elman: ∂⁺h'_i/∂U[k, i] = (1 - h'_i²) h_k, and zero for the other columns of U.  Arguments as in
    `differentiate`.
    """
    step = differentiate(model, x, state, fused)
    return step.transition.parts(step.D[:, : step.transition.n])


def pattern(transition: Transition) -> Any:
    """Which numbers of D can be other than zero at all: bool ndarray [n, P].

    That is, which parameters act on which numbers of the state within one step.  Found at random
    inputs, states and parameters, several times, as a relu may be off by chance.
    """
    twin = Transition(copy.deepcopy(transition.model))
    rng = np.random.default_rng(0)
    dtype, found = twin.cells[0].W.dtype, np.zeros((twin.n, twin.size), bool)
    for _ in range(16):
        with no_grad():
            for p in twin.parameters.values():
                p.copy_((rng.standard_normal(p.shape) / np.sqrt(max(1, p.shape[0]))).astype(dtype))
        x, *state = (
            from_numpy(rng.standard_normal(s.shape).astype(dtype)) if real else s
            for s, real in zip(
                (zeros(2, twin.cells[0].input_size), *twin.checked(None, 2)), (True, *twin.real)
            )
        )
        D = Derivatives(twin, x, tuple(state), fused=False).D
        found |= (D.numpy()[:, : twin.n] != 0).any(0)
    return found


def _flat(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    return [s for part in state for s in _flat(part)]
