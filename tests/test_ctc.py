"""Connectionist temporal classification: C against the definition, enumeration, PyTorch."""

from __future__ import annotations

import itertools
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
from minigrad.nn import functional as F
from minigrad.ops.ctc import ctc_by_ops

#: relative to the largest number; in float32 the definition, which has no shifts, is compared in float64
TOLERANCE = {"float64": 1e-11, "float32": 2e-5}


class Case:
    """A batch with lengths of all kinds; labels repeat often; NaN in the padding."""

    def __init__(self, d: Draw, dtype: str = "float64", feasible: bool = False) -> None:
        t, self.n = d.choice(0, 1, 2, 5, 40), d.choice(1, 2, 5)
        classes, most = d.choice(2, 3, 17), d.choice(0, 1, 7, 8, 15, 16, 17, 33)
        self.blank = d.pick(0, classes - 1)
        self.steps = d.integers(0, t + 1, (self.n,))
        self.lengths = d.integers(0, most + 1, (self.n,))
        if feasible:
            self.lengths = np.minimum(self.lengths, self.steps // 2)
        labels = d.integers(0, classes - 1, (self.n, most))
        self.targets = labels + (labels >= self.blank)
        x = 3 * d.normal(t, self.n, classes)
        x -= np.logaddexp.reduce(x, -1, keepdims=True) if t else 0
        self.begun = np.arange(t)[:, None] < self.steps
        self.x = np.where(self.begun[..., None], x, np.nan).astype(dtype)

    def leaf(self, dtype: Any = None) -> Any:
        return mg.tensor(self.x if dtype is None else self.x.astype(dtype), requires_grad=True)

    def loss(self, x: Any, **options: Any) -> Any:
        return F.ctc_loss(x, self.targets, self.steps, self.lengths, self.blank, **options)

    @property
    def needed(self) -> Any:
        """How many steps the targets need: their labels, and a blank between equal ones."""
        rows = [row[:n] for row, n in zip(self.targets, self.lengths)]
        return np.array([len(r) + np.count_nonzero(r[1:] == r[:-1]) for r in rows])


def compare(case: Case, dtype: str) -> None:
    """Value and gradient of C with those of the recursion by ops, in float64."""
    x, wide = case.leaf(), case.leaf("float64")
    loss = case.loss(x, reduction="none", zero_infinity=True)
    expected = ctc_by_ops(wide, core.Paths(case.targets, case.steps, case.lengths, case.blank))
    infinite = np.isinf(expected.detach().numpy())
    np.testing.assert_array_equal(infinite, case.needed > case.steps)
    zeroed = mg.where(mg.tensor(infinite), 0.0, expected)
    assert loss.dtype == dtype
    np.testing.assert_allclose(
        loss.detach().numpy(), zeroed.detach().numpy(), rtol=TOLERANCE[dtype]
    )
    g = np.linspace(0.5, -2, case.n)
    (dx,) = mg.grad(loss, x, mg.tensor(g.astype(dtype)))
    if not case.x.size:
        return
    (dw,) = mg.grad(zeroed, wide, mg.tensor(g))
    np.testing.assert_allclose(dx.numpy(), dw.numpy(), rtol=0, atol=2 * TOLERANCE[dtype])


@given(data=st.data())
def test_c_and_the_definition_agree(dtype: str, data: Any) -> None:
    compare(Case(Draw(lambda low, high: data.draw(st.integers(low, high))), dtype), dtype)


def test_c_and_the_definition_agree_with_each_instruction_set(dtype: str, isa: str) -> None:
    del isa
    for seed in range(40):
        compare(Case(seeded(seed), dtype), dtype)


@given(data=st.data())
def test_first_and_second_derivative(data: Any) -> None:
    """Against finite differences: of the loss itself, and through log_softmax."""
    case = Case(Draw(lambda low, high: data.draw(st.integers(low, high))), feasible=True)
    keep = slice(0, 4)
    x = mg.tensor(np.where(case.begun[keep, :, None], case.x[keep], -1.0), requires_grad=True)
    if not x.numel():
        (dx,) = mg.grad(case.loss(x, reduction="sum"), x, create_graph=True)
        assert dx.shape == x.shape
        return
    steps = np.minimum(case.steps, 4)
    lengths = np.minimum(case.lengths, steps // 2)

    def loss(x: Any) -> Any:
        return F.ctc_loss(x, case.targets, steps, lengths, case.blank, reduction="sum")

    assert mg.gradcheck(loss, x)
    assert mg.gradcheck(lambda x: loss(x.log_softmax(-1)), x)
    if x.numel() <= 24:  # op_table_sequences.py has small ones; here labels repeat
        assert mg.gradgradcheck(lambda x: loss(x.log_softmax(-1)), x)


def test_same_as_pytorch(dtype: str) -> None:
    """Values and gradients, infeasible targets and all: behind a log_softmax."""
    torch = pytest.importorskip("torch")
    for seed in range(30):
        case = Case(seeded(seed), dtype)
        if case.x.shape[0] == 0 or case.targets.shape[1] == 0:
            continue  # refused there
        scores = np.where(np.isnan(case.x), 0, case.x)
        options = {
            "reduction": ("none", "mean", "sum")[seed % 3],
            "zero_infinity": bool(seed % 2),
        }
        x, tx = mg.tensor(scores, requires_grad=True), torch.tensor(scores, requires_grad=True)
        loss = case.loss(x.log_softmax(-1), **options)
        rest = [torch.tensor(a) for a in (case.targets, case.steps, case.lengths)]
        theirs = torch.nn.functional.ctc_loss(
            torch.log_softmax(tx, -1), *rest, blank=case.blank, **options
        )
        rtol = 1e-10 if dtype == "float64" else 1e-4
        np.testing.assert_allclose(loss.detach().numpy(), theirs.detach().numpy(), rtol=rtol)
        loss.sum().backward()
        theirs.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), tx.grad.numpy(), atol=2 * rtol)


