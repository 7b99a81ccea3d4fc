"""How far back can a network learn to look?  A sweep over lags.

The first input is +1 or -1, then come `lag` steps of noise, then the question: which was it?  Everything
depends on the gradient over `lag` steps.  Every network has 16 units and gets the same number of
steps of the optimiser; a trial counts if the answers are then right in 9 of 10 cases.

What to learn: plain BPTT, an Elman network with small weights and gradient descent, fails beyond about
ten steps.  A better optimiser, which rescales small gradients, helps it a little further.  Networks with
a path on which the gradient does not shrink go on: an LSTM whose forget gate is open to begin with, a
GRU whose update gate is closed, and a clockwork RNN, whose slow units make few steps over the lag.

    python examples/lag_sweep.py [SEEDS [FILE]]         3 seeds take about ten seconds; FILE: a figure
"""

import sys

import minigrad
from minigrad import data, nn, optim

LAGS, STEPS, N, H = (2, 5, 10, 20, 40, 80), 300, 32, 16
SEEDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3


def gates_set(layer, bias):
    """The layer with `bias` in the bias of its second gate: f of an LSTM, z of a GRU."""
    with minigrad.no_grad():
        layer.cells()[0].b[H : 2 * H] = bias
    return layer


def adam(parameters):
    """What the networks but the first one are trained by."""
    return optim.Adam(parameters, lr=0.01)


NETWORKS = {
    "Elman, SGD": (lambda: nn.RNN(2, H), lambda parameters: optim.SGD(parameters, lr=0.5)),
    "Elman, Adam": (lambda: nn.RNN(2, H), adam),
    "LSTM": (lambda: gates_set(nn.LSTM(2, H), 4.0), adam),
    "GRU": (lambda: gates_set(nn.GRU(2, H), -4.0), adam),
    "clockwork": (lambda: nn.ClockworkRNN(2, H, periods=(1, 4, 16, 64)), adam),
}


def learns(network, optimizer, lag, seed):
    """Whether 9 of 10 answers are right in the end."""
    minigrad.manual_seed(seed)
    layer, out = network(), nn.Linear(H, 2)
    model = nn.ModuleList([layer, out])
    optimizer = optimizer(list(model.parameters()))
    for _ in range(STEPS):
        x, y = data.latch(lag, N, 2)
        loss = nn.functional.cross_entropy(out(layer(x)[0][-1]), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model, 1.0)
        optimizer.step()
    with minigrad.no_grad():
        x, y = data.latch(lag, 500, 2)
        right = out(layer(x)[0][-1]).argmax(-1) == y
        return right.float().mean().item() > 0.9


print(
    f"of {SEEDS} trials, how many learn the task; "
    f"expected: Elman by SGD to 10, gates and clocks to 40\n\n{'lag':14}"
    + "".join(f"{n:>5}" for n in LAGS)
)
counts = {}
for name, (network, optimizer) in NETWORKS.items():
    print(f"{name:14}", end="", flush=True)
    for lag in LAGS:
        count = sum(learns(network, optimizer, lag, seed) for seed in range(SEEDS))
        counts.setdefault(name, []).append(count)
        print(f"{count:5}", end="", flush=True)
    print()

if len(sys.argv) > 2:
    import matplotlib.pyplot as plt

    for name, column in counts.items():
        plt.semilogx(LAGS, [count / SEEDS for count in column], "o-", label=name, alpha=0.7)
    plt.xlabel("lag")
    plt.ylabel("share of trials that learn")
    plt.legend()
    plt.savefig(sys.argv[2])
