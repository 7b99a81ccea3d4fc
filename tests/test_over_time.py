"""Losses over time: the words, padding, losses of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles_sequences as oracle
import pytest
from draw import Draw
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F
from minigrad.ops.over_time import REDUCTIONS

NAN = float("nan")


def squares(y: Any, target: Any) -> Any:
    """½ (y - target)² of every output."""
    return F.half_squared_error(y, target, reduction="none")


@given(data=st.data())
def test_padding_changes_nothing(data: Any) -> None:
    """The loss and its gradient with NaN in the padding, and what each sequence alone would give."""
    d = Draw(lambda low, high: data.draw(st.integers(low, high)))
    t, n, o = d.pick(1, 5), d.pick(1, 4), d.pick(1, 3)
    lengths = d.integers(0, t + 1, (n,))
    lengths[0] = t
    mask = np.arange(t)[:, None] < lengths if d.flag() else d.mask((t, n))
    mask[0, 0] = True
    y, target = d.normal(t, n, o), d.normal(t, n, o)
    reduction = d.choice(*REDUCTIONS)
    expected = oracle.over_time((y - target) ** 2 / 2, mask, reduction)
    holes = [np.where(mask[..., None], a, NAN) for a in (y, target)]
    x = mg.tensor(holes[0], requires_grad=True)
    loss = nn.SequenceLoss(squares, reduction)(x, mg.tensor(holes[1]), mask=mg.tensor(mask))
    np.testing.assert_allclose(loss.detach().numpy(), expected, atol=1e-12)
    loss.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    assert not x.grad.numpy()[~mask].any()
    losses = mg.tensor(np.where(mask, ((y - target) ** 2 / 2).sum(-1), NAN), requires_grad=True)
    again = F.sequence_loss(losses, mask=mask, reduction=reduction)
    np.testing.assert_allclose(again.detach().numpy(), expected, atol=1e-12)
    again.sum().backward()
    assert not losses.grad.numpy()[~mask].any()
    filled = mg.tensor(np.where(mask[..., None], y, 0), requires_grad=True)
    assert mg.gradcheck(
        lambda x: nn.SequenceLoss(squares, reduction)(x, mg.tensor(holes[1]), mask=mask), filled
    )


def test_the_words_on_one_example() -> None:
    losses, lengths = mg.tensor([[1.0, 2.0, NAN], [3.0, NAN, NAN]]), [2, 1, 0]
    expected = {
        "none": [[1, 2, 0], [3, 0, 0]],
        "sums": [4, 2, 0],
        "sum": 6,
        "mean": 2,
        "mean_of_sums": 2,
        "mean_of_means": 2,  # (2 + 2) / 2: the third has no step
    }
    assert set(expected) == set(REDUCTIONS)
    for reduction, value in expected.items():
        assert F.sequence_loss(losses, lengths, reduction=reduction).tolist() == value
    assert F.sequence_loss([losses[0, :2], losses[0, :2] * 2]).item() == 9  # a list of steps
    holes = np.array(
        [[True, False, True], [True, True, True]]
    )  # with lengths, too: where both agree
    assert F.sequence_loss(losses, lengths, holes, "sums").tolist() == [4, 0, 0]
    for reduction in ("mean", "mean_of_means"):
        assert np.isnan(F.sequence_loss(losses, [0, 0, 0], reduction=reduction).item())


def test_the_sequence_loss_of_the_textbook() -> None:
    """Binary cross-entropy at each step, summed over t; and classes, where ignore_index is PyTorch's."""
    x = mg.randn(6, 1, dtype=mg.float64)
    target = (mg.rand(6, 1) < 0.5).to(mg.float64)
    p = 1 / (1 + np.exp(-x.numpy()))
    t = target.numpy()
    by_hand = -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum()

    def step(x: Any, target: Any) -> Any:
        return F.binary_cross_entropy_with_logits(x, target, reduction="none")

    assert nn.SequenceLoss(step)(x, target).item() == pytest.approx(by_hand)
    scores, classes = mg.randn(4, 2, 5), mg.tensor([[1, 2], [0, -100], [4, -100], [3, -100]])
    expected = F.cross_entropy(scores.reshape(8, 5), classes.reshape(8))

    def surprise(y: Any, target: Any) -> Any:
        return F.cross_entropy(y, target, reduction="none")

    mean = nn.SequenceLoss(surprise, "mean")
    assert mean(scores, classes, lengths=[4, 1]).item() == pytest.approx(expected.item(), rel=1e-6)


def test_half_squared_error() -> None:
    y = mg.tensor([1.0, 4.0], requires_grad=True)
    loss = F.half_squared_error(y, mg.tensor([0.0, 1.0]), reduction="sum")
    loss.backward()
    assert (loss.item(), y.grad.tolist()) == (5.0, [1.0, 3.0])


def test_what_is_refused() -> None:
    losses = mg.zeros(3, 2)

    def refused(match: str, f: Any, *args: Any, **options: Any) -> None:
        with pytest.raises(ValueError, match=match):
            f(*args, **options)

    refused("reduction='total': one of none, sums", F.sequence_loss, losses, reduction="total")
    refused(r"losses \[3\]", F.sequence_loss, mg.zeros(3))
    refused(r"mask bool \[2, 3\]", F.sequence_loss, losses, mask=np.ones((2, 3), bool))
    refused("lengths: from 0 to 3", F.sequence_loss, losses, [4, 3])
    refused("2 integers", F.sequence_loss, losses, [1.0, 2.0])
    refused("reduction='all'", nn.SequenceLoss, squares, "all")
    refused(r"\[T, N, …\] with the same", nn.SequenceLoss(squares), losses, mg.zeros(2, 2))
    mean = nn.SequenceLoss(F.mse_loss)
    refused('one for each step.*reduction="none"', mean, losses, losses)