def test_the_gradient_is_that_of_the_equation() -> None:
    """PyTorch's differs by p_t(c), which sums to one and so vanishes behind a log_softmax."""
    torch = pytest.importorskip("torch")
    case = next(c for c in (Case(seeded(i), feasible=True) for i in range(99)) if c.x.size > 999)
    logs = np.where(np.isnan(case.x), 0, case.x)
    x, tx = mg.tensor(logs, requires_grad=True), torch.tensor(logs, requires_grad=True)
    case.loss(x, reduction="sum").backward()
    rest = [torch.tensor(a) for a in (case.targets, case.steps, case.lengths)]
    torch.nn.functional.ctc_loss(tx, *rest, blank=case.blank, reduction="sum").backward()
    added = np.where(case.begun[..., None], np.exp(logs), 0)
    np.testing.assert_allclose(x.grad.numpy() + added, tx.grad.numpy(), atol=1e-10)
    #: of a step that counts the gradient sums to -1: a path stands somewhere
    np.testing.assert_allclose(x.grad.numpy().sum(-1), -1.0 * case.begun, atol=1e-12)


# ---- laws ------------------------------------------------------------------------------------------


def test_all_readings_together_have_probability_one() -> None:
    x = mg.randn(4, 1, 3, dtype=mg.float64).log_softmax(-1)
    total = 0.0
    for length in range(5):
        for labels in itertools.product((1, 2), repeat=length):
            target = np.array([labels], int).reshape(1, length)
            loss = F.ctc_loss(x, target, [4], [length], reduction="sum")
            total += math.exp(-loss.item())
    assert total == pytest.approx(1, abs=1e-12)


def test_targets_in_a_row_and_one_sequence_alone() -> None:
    x = mg.randn(9, 3, 5).log_softmax(-1)
    padded, lengths = np.array([[1, 2, 2], [3, 0, 0], [4, 4, 0]]), [3, 1, 2]
    row = mg.tensor([1, 2, 2, 3, 4, 4])
    whole = F.ctc_loss(x, padded, [9, 8, 7], lengths, reduction="none")
    np.testing.assert_array_equal(
        F.ctc_loss(x, row, mg.tensor([9, 8, 7]), lengths, reduction="none"), whole
    )
    for n, length in enumerate(lengths):
        alone = F.ctc_loss(x[:, n], padded[n], 9 - n, length, reduction="none")
        assert alone.shape == ()
        assert alone.item() == whole[n].item()
    mean = (whole / mg.tensor([3.0, 1.0, 2.0])).mean()
    assert nn.CTCLoss()(x, padded, [9, 8, 7], lengths).item() == pytest.approx(mean.item())


