"""What a step of an optimiser remembers of the one before, and that it notices every change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import core, nn, optim

EVENTS = (
    "nothing",
    "no gradient",
    "strided gradient",
    "other options",
    "other momentum",
    "other state",
    "other clock",
    "frozen",
    "thawed",
    "other order",
    "one fewer",
    "loaded",
)


def disturb(event: str, k: int, opt: Any, params: list[Any]) -> None:
    """Change what an optimiser may find at its next step; the same for the same arguments."""
    group, p = opt.param_groups[0], params[k]
    state = opt.state.get(p)
    if event == "no gradient" and p.requires_grad:
        p.grad = None
    elif event == "strided gradient" and p.requires_grad:
        p.grad = mg.tensor(p.grad.numpy().T.copy()).T
    elif event == "other options":
        group["lr"] = 0.01 * (k + 1)
    elif event == "other momentum" and "momentum" in group:
        group["momentum"] = 0.0 if group["momentum"] else 0.5
    elif event == "other state" and state:
        state.update({n: mg.ones_like(x) for n, x in state.items() if isinstance(x, mg.Tensor)})
    elif event == "other clock" and state and "step" in state:
        state["step"] += 2
    elif event in ("frozen", "thawed"):
        p.requires_grad = event == "thawed"
    elif event == "other order":
        group["params"].reverse()
    elif event == "one fewer" and len(group["params"]) > 1:
        group["params"].pop()
    elif event == "loaded":
        opt.load_state_dict(opt.state_dict())


@given(
    name=st.sampled_from(["SGD", "Adam", "AdamW", "RMSprop"]),
    events=st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 2)), max_size=12),
)
def test_a_step_sees_whatever_has_changed(name: str, events: list[tuple[str, int]]) -> None:
    """One optimiser keeps its plans, the other makes them anew at each step."""
    rng = np.random.default_rng(0)
    shapes = [(3, 3), (1, 1), (40, 2)]
    values = [rng.standard_normal(shape) for shape in shapes]
    dtypes = ["float32", "float64", "float32"]
    runs = []
    for keeps in (True, False):
        params = [mg.tensor(v, dtype=d, requires_grad=True) for v, d in zip(values, dtypes)]
        opt = getattr(optim, name)(params, lr=0.1)
        for i, (event, k) in enumerate([("nothing", 0), *events, ("nothing", 0)]):
            for p in params:
                if p.requires_grad:
                    p.grad = mg.ones_like(p) * (1.0 + i)
            disturb(event, k, opt, params)
            if not keeps:
                opt._plans.clear()
            opt.step()
        runs.append([p.detach().numpy() for p in params])
    for kept, anew in zip(*runs):
        np.testing.assert_array_equal(kept, anew)


def test_steps_of_one_model_are_one_call() -> None:
    params = list(nn.LSTM(3, 4, num_layers=3).parameters())
    opt = optim.Adam(params)
    for _ in range(2):
        for p in params:
            p.grad = mg.ones_like(p)
        opt.step()
    (plan,) = opt._plans.values()
    (run,) = plan.runs
    assert len(run.rows) == len(params)


def test_a_step_does_not_keep_the_gradients_alive() -> None:
    x = mg.zeros(1000, 1000, requires_grad=True)
    opt = optim.Adam([x])
    for _ in range(2):
        x.grad = mg.ones(1000, 1000) * 1.0
        opt.step()
        used = core.memory()[0]
        opt.zero_grad()
        assert core.memory()[0] <= used - 4_000_000


def test_a_written_parameter_is_refused_whichever_step_it_is() -> None:
    w = mg.ones(2, requires_grad=True)
    opt = optim.SGD([w], lr=0.1)
    for _ in range(3):
        loss = (w * w).sum()
        w.grad = mg.ones(2)
        opt.step()
        with pytest.raises(RuntimeError, match="optimiser step"):
            loss.backward()
        (w * w).sum().backward()
