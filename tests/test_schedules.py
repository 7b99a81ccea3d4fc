"""Schedules of the learning rate against their closed forms and against PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.optim import lr_scheduler as schedules

SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 1, "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 7}),
    ("CosineAnnealingLR", {"T_max": 1}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "total_iters": 4}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.2, "total_iters": 9}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("LambdaLR", {"lr_lambda": [lambda t: 0.9**t, lambda t: t]}),
]


def two_groups(lib: Any) -> Any:
    ps = [lib.ones(2, requires_grad=True) for _ in range(2)]
    return lib.optim.SGD([{"params": [ps[0]]}, {"params": [ps[1]], "lr": 0.5}], lr=0.1)


def rates(opt: Any, *scheduler: Any, steps: int = 25) -> list[list[float]]:
    found = []
    for _ in range(steps):
        rate = [g["lr"] for g in opt.param_groups]
        assert scheduler[-1].get_last_lr() == rate
        found.append(rate)
        opt.step()
        for s in scheduler:
            s.step()
    return found


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_schedules_are_pytorch_s(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib, module in ((mg, schedules), (torch, torch.optim.lr_scheduler)):
        opt = two_groups(lib)
        found.append(rates(opt, getattr(module, name)(opt, **options)))
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-15)


def test_schedules_have_closed_forms() -> None:
    def of(name: str, **options: Any) -> Any:
        opt = two_groups(mg)
        return np.array(rates(opt, getattr(schedules, name)(opt, **options)))

    t, base = np.arange(25.0)[:, None], np.array([0.1, 0.5])
    for got, want in (
        (of("StepLR", step_size=4, gamma=0.5), base * 0.5 ** (t // 4)),
        (of("ExponentialLR", gamma=0.9), base * 0.9**t),
        (of("CosineAnnealingLR", T_max=24), base * (1 + np.cos(np.pi * t / 24)) / 2),
        (
            of("LinearLR", start_factor=0.2, total_iters=8),
            base * (0.2 + 0.8 * np.minimum(t / 8, 1)),
        ),
        (of("LambdaLR", lr_lambda=lambda t: 1 / (t + 1)), base / (t + 1)),
    ):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-16)


def test_schedules_on_one_optimiser_multiply() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib, module in ((mg, schedules), (torch, torch.optim.lr_scheduler)):
        opt = two_groups(lib)
        first = module.LinearLR(opt, 0.1, total_iters=5)
        found.append(rates(opt, first, module.StepLR(opt, 4, 0.5), module.ExponentialLR(opt, 0.9)))
    np.testing.assert_allclose(*found, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")
def test_one_schedule_after_the_other() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib, module in ((mg, schedules), (torch, torch.optim.lr_scheduler)):
        opt = two_groups(lib)
        parts = [
            module.LinearLR(opt, 0.1, total_iters=4),
            module.CosineAnnealingLR(opt, 10, 0.01),
            module.ExponentialLR(opt, 0.9),
        ]
        found.append(rates(opt, module.SequentialLR(opt, parts, [4, 14])))
    np.testing.assert_allclose(*found, rtol=1e-12)


def sequential(opt: Any) -> Any:
    warm_up = schedules.LinearLR(opt, 0.1, total_iters=4)
    return schedules.SequentialLR(opt, [warm_up, schedules.CosineAnnealingLR(opt, 10)], [4])


@pytest.mark.parametrize(
    "make",
    [
        lambda opt: schedules.StepLR(opt, 3),
        lambda opt: schedules.CosineAnnealingLR(opt, 7),
        lambda opt: schedules.LinearLR(opt, 0.1),
        lambda opt: schedules.LambdaLR(opt, lambda t: 0.9**t),
        sequential,
    ],
)
def test_resuming_a_schedule_is_exact(make: Any, tmp_path: Path) -> None:
    opt = two_groups(mg)
    want = rates(opt, make(opt))
    opt = two_groups(mg)
    scheduler = make(opt)
    rates(opt, scheduler, steps=6)
    mg.save([opt.state_dict(), scheduler.state_dict()], tmp_path / "a.npz")
    opt = two_groups(mg)
    scheduler = make(opt)
    a, b = mg.load(tmp_path / "a.npz")
    opt.load_state_dict(a)
    scheduler.load_state_dict(b)
    assert rates(opt, scheduler, steps=19) == want[6:]


def test_impossible_schedules() -> None:
    opt = two_groups(mg)
    a, b = schedules.StepLR(opt, 1), schedules.StepLR(two_groups(mg), 1)
    for make in (
        lambda: schedules.StepLR(opt, 0),
        lambda: schedules.CosineAnnealingLR(opt, 0),
        lambda: schedules.LinearLR(opt, 0.0),
        lambda: schedules.LinearLR(opt, 0.5, 1.5),
        lambda: schedules.LinearLR(opt, total_iters=0),
        lambda: schedules.LambdaLR(opt, [lambda _: 1.0]),
        lambda: schedules.SequentialLR(opt, [a], [1]),
        lambda: schedules.SequentialLR(opt, [a, a, a], [2, 1]),
        lambda: schedules.SequentialLR(opt, [a, b], [1]),
    ):
        with pytest.raises(ValueError, match=r"LR: "):
            make()