def test_nothing_to_read() -> None:
    """No label: all blanks.  No step: certain for no label, impossible otherwise.  No sequence."""
    x = mg.randn(6, 2, 3, dtype=mg.float64).log_softmax(-1)
    none = np.zeros((2, 0), int)
    loss = F.ctc_loss(x, none, [6, 0], [0, 0], reduction="none")
    np.testing.assert_allclose(loss.numpy(), [-x.numpy()[:, 0, 0].sum(), 0])
    assert F.ctc_loss(x[:0], [[1], [0]], [0, 0], [1, 0], reduction="none").tolist() == [math.inf, 0]
    assert F.ctc_loss(x[:, :0], none[:0], [], [], reduction="none").shape == (0,)
    assert math.isnan(F.ctc_loss(x[:, :0], none[:0], [], []).item())


def test_infeasible_targets() -> None:
    """Infinite and NaN, or zero and zero; a sequence beside it is not touched."""
    leaves = [mg.zeros(3, 2, 3, dtype=mg.float64, requires_grad=True) for _ in range(2)]
    for x, zero in zip(leaves, (False, True)):
        loss = F.ctc_loss(
            x.log_softmax(-1),
            [[1, 1], [1, 2]],
            [2, 3],
            [2, 2],
            reduction="none",
            zero_infinity=zero,
        )
        assert loss[0].item() == (0 if zero else math.inf)
        loss.sum().backward()
    first, second = (x.grad.numpy() for x in leaves)
    assert np.isnan(first[:2, 0]).all()
    assert not first[2, 0].any()
    assert not second[:, 0].any()
    np.testing.assert_array_equal(first[:, 1], second[:, 1])
    assert abs(first[:, 1]).max() > 0.1


def test_long_and_certain_sequences_keep_their_digits() -> None:
    """float32 over 2000 steps, log-probabilities down to -60: as good as its inputs are."""
    rng = np.random.default_rng(0)
    x = 20 * rng.standard_normal((2000, 2, 8))
    x = (x - np.logaddexp.reduce(x, -1, keepdims=True)).astype("float32")
    targets = rng.integers(1, 8, (2, 150))
    found = []
    for dtype in ("float32", "float64"):
        leaf = mg.tensor(x.astype(dtype), requires_grad=True)
        loss = F.ctc_loss(leaf, targets, [2000, 1999], [150, 149], reduction="none")
        found.append((loss.detach().numpy(), mg.grad(loss.sum(), leaf)[0].numpy()))
    (loss, dx), (loss_64, dx_64) = found
    np.testing.assert_allclose(loss, loss_64, rtol=1e-6)
    np.testing.assert_allclose(dx, dx_64, atol=1e-3)


def test_same_bits_with_more_threads() -> None:
    case = Case(seeded(12), "float32")
    case.x = np.concatenate([case.x] * 9, 1)
    targets, steps, lengths = (
        np.concatenate([a] * 9) for a in (case.targets, case.steps, case.lengths)
    )
    before, found = mg.get_num_threads(), []
    for threads in (1, 2):
        mg.set_num_threads(threads)
        x = case.leaf()
        loss = F.ctc_loss(x, targets, steps, lengths, case.blank, reduction="none")
        found.append((loss.detach().numpy().tobytes(), mg.grad(loss.sum(), x)[0].numpy().tobytes()))
    mg.set_num_threads(before)
    assert found[0] == found[1]


