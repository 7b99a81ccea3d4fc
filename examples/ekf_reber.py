"""Kalman filter training on the embedded Reber grammar: a long memory from some hundred strings.

In B T B T X S E T E the last but one symbol is the second one, T or P, whatever stands in between; the
other forks are coins.  An LSTM of 8 units sees a string symbol by symbol and says which may come next.

What to learn: the filter finds in a few passes what has to be kept, Adam in some dozens, if at all.  A
string counts as right if at each of its symbols all that may follow got more than all that may not.
    python examples/ekf_reber.py [--quick] [--plot FILE]  (quick: the plain grammar, soon learnt)
"""

import sys

import numpy as np

import minigrad
from minigrad import data, learn, nn, optim

quick = "--quick" in sys.argv
grammar = data.ReberGrammar(embedded=not quick)
STRINGS, EKF, ADAM, SEEDS, NOISE = (64, 4, 30, (0,), 1.0) if quick else (128, 7, 60, (0, 1), 10.0)
minigrad.set_num_threads(1)


class Tagger(nn.Module):
    """An LSTM, which remembers to begin with, and a readout of 7 numbers from 0 to 1."""

    def __init__(self, seed):
        super().__init__()
        minigrad.manual_seed(seed)
        self.layer, self.out = nn.Recurrent(nn.LSTMCell(7, 8)), nn.Linear(8, 7)
        self.layer.cell.b.detach()[8:16] = 1.0  # the forget gate
        self.x, _, p, self.lengths = grammar.arrays(grammar.sample(200, seed=1000 + seed))
        self.possible = p.numpy() > 0

    def forward(self, x, lengths=None):
        """[T, N, 7] -> [T, N, 7]"""
        return self.out(self.layer(x, None, lengths)[0]).sigmoid()

    def right(self):
        """The fraction of 200 new strings that are right from beginning to end."""
        y = self(self.x, self.lengths).detach().numpy()
        right = np.where(self.possible, y, 9).min(-1) > np.where(self.possible, -9, y).max(-1)
        return (right | (np.arange(len(y))[:, None] >= self.lengths)).all(0).mean()


def by_filter(net, words):
    """What is right after each pass; an observation at every symbol."""
    steps = EKF * sum(len(word) - 1 for word in words)
    q, r = learn.annealed(1e-2, 1e-5, steps), learn.annealed(NOISE, NOISE / 10, steps)
    ekf = learn.EKF(net, r=r, q=q, p0=1.0)
    for _ in range(EKF):
        for x, target, *_ in (grammar.arrays([word]) for word in words):
            rtrl = learn.RTRL(net.layer.cell)
            for x_t, t in zip(x, target):
                ekf.step(net.out(rtrl.step(x_t)).sigmoid(), t, rtrl.jacobian)
        yield net.right()


def by_adam(net, words, lr=0.01):
    """What is right after each pass; a step after every string, back through all of it."""
    adam = optim.Adam(net.parameters(), lr=lr)
    for _ in range(ADAM):
        for x, target, *_ in (grammar.arrays([word]) for word in words):
            adam.zero_grad()
            ((net(x) - target) ** 2).sum().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            adam.step()
        yield net.right()


print(
    f"{STRINGS} strings; passes until 90 % are right; what is right after each (Adam: each tenth) pass"
)
curves = []
for seed in SEEDS:
    for name, run, each in (("EKF", by_filter, 1), ("Adam", by_adam, 10)):
        curve = list(run(Tagger(seed), grammar.sample(STRINGS, seed=seed)))
        when = next((k for k, part in enumerate(curve, 1) if part >= 0.9), f"> {len(curve)}")
        curves.append((name, curve))
        shown = "".join(f"{part:7.1%}" for part in curve[each - 1 :: each])
        print(f"seed {seed}  {name:5} {when:>5} {shown}")

if "--plot" in sys.argv:
    import matplotlib.pyplot as plt

    for name, curve in curves:
        plt.plot(range(1, len(curve) + 1), curve, label=name, alpha=0.7)
    plt.xlabel("passes over the strings")
    plt.ylabel("new strings that are right")
    plt.legend()
    plt.savefig(sys.argv[sys.argv.index("--plot") + 1])
