"""Clockwork RNN, LSTM and simple RNN with equally many weights learn half a signal and go on alone.

Without input, from h = 0, a network has to generate 160 values of a sum of two sines, and is then left
running for 160 more (J. Koutník et al., A Clockwork RNN, 2014, where the signal is speech).  Weights
from N(0, 0.1²), Nesterov momentum; the LSTM's forget gate starts open (b = 5), as in the paper; each has
the best rate of 0.001 … 0.1.  Errors are squared, ÷ the variance: who says the mean has 1.

What to learn: groups that tick slowly carry a gradient over 160 steps where the others lose it.  And a
period that those of the groups divide goes on; another is learnt as well, and then the phase is lost.
"""

import argparse
from math import tau
from statistics import median

import minigrad
from minigrad import nn, optim

T, HALF = 320, 160
KINDS = {  # layer, width, rate
    "SRN": (nn.RNN(1, 30), 30, 0.01),
    "LSTM": (nn.LSTM(1, 15), 15, 0.01),
    "CW-RNN": (nn.ClockworkRNN(1, 39, periods=(1, 2, 4, 8, 16, 32)), 39, 0.03),
}
SIGNALS = {"64 + 16, which the clock divides": (64, 16), "60 + 17": (60, 17)}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=1500)
parser.add_argument("--seeds", type=int, default=3, help="errors are medians over them")
parser.add_argument("--quick", action="store_true", help="200 steps, a seed, a signal")
parser.add_argument("--plot", metavar="FILE", help="draw what the last seed generates (matplotlib)")
args = parser.parse_args()
if args.quick:
    args.steps, args.seeds, SIGNALS = 200, 1, dict(list(SIGNALS.items())[:1])


def train(kind, y, seed):
    """(number of weights, [T, 1, 1] as generated) after training on the first half of y [T, 1, 1]"""
    minigrad.manual_seed(seed)
    layer, width, rate = KINDS[kind]
    readout, x = nn.Linear(width, 1), minigrad.zeros(T, 1, 1)
    weights = [*layer.parameters(), *readout.parameters()]
    for w in weights:
        nn.init.normal_(w, 0, 0.1)
    if kind == "LSTM":
        nn.init.constant_(layer.cells()[0].b[width : 2 * width], 5.0)
    optimizer = optim.SGD(weights, lr=rate, momentum=0.95, nesterov=True)
    for _ in range(args.steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(readout(layer(x[:HALF])[0]), y[:HALF]).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    with minigrad.no_grad():
        return sum(w.numel() for w in weights), readout(layer(x)[0])


figures = []
for name, (slow, fast) in SIGNALS.items():
    t, found = minigrad.arange(T).float().reshape(T, 1, 1) * tau, {}
    y = ((t / slow).sin() + 0.5 * (t / fast + 1).sin()) / 1.5
    print(f"sines with periods {name}\n{'':8}{'weights':>8}{'learnt half':>14}{'continued':>12}")
    for kind in KINDS:
        counts, ps = zip(*(train(kind, y, seed) for seed in range(args.seeds)))
        for half in (slice(0, HALF), slice(HALF, T)):
            errors = [((p - y)[half].square().mean() / y[half].var()).item() for p in ps]
            found.setdefault(kind, []).append(median(errors))
        print(f"{kind:8}{counts[0]:8}{found[kind][0]:14.4f}{found[kind][1]:12.4f}")
        figures.append((f"{kind}, {name}", ps[-1].numpy().ravel(), y.numpy().ravel()))
    best = [min((errors[k], kind) for kind, errors in found.items()) for k in range(2)]
    print(f"{best[0][1]} learns best, {best[1][1] if best[1][0] < 0.5 else 'nobody'} can go on\n")

if args.plot:
    import matplotlib.pyplot as plt

    canvas = plt.figure(figsize=(8, 1.9 * len(figures)), layout="constrained")
    for axis, (title, p, y) in zip(canvas.subplots(len(figures), sharex=True), figures):
        axis.plot(range(T), y, ".", range(T), p, "-", [HALF, HALF], [-1, 1], "k:", markersize=2)
        axis.set_title(f"{title}: truth (dots), generated", fontsize=8)
    plt.savefig(args.plot, dpi=150)