def test_what_is_refused() -> None:
    x = mg.zeros(4, 2, 3, requires_grad=True)
    good: tuple[Any, ...] = ([[1, 2], [1, 2]], [4, 4], [2, 2])

    def refused(error: type[Exception], match: str, *args: Any, **options: Any) -> None:
        with pytest.raises(error, match=match):
            F.ctc_loss(*args, **options)

    refused(ValueError, r"sequence 1 .* targets \[1, 3\]", x, [[1, 2], [1, 3]], *good[1:])
    refused(ValueError, r"sequence 0 .* targets \[-1, 2\]", x, [[-1, 2], [1, 2]], *good[1:])
    refused(ValueError, "the blank, 0, is among", x, [[1, 0], [1, 2]], *good[1:])
    refused(ValueError, "sequence 0 .* target length 3", x, good[0], good[1], [3, 2])
    refused(ValueError, "input_lengths: from 0 to 4, not 4 … 5", x, good[0], [4, 5], good[2])
    refused(ValueError, "target_lengths: from 0", x, good[0], good[1], [-1, 2])
    refused(ValueError, "2 integers are needed", x, good[0], [4], good[2])
    refused(ValueError, r"targets \[3\] with target_lengths", x, [1, 2, 1], *good[1:])
    refused(TypeError, "targets are int64", x, [[1.0, 2.0]] * 2, *good[1:])
    refused(ValueError, "blank=3", x, *good, blank=3)
    for few in ((good[0][:1], *good[1:]), (good[0], [4], [2, 2]), (*good[:2], [2])):
        with pytest.raises(ValueError, match=r"for log_probs \[4, 2, 3\]"):
            core.ctc_forward(x, core.Paths(*few, 0), save=False)
    refused(ValueError, "reduction='all'", x, *good, reduction="all")
    refused(ValueError, r"log_probs \[3\]", mg.zeros(3), *good)
    refused(TypeError, "floats are needed", mg.zeros(4, 2, 3, dtype=mg.int64), *good)


def test_a_written_input_is_noticed() -> None:
    x = mg.zeros(4, 1, 3).log_softmax(-1).requires_grad_()
    loss = F.ctc_loss(x, [[1]], [4], [1])
    x.detach().zero_()
    with pytest.raises(RuntimeError, match="written in place"):
        loss.backward()


# ---- decoding --------------------------------------------------------------------------------------


def readings(x: Any, blank: int) -> dict[tuple[int, ...], float]:
    """{labels: probability} of one sequence x [T, C], by all its paths."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(x.shape[1]), repeat=len(x)):
        labels = tuple(oracle.read(path, blank))
        found[labels] = found.get(labels, 0) + math.exp(sum(x[t, c] for t, c in enumerate(path)))
    return found


@given(data=st.data())
def test_decoding_against_enumeration(data: Any) -> None:
    d = Draw(lambda low, high: data.draw(st.integers(low, high)))
    t, n, c = d.pick(0, 5), d.pick(1, 3), d.pick(1, 3)
    x, blank = mg.tensor(d.normal(t, n, c)).log_softmax(-1), d.pick(0, c - 1)
    steps = d.integers(0, t + 1, (n,))
    found = nn.ctc_beam_decode(x, steps, 1000, blank)
    greedy = nn.ctc_greedy_decode(x, steps, blank)
    for i, length in enumerate(steps):
        rows = x.numpy()[:length, i]
        expected = readings(rows, blank)
        assert {tuple(labels): pytest.approx(math.exp(p)) for labels, p in found[i]} == expected
        scores = [p for _, p in found[i]]
        assert scores == sorted(scores, reverse=True)
        assert greedy[i] == oracle.read(rows.argmax(-1).tolist(), blank)


def test_a_beam_is_a_lower_bound_and_finds_the_loss() -> None:
    x = mg.tensor(3 * seeded(0).normal(30, 1, 6)).log_softmax(-1)
    ((labels, score), *_), (narrow, *_) = (
        nn.ctc_beam_decode(x, None, 50)[0],
        nn.ctc_beam_decode(x, None, 1)[0],
    )
    loss = F.ctc_loss(x, [labels], [30], [len(labels)], reduction="sum").item()
    assert score <= -loss + 1e-9
    assert score == pytest.approx(-loss, abs=0.5)
    assert narrow[1] <= score
    with pytest.raises(ValueError, match="beam_width=0"):
        nn.ctc_beam_decode(x, beam_width=0)
    with pytest.raises(ValueError, match="floats"):
        nn.ctc_greedy_decode(x[0])
    with pytest.raises(ValueError, match="blank=6"):
        nn.ctc_greedy_decode(x, blank=6)
