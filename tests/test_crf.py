"""Conditional random fields: C against the definition, all sequences of tags one by one, laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import oracles_sequences as oracle
import pytest
from draw import Draw, seeded
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import core, nn
from minigrad.ops.crf import crf_partition, crf_partition_by_ops

TOLERANCE = {"float64": 1e-11, "float32": 3e-5}


class Case:
    """Scores of all sizes; transitions that are impossible, or so unlikely that sums underflow."""

    def __init__(self, d: Draw, dtype: str) -> None:
        t, self.n, c = (
            d.choice(1, 2, 6),
            d.choice(1, 3, 20),
            d.choice(1, 2, 7, 8, 15, 16, 17, 33, 40),
        )
        scale = d.choice(1, 30, 300)
        self.steps = d.integers(0, t + 1, (self.n,))
        self.scale = scale
        A = scale * d.normal(c, c)
        if d.flag():
            A[d.rng.random((c, c)) < 0.3] = d.choice(-1e4, -np.inf)
            np.fill_diagonal(A, 0)  # staying is always possible
        x = scale * d.normal(t, self.n, c)
        x[np.arange(t)[:, None] >= self.steps] = np.nan
        arrays = x, A, scale * d.normal(c), scale * d.normal(c)
        self.arrays = [a.astype(dtype) for a in arrays]

    def leaves(self, dtype: str | None = None) -> list[Any]:
        return [mg.tensor(a.astype(dtype or a.dtype), requires_grad=True) for a in self.arrays]


def compare(case: Case, dtype: str) -> None:
    """Value and every gradient of C with those of the recursion by ops, in float64."""
    ours, wide = case.leaves(), case.leaves("float64")
    log_z, expected = crf_partition(*ours, case.steps), crf_partition_by_ops(*wide, case.steps)
    assert log_z.dtype == dtype
    bound = TOLERANCE[dtype] * case.scale * (1 + len(case.arrays[0]))
    np.testing.assert_allclose(
        log_z.detach().numpy(), expected.detach().numpy(), rtol=0, atol=bound
    )
    g = np.linspace(0.5, -2, case.n)
    found = mg.grad(log_z, ours, mg.tensor(g.astype(dtype)))
    wanted = mg.grad(expected, wide, mg.tensor(g), allow_unused=True)
    for dx, dw, x in zip(found, wanted, wide):
        dw = mg.zeros(*x.shape) if dw is None else dw  # noqa: PLW2901
        np.testing.assert_allclose(dx.numpy(), dw.numpy(), rtol=0, atol=bound * (1 + case.n))


@given(data=st.data())
def test_c_and_the_definition_agree(dtype: str, data: Any) -> None:
    compare(Case(Draw(lambda low, high: data.draw(st.integers(low, high))), dtype), dtype)


def test_c_and_the_definition_agree_with_each_instruction_set(dtype: str, isa: str) -> None:
    del isa
    for seed in range(40):
        compare(Case(seeded(seed), dtype), dtype)


def test_sums_that_underflow_are_done_again(dtype: str) -> None:
    """Both ways into tag 1 cost so much that e^-cost is 0, and the next score pays for it twice.

    From tag 0 the transition costs it, from tag 1 the first score; then both tags are as good.
    """
    cost = {"float32": 200.0, "float64": 2000.0}[dtype]
    x = mg.tensor([[[0, -cost]], [[0, 2 * cost]], [[0, 0]]], dtype=dtype, requires_grad=True)
    A = mg.tensor([[0, -cost], [0, 0]], dtype=dtype, requires_grad=True)
    zero, steps = mg.zeros(2, dtype=dtype), np.array([3])
    log_z, by_ops = (f(x, A, zero, zero, steps) for f in (crf_partition, crf_partition_by_ops))
    assert log_z.item() == pytest.approx(cost + 2 * math.log(2), rel=1e-6)
    for a, b in zip(mg.grad(log_z, [x, A]), mg.grad(by_ops, [x, A])):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-4)
        assert abs(a.numpy()).max() > 0.4


@given(data=st.data())
def test_first_and_second_derivative(data: Any) -> None:
    d = Draw(lambda low, high: data.draw(st.integers(low, high)))
    t, n, c = d.pick(1, 3), d.pick(1, 2), d.pick(1, 3)
    steps = d.integers(0, t + 1, (n,))
    xs = [mg.tensor(d.normal(*s), requires_grad=True) for s in ((t, n, c), (c, c), (c,), (c,))]
    assert mg.gradcheck(lambda *a: crf_partition(*a, steps), xs)
    assert mg.gradgradcheck(lambda *a: crf_partition(*a, steps), xs)


def test_same_bits_with_more_threads(dtype: str) -> None:
    d = seeded(0)
    arrays = [d.normal(*s).astype(dtype) for s in ((5, 37, 9), (9, 9), (9,), (9,))]
    steps, before, found = d.integers(0, 6, (37,)), mg.get_num_threads(), []
    for threads in (1, 2):
        mg.set_num_threads(threads)
        xs = [mg.tensor(a, requires_grad=True) for a in arrays]
        log_z = crf_partition(*xs, steps)
        results = [log_z.detach(), *mg.grad(log_z.sum(), xs)]
        found.append([r.numpy().tobytes() for r in results])
    mg.set_num_threads(before)
    assert found[0] == found[1]


# ---- the module ------------------------------------------------------------------------------------


def field(c: int, dtype: str = "float64") -> Any:
    crf = nn.CRF(c, dtype=dtype)
    with mg.no_grad():
        for i, p in enumerate(crf.parameters()):
            p.copy_(2 * seeded(i).normal(*p.shape))
    return crf


def scores(crf: Any) -> list[Any]:
    names = ("transitions", "start_transitions", "end_transitions")
    return [getattr(crf, name).detach().numpy() for name in names]


@given(data=st.data())
def test_against_all_sequences_of_tags(data: Any) -> None:
    """Probabilities, marginals, and the best tags."""
    d = Draw(lambda low, high: data.draw(st.integers(low, high)))
    t, n, c = d.pick(1, 4), d.pick(1, 3), d.pick(1, 3)
    crf, x, tags = field(c), d.normal(t, n, c), d.integers(0, c, (t, n))
    lengths = d.integers(0, t + 1, (n,))
    mask = np.arange(t)[:, None] < lengths
    tags = np.where(mask, tags, -7)
    emissions = mg.tensor(np.where(mask[..., None], x, np.nan))
    logs = crf(emissions, mg.tensor(tags), lengths, reduction="sums").detach().numpy()
    marginals = crf.marginals(emissions, lengths).numpy()
    best = crf.decode(emissions, mask=mask)
    for i, length in enumerate(lengths):
        every = oracle.crf_all(x[:length, i], *scores(crf))
        total = np.logaddexp.reduce([*every.values()])
        assert logs[i] == pytest.approx(every[tuple(tags[:length, i])] - total, abs=1e-10)
        assert best[i] == list(max(every, key=every.__getitem__))
        expected = np.zeros((t, c))
        for y, score in every.items():
            expected[np.arange(length), list(y)] += math.exp(score - total)
        np.testing.assert_allclose(marginals[:, i], expected, atol=1e-10)


def test_without_transitions_it_is_cross_entropy() -> None:
    crf = nn.CRF(4, dtype="float64")
    with mg.no_grad():
        for p in crf.parameters():
            p.zero_()
    x, tags = mg.randn(5, 3, 4, dtype=mg.float64), mg.randint(0, 4, (5, 3))
    expected = nn.functional.cross_entropy(x.reshape(15, 4), tags.reshape(15), reduction="sum")
    assert -crf(x, tags).item() == pytest.approx(expected.item())
    assert crf.decode(x) == x.argmax(-1).T.tolist()
    np.testing.assert_allclose(crf.marginals(x).numpy(), x.softmax(-1).numpy())


def test_reductions_padding_and_parameters() -> None:
    crf, lengths = field(3), [4, 2, 0]
    x, tags = mg.randn(4, 3, 3, dtype=mg.float64, requires_grad=True), mg.randint(0, 3, (4, 3))
    each = crf(x, tags, lengths, reduction="sums").tolist()
    assert each[2] == 0
    for reduction, value in (
        ("sum", sum(each)), ("mean_of_sums", sum(each) / 3), ("mean", sum(each) / 6)
    ):  # fmt: skip
        assert crf(x, tags, lengths, reduction=reduction).item() == pytest.approx(value)
    crf(x, tags, lengths).backward()
    assert not x.grad.numpy()[2:, 1].any()
    assert not x.grad.numpy()[:, 2].any()
    assert mg.gradcheck(lambda *_: crf(x, tags, lengths), list(crf.parameters()))
    names = ["transitions", "start_transitions", "end_transitions"]
    assert [name for name, _ in crf.named_parameters()] == names


def test_what_is_refused() -> None:
    crf, x, tags = nn.CRF(3), mg.zeros(4, 2, 3), mg.zeros(4, 2, dtype=mg.int64)

    def refused(match: str, f: Any, *args: Any, **options: Any) -> None:
        with pytest.raises(ValueError, match=match):
            f(*args, **options)

    refused("num_tags=0", nn.CRF, 0)
    refused(r"emissions \[4, 2, 2\]: \[T, N, 3\]", crf, x[..., :2], tags)
    refused(r"tags \[3, 2\]", crf, x, tags[:3])
    refused("tags from 0 to 3", crf, x, tags + 3 * mg.tensor([1, 0]))
    refused("lengths: from 0 to 4", crf, x, tags, [5, 1])
    refused("without gaps", crf, x, tags, mask=np.array([[1, 1], [0, 1], [1, 1], [1, 1]], bool))
    refused(r"mask int64 \[4, 2\]", crf, x, tags, mask=np.ones((4, 2), int))
    refused("reduction='none'", crf, x, tags, reduction="none")
    A, b = mg.zeros(3, 3), mg.zeros(3)
    refused("1 numbers of steps", core.crf_forward, x, A, b, b, [4], save=False)
    start, end = mg.zeros(3), mg.zeros(2)
    wrong = r"end float32 \[2\]: float32 \[3\]"
    refused(wrong, crf_partition, x, crf.transitions, start, end, np.array([4, 4]))
