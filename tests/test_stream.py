"""One step at a time without gradients: the short way, and when it does not apply."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from cell_table import FUSED

import minigrad
from minigrad import core, nn


def fed(cell: Any, steps: int = 4) -> list[Any]:
    """The states after each step of a fixed input, without gradients."""
    rng = np.random.default_rng(0)
    dtype = cell.W.dtype
    new: Any = tuple(
        minigrad.tensor(rng.standard_normal((2, cell.state_size(s))), dtype=dtype)
        for s in cell.states
    )
    new = new if len(cell.states) > 1 else new[0]
    states = []
    with minigrad.no_grad():
        for _ in range(steps):
            new = cell(minigrad.tensor(rng.standard_normal((2, 3)), dtype=dtype), new)
            each = new if isinstance(new, tuple) else (new,)
            states.append(np.concatenate([np.asarray(s) for s in each], 1))
    return states


def readable(cell: Any) -> list[Any]:
    """The same by the equations."""
    twin = copy.copy(cell)
    twin.step = cell.step  # a replaced step has no kernel
    assert twin.stream is None
    states = fed(twin)
    assert twin.stream is None
    return states


def close(a: list[Any], b: list[Any]) -> None:
    """Equal to rounding."""
    for x, y in zip(a, b):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


PLAIN = [name for name, kind in FUSED.items() if not (kind.regular or name.startswith("clockwork"))]


@pytest.fixture(params=PLAIN)
def cell(request: Any) -> Any:
    """Each cell with a kernel whose step is the same at all times, and without options, 3 -> 5."""
    minigrad.manual_seed(0)
    return FUSED[request.param].make(3, 5, "float32")


def test_it_equals_the_equations(cell: Any) -> None:
    close(fed(cell), readable(cell))
    assert cell.stream is not None
    close(fed(cell), readable(cell))


def test_changed_values_count(cell: Any) -> None:
    fed(cell)
    with minigrad.no_grad():
        cell.U.mul_(0.5)
    assert cell.stream is not None
    close(fed(cell), readable(cell))


def test_a_new_parameter_counts(cell: Any) -> None:
    fed(cell)
    cell.W = nn.Parameter(minigrad.ones(*cell.W.shape))
    assert cell.stream is None
    close(fed(cell), readable(cell))


def test_another_type_and_back(cell: Any) -> None:
    fed(cell)
    cell.double()
    close(fed(cell), readable(cell))
    cell.float()
    with minigrad.no_grad():
        cell.W.mul_(0.5)
    close(fed(cell), readable(cell))


def test_gradients_are_recorded_again(cell: Any) -> None:
    fed(cell)
    new = cell(minigrad.ones(2, 3))
    (new[0] if isinstance(new, tuple) else new).sum().backward()
    assert cell.W.grad is not None


def test_other_shapes_and_a_missing_state(cell: Any) -> None:
    fed(cell)
    with minigrad.no_grad():
        new = cell(minigrad.ones(7, 3))
        assert (new[0] if isinstance(new, tuple) else new).shape[0] == 7
        assert len(cell(minigrad.ones(3), None)) in (2, cell.state_size("h"))


def test_copies_and_states_leave_it_out(cell: Any) -> None:
    names = list(cell.state_dict())
    fed(cell)
    assert copy.deepcopy(cell).stream is None
    assert list(cell.state_dict()) == names
    close(fed(copy.deepcopy(cell)), fed(cell))


def test_a_wrong_state_is_still_told() -> None:
    cell = nn.LSTMCell(3, 5)
    fed(cell)
    with minigrad.no_grad(), pytest.raises(ValueError, match="state"):
        cell(minigrad.ones(2, 3), (minigrad.ones(2, 4), minigrad.ones(2, 5)))


def test_a_step_without_its_cell_state_is_no_crash() -> None:
    ones = minigrad.ones
    x, h, W, U = ones(2, 3), ones(2, 5), ones(3, 20), ones(5, 20)
    step = core.Step("lstm", ("x", "W", "U", "h0", "c0"), (x, W, U, h, h))
    assert step(x, h, h)[1].shape == (2, 5)
    with pytest.raises(AttributeError, match="ptr"):
        step(x, h)
