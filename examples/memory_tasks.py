"""Four tasks that need memory, three networks: which of them learn what?

    adding   two marked numbers among fifty steps: their sum, to within 0.1
    order    in which order did two X or Y come, among forty steps of other symbols
    copy     five symbols, ten steps of nothing, the five symbols again
    counting aⁿbⁿ: which symbols may come next?  Trained with n up to 10, tried with n up to 20

What to learn: an Elman network sees the gradient of the last twenty steps or so, and learns none of the
four.  LSTM and GRU learn the first three alike.  Counting parts the two: the LSTM's cell can add 1 at
every a, without bound, and goes on to count beyond 10; a GRU's state is a mean of values between -1
and 1, and counts no further than it was trained to.

    python examples/memory_tasks.py [SEEDS [FILE]]        3 seeds take about a minute; FILE: a figure
"""

import sys

import numpy as np

import minigrad
from minigrad import data, nn, optim

N, H, SEEDS = 32, 32, int(sys.argv[1]) if len(sys.argv) > 1 else 3
F = nn.functional


def adding(score, n):
    """Each task: (loss, which of n sequences or symbols are right) of a network's scores."""
    x, y = data.adding_problem(50, n)
    s = score(x)[-1, :, 0]
    return F.mse_loss(s, y), (s - y).abs() < 0.1


def order(score, n):
    """XX, XY, YX or YY?"""
    x, y = data.temporal_order(40, n)
    s = score(F.one_hot(x, 6).float())[-1]
    return F.cross_entropy(s, y), s.argmax(-1) == y


def copy(score, n):
    """Which symbols were there?"""
    x, y = data.copy_memory(delay=10, batch=n, length=5, symbols=4)
    s, y = score(F.one_hot(x, 6).float())[-5:], y[-5:]
    return F.cross_entropy(s.reshape(-1, 6), y.reshape(-1)), s.argmax(-1) == y


def counting(score, n):
    """All symbols that may come next, at each step of a word."""
    ns = minigrad.randint(1, 11, (n,)).tolist() if n == N else range(1, 21)
    x, y, lengths = data.counting(ns)
    s = score(x, lengths)
    valid = minigrad.from_numpy(np.arange(x.shape[0])[:, None, None] < np.array(lengths)[:, None])
    loss = F.binary_cross_entropy_with_logits(s, y, reduction="none") * valid.float()
    wrong = ((s > 0).float() != y).float() * valid.float()
    return loss.sum() / valid.sum().item(), wrong.amax((0, 2)) == 0


def train(kind, seed, task, inputs, outputs, steps):
    """The share of answers that are right after `steps` steps of Adam."""
    minigrad.manual_seed(seed)
    model = nn.ModuleList([kind(inputs, H), nn.Linear(H, outputs)])
    with minigrad.no_grad():  # to begin with, keep: forget gate open, update gate closed
        bias = model[0].cells()[0].b[H : 2 * H]
        bias.copy_(bias + {nn.RNN: 0.0, nn.LSTM: 2.0, nn.GRU: -2.0}[kind])
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def score(x, lengths=None):
        return model[1](model[0](x, lengths=lengths)[0])

    for _ in range(steps):
        loss, _ = task(score, N)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model, 1.0)
        optimizer.step()
    with minigrad.no_grad():
        return task(score, 500)[1].float().mean().item()


print(
    f"right answers, median of {SEEDS} seeds (least … most); expected: RNN / LSTM / GRU\n\n{'':10}",
    end="",
)
print("".join(f"{kind.__name__:>22}" for kind in (nn.RNN, nn.LSTM, nn.GRU)) + "   expected")
medians = {}
for task, *sizes in (
    (adding, 2, 1, 600),
    (order, 6, 4, 600),
    (copy, 6, 6, 1500),
    (counting, 3, 3, 800),
):
    print(f"{task.__name__:10}", end="", flush=True)
    for kind in (nn.RNN, nn.LSTM, nn.GRU):
        shares = sorted(train(kind, seed, task, *sizes) for seed in range(SEEDS))
        medians.setdefault(kind.__name__, []).append(shares[SEEDS // 2])
        text = f"{shares[SEEDS // 2]:.0%} ({shares[0]:.0%} … {shares[-1]:.0%})"
        print(f"{text:>22}", end="", flush=True)
    elman, gru = ("< 75%", "< 75%") if task is counting else ("< 75%", "> 90%")
    print(f"   {elman} / > 90% / {gru}")

if len(sys.argv) > 2:
    import matplotlib.pyplot as plt

    for k, (name, values) in enumerate(medians.items()):
        plt.bar(np.arange(4) + 0.25 * k, values, 0.25, label=name)
    plt.xticks(np.arange(4) + 0.25, ["adding", "order", "copy", "counting"])
    plt.ylabel("right answers")
    plt.legend()
    plt.savefig(sys.argv[2])
