"""Training loops: fit against a loop written out, averages, early stopping, adaptive clipping."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import learn, nn, optim
from minigrad.nn.utils import clip_grad_adaptive_, clip_grad_norm_


def model_of(seed: int = 0) -> Any:
    mg.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4, dtype="float64"), nn.Tanh(), nn.Dropout(0.5),
                         nn.Linear(4, 1, dtype="float64"))  # fmt: skip


def batches_of(n: int, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [(mg.from_numpy(rng.standard_normal((5, 3))), mg.from_numpy(rng.standard_normal((5, 1))))
            for _ in range(n)]  # fmt: skip


def loss_of(model: Any, batch: Any) -> Any:
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def values(model: Any) -> Any:
    return [np.array(x) for x in model.state_dict().values()]


def equal(a: Any, b: Any) -> None:
    for x, y in zip(a, b):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_fit_is_the_loop_written_out(accumulate: int) -> None:
    batches, clip = batches_of(5), 0.7
    first, second = model_of(), model_of()
    reports: list[Any] = []
    mg.manual_seed(7)  # for the dropout
    story = learn.fit(first, batches, loss_of, optim.SGD(first.parameters(), 0.1), 2, clip=clip,
                      accumulate=accumulate, report=reports.append)  # fmt: skip
    mg.manual_seed(7)
    optimizer, norms, losses = optim.SGD(second.parameters(), 0.1), [], []
    for _ in range(2):
        for start in range(0, 5, accumulate):
            group = batches[start : start + accumulate]
            optimizer.zero_grad()
            for batch in group:
                loss = loss_of(second, batch)
                (loss / len(group)).backward()
                losses.append(loss.item())
            norms.append(clip_grad_norm_(second, clip).item())
            optimizer.step()
    equal(values(first), values(second))
    assert story == reports
    assert [e.number for e in story] == [1, 2]
    steps = len(norms) // 2
    for k, e in enumerate(story):
        assert e.loss == pytest.approx(np.mean(losses[5 * k : 5 * k + 5]))
        here = norms[steps * k : steps * k + steps]
        assert e.norm == pytest.approx(np.mean(here))
        assert e.clipped == np.mean(np.array(here) > clip)
        assert math.isnan(e.validation)
        assert str(e).startswith(f"epoch {k + 1}: loss ")


def test_fit_with_all_options_stops_and_keeps_the_best() -> None:
    model, batches, check = model_of(), batches_of(4), batches_of(3, 1)
    optimizer = optim.Adam(model.parameters(), 0.1)
    average = learn.WeightAverage(model, 0.5)
    stop = learn.EarlyStopping(model, patience=3)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    story = learn.fit(model, batches, loss_of, optimizer, 60, scheduler=scheduler, average=average,
                      validation=check, stop=stop)  # fmt: skip
    losses = [e.validation for e in story]
    best = int(np.argmin(losses))
    assert len(story) == best + 1 + 3 < 60
    assert learn.evaluate(model, check, loss_of) == pytest.approx(losses[best], rel=1e-12)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.9 ** len(story))
    assert average.steps == 4 * len(story)


def test_fit_refuses() -> None:
    model = model_of()
    optimizer = optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match="accumulate=0"):
        learn.fit(model, [], loss_of, optimizer, accumulate=0)
    with pytest.raises(ValueError, match="an iterator can be gone through only once"):
        learn.fit(model, iter(batches_of(1)), loss_of, optimizer, epochs=2)
    with pytest.raises(ValueError, match="pass validation="):
        learn.fit(model, batches_of(1), loss_of, optimizer, stop=learn.EarlyStopping(model))
    bad = [(mg.from_numpy(np.full((5, 3), np.nan)), batches_of(1)[0][1])]
    with pytest.raises(RuntimeError, match=r"non-finite gradient of 0\.weight"):
        learn.fit(model, bad, loss_of, optimizer)


def test_evaluate_leaves_the_modes_as_they_were() -> None:
    model = model_of()
    model[1].eval()
    first = learn.evaluate(model, batches_of(2), loss_of)
    assert first == learn.evaluate(model, batches_of(2), loss_of)  # no dropout
    assert [m.training for m in model] == [True, False, True, True]


# ---- averages ------------------------------------------------------------------------------------


@given(st.floats(0, 0.99), st.integers(0, 6), st.booleans())
def test_the_average(decay: float, steps: int, warm_up: bool) -> None:
    model = nn.Linear(2, 3, dtype="float64")
    average = learn.WeightAverage(model, decay, warm_up)
    mean, rng = values(model), np.random.default_rng(steps)
    for step in range(1, steps + 1):
        d = min(decay, (1 + step) / (10 + step)) if warm_up else decay
        for i, (name, p) in enumerate(model.named_parameters()):
            new = rng.standard_normal(p.shape)
            with mg.no_grad():
                p.copy_(new)
            mean[i] = d * mean[i] + (1 - d) * new
            assert name in average.values
        average.update()
    own = values(model)
    with average as averaged:
        assert averaged is model
        for a, b in zip(values(model), mean):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
        with pytest.raises(RuntimeError, match="averaged weights just now"):
            average.update()
    equal(values(model), own)
    other = learn.WeightAverage(model, decay, warm_up)
    other.load_state_dict(average.state_dict())
    assert other.steps == steps
    equal(other.values.values(), average.values.values())
    with pytest.raises(ValueError, match="of another model"):
        learn.WeightAverage(nn.Linear(1, 1)).load_state_dict(average.state_dict())


def test_the_average_copies_counters() -> None:
    model = nn.Linear(1, 1)
    model.register_buffer("count", mg.tensor(0))
    average = learn.WeightAverage(model, 0.9)
    model.count.fill_(5)
    average.update()
    assert average.values["count"] == 5


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_a_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ValueError, match="WeightAverage: decay="):
        learn.WeightAverage(nn.Linear(1, 1), decay)


# ---- stopping ------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 9) | st.just(math.nan), max_size=12), st.integers(1, 4))
def test_early_stopping(losses: list[float], patience: int) -> None:
    model = nn.Linear(1, 1, bias=False)
    stop = learn.EarlyStopping(model, patience)
    best, since, weight = math.inf, 0, None
    for i, loss in enumerate(losses):
        with mg.no_grad():
            model.weight.fill_(float(i))
        since += 1
        if loss < best:
            best, since, weight = loss, 0, float(i)
        assert stop(loss) == (since >= patience)
        assert stop.best == best
    if weight is None:
        with pytest.raises(RuntimeError, match="no check has had a finite loss"):
            stop.restore()
    else:
        stop.restore()
        assert model.weight.item() == weight


def test_an_improvement_must_be_large_enough() -> None:
    stop = learn.EarlyStopping(nn.Linear(1, 1), patience=1, min_delta=0.5)
    assert not stop(2.0)
    assert not stop(1.4)
    assert stop(1.0)
    assert stop.best == 1.4
    with pytest.raises(ValueError, match="patience=0"):
        learn.EarlyStopping(nn.Linear(1, 1), 0)


# ---- clipping unit by unit -----------------------------------------------------------------------


@given(st.integers(0, 100), st.floats(0.001, 2))
def test_adaptive_clipping(seed: int, factor: float) -> None:
    mg.manual_seed(seed)
    model = nn.ModuleList([nn.LSTM(2, 3, dtype="float64"), nn.Linear(3, 2, dtype="float64")])
    rng = np.random.default_rng(seed)
    expected, groups, clipped = [], 0, 0
    for name, p in model.named_parameters():
        g = rng.standard_normal(p.shape) * 10 ** rng.uniform(-3, 1)
        p.grad = mg.from_numpy(g.copy())
        w = p.detach().numpy()
        axis = None if w.ndim == 1 else 1 if name.startswith("1") else 0
        norm = np.sqrt((g * g).sum(axis=axis, keepdims=True))
        most = factor * np.maximum(np.sqrt((w * w).sum(axis=axis, keepdims=True)), 1e-3)
        groups, clipped = groups + norm.size, clipped + int((norm > most).sum())
        expected.append(np.where(norm > most, g * most / norm, g))
    assert clip_grad_adaptive_(model, factor) == pytest.approx(clipped / groups)
    for p, g in zip(model.parameters(), expected):
        np.testing.assert_allclose(p.grad.numpy(), g, rtol=1e-12)


def test_adaptive_clipping_refuses_nan_by_name() -> None:
    model = nn.Linear(2, 2)
    model.weight.grad = mg.full((2, 2), math.nan)
    with pytest.raises(RuntimeError, match=r"non-finite gradient of weight .*4 NaN"):
        clip_grad_adaptive_(model)
    with pytest.raises(ValueError, match="clip_factor=-1"):
        clip_grad_adaptive_(model, -1)
    assert clip_grad_adaptive_(nn.Linear(1, 1)) == 0
