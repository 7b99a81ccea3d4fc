"""What approximations of real-time recurrent learning see of the gradient.

What to learn: RTRL carries S = ds/dθ along, all of it, and gets the gradient of BPTT to rounding.
SnAp-1 keeps the numbers of S that one step can fill: its direction is near the exact one, always the
same, and stays wrong by what goes from unit to unit.  UORO keeps a random product of two vectors: one
run says little, and the mean of many goes to the exact gradient like 1/√runs.

    python examples/rtrl_approximate.py [--quick]
"""

import argparse

import numpy as np

import minigrad
from minigrad import learn, nn

arguments = argparse.ArgumentParser(description="SnAp-1 and UORO against the exact gradient")
arguments.add_argument("--quick", action="store_true", help="fewer runs of UORO")
RUNS = 64 if arguments.parse_args().quick else 128
T, N, H = 20, 1, 8

minigrad.manual_seed(1)
x = minigrad.randn(T, N, 4, dtype="float64")
weight = minigrad.randn(T, N, H, dtype="float64")  # the loss of step t is Σ weight h


def gradient(cell, learner=None):
    """All of d(loss)/dθ as one vector: online, or by BPTT."""
    cell.zero_grad()
    if learner is None:
        y, _ = nn.Recurrent(cell)(x)
        (weight * y).sum().backward()
    else:
        learner.reset()
        for x_t, w_t in zip(x, weight):
            learner.backward((w_t * learner.step(x_t)).sum())
    return np.concatenate([p.grad.numpy().ravel() for p in cell.parameters()])


def cosine(g):
    """Of the angle between g and the exact gradient: 1 is the same direction, 0 says nothing."""
    return g @ exact / np.linalg.norm(g) / np.linalg.norm(exact)


print(f"the gradient of {T} steps, {H} units, and its cosine with that of BPTT")
print(
    f"{'':10}{'RTRL differs by':>18}{'SnAp-1':>10}{'UORO, 1 run':>14}{'16 runs':>10}{RUNS:7} runs"
)
for kind in (nn.RNNCell, nn.LSTMCell, nn.GRUCell):
    minigrad.manual_seed(0)
    cell = kind(4, H, dtype="float64")
    exact = gradient(cell)
    difference = abs(gradient(cell, learn.RTRL(cell)) - exact).max()
    assert difference < 1e-10
    snap, uoro = gradient(cell, learn.SnAp1(cell)), learn.UORO(cell)
    runs = np.stack([gradient(cell, uoro) for _ in range(RUNS)])
    one = np.mean([cosine(run) for run in runs])
    some = np.mean([cosine(runs[k : k + 16].mean(0)) for k in range(0, RUNS, 16)])
    print(
        f"{kind.__name__:10}{difference:18.1e}{cosine(snap):10.4f}{one:14.4f}{some:10.4f}"
        f"{cosine(runs.mean(0)):12.4f}"
    )
