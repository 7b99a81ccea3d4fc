"""Recurrent layers while `detect_anomaly` is on: step by step, each op with its time step and gate."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ..anomaly import AnomalyError, Place, set_detect_anomaly
from ..tape import enable_grad, next_age
from . import tracing

if TYPE_CHECKING:
    from ..autograd import Tensor
    from .cells.base import Cell, State


def unroll(
    layer: Any, x: Tensor, state: Any, valid: Any | None, targets: Any = None
) -> tuple[Tensor, State]:
    """layer.unroll, in which an AnomalyError names the cell, the time step and the gate."""
    cell: Cell = layer.cell.drawn(x.shape[1])
    count = x.shape[0]
    times = iter(range(count - 1, -1, -1) if layer.reverse else range(count))
    name = f"{type(cell).__name__}({cell.extra_repr()})"

    def step(z: Tensor, state: State) -> tuple[Tensor, State]:
        place = Place(f"{name}, time step {next(times)}", cell.gates, cell.hidden_size)
        noting, begun = copy.copy(cell), 0

        def activations(z: Tensor, state: State) -> tuple[Any, ...]:
            nonlocal begun
            begun = next_age()
            gates = cell.activations(z, state)
            place.gates.update(_leading_to(cell.gates, [gate.node for gate in gates], begun))
            return gates

        vars(noting)["activations"] = activations
        try:
            with place:
                return noting.step(z, state)
        except AnomalyError as error:
            gate = _gate(cell, z, state, begun - error.age) if begun else ""
            _say(error, gate or place.gate_of(error.at, error.shape))
            raise

    def project(x: Tensor) -> Tensor:
        place = Place(f"the input of {name}", cell.gates, cell.hidden_size)
        try:
            with place:
                return cell.project(x)
        except AnomalyError as error:  # [T, N, …], or [T N, …]
            first = error.at[0] // (1 if len(error.shape) > 2 else x.shape[1])
            error.args = (f"{error}, time step {first}",)
            _say(error, place.gate_of(error.at, error.shape))
            raise

    twin, watched = copy.copy(layer), copy.copy(cell)
    vars(watched).update(step=step, project=project)
    vars(twin)["cell"] = watched
    if layer.traced is not None:
        return tracing.unroll(twin, x, state, valid, targets)
    result: tuple[Tensor, State] = twin.unroll(x, state, valid, targets)
    return result


def _say(error: AnomalyError, gate: str) -> None:
    if gate:
        error.args = (f"{error}, gate {gate}",)


def _leading_to(letters: str, gates: list[Any], begun: int) -> dict[int, str]:
    """{age of a node recorded since `begun`: the one gate that it leads to}, gates among them.

    What several gates need is left out; a way ends where it meets another gate.
    """
    ends = {gate.age: letter for letter, gate in zip(letters, gates) if gate is not None}
    found: dict[int, set[str]] = {}
    for letter, gate in zip(letters, gates):
        stack = [] if gate is None else list(gate.parents)
        while stack:
            node = stack.pop()
            age = getattr(node, "age", begun)
            if age >= begun or age in ends or letter in found.setdefault(age, set()):
                continue
            found[age].add(letter)
            stack += node.parents
    return {**{age: min(of) for age, of in found.items() if len(of) == 1}, **ends}


def _gate(cell: Cell, z: Tensor, state: State, count: int) -> str:
    """The gate to which the op leads that is recorded `count` ages after activations() has begun."""
    with set_detect_anomaly(mode=False), enable_grad():
        begun = next_age()
        gates = cell.activations(z, state)
    return _leading_to(cell.gates, [gate.node for gate in gates], begun).get(begun - count, "")
