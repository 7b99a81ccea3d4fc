"""Real-time recurrent learning: the gradient through time without going back in time.

What to learn: RTRL's gradient is that of BPTT, to rounding, and is there after every step.  What it
costs is the other way round: BPTT keeps all T steps; RTRL keeps one S = ds/dθ of n P numbers, however
long the sequence is, and multiplies it by the step Jacobian at every step, n² P multiply-adds.  SnAp-1
keeps of S what one step can fill: examples/rtrl_approximate.py shows what that is worth.

    python examples/rtrl.py [--quick] [--plot FILE]
"""

import argparse
import time
import tracemalloc

import minigrad
from minigrad import core, learn, nn

arguments = argparse.ArgumentParser(description="what RTRL costs, beside BPTT")
arguments.add_argument("--quick", action="store_true", help="smaller sizes")
arguments.add_argument("--plot", metavar="FILE", help="draw the costs (needs matplotlib)")
options = arguments.parse_args()
SIZES = [(n, 500) for n in (32, 48, 64, 96, 128)] + [(32, T) for T in (50, 5000, 50000)]
SIZES = [(32, 100), (48, 100), (32, 1000)] if options.quick else SIZES
NAMES = {"BPTT": None, "RTRL": learn.RTRL, "SnAp-1": learn.SnAp1}


def used():
    """Bytes in Python's allocator and in the C core's."""
    return tracemalloc.get_traced_memory()[0] + core.memory()[0]


def cost(learner, cell, x):
    """(microseconds per step, kilobytes kept for the gradient); of a learner, some steps will do."""
    some = x[:30]

    def run():
        if learner is None:
            nn.Recurrent(cell)(x)[0].sum().backward()
        for x_t in some if learner else ():
            learner.backward(learner.step(x_t).sum())

    run()
    start = time.process_time()
    run()
    elapsed = (time.process_time() - start) / len(some if learner else x)
    if learner:
        learner.reset()
    tracemalloc.start()
    before = used()
    kept = learner.step(x[0]) if learner else nn.Recurrent(cell)(x)
    size = used() - before
    tracemalloc.stop()
    del kept
    return 1e6 * elapsed, size / 1024


minigrad.set_num_threads(1)
print("an LSTM, one sequence, float32: microseconds per step and kilobytes kept")
print("  n     T      P" + "".join(f"{name:>22}" for name in NAMES))
table = []
for n, T in SIZES:
    cell, x = nn.LSTMCell(4, n), minigrad.randn(T, 1, 4)
    size = sum(p.numel() for p in cell.parameters())
    table.append([cost(kind and kind(cell), cell, x) for kind in NAMES.values()])
    print(f"{n:3} {T:5} {size:6}" + "".join(f"{us:12.1f}{kb:10.0f}" for us, kb in table[-1]))

if options.plot:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, part, what in zip(axes, (0, 1), ("microseconds per step", "kilobytes kept")):
        for k, name in enumerate(NAMES):
            axis.semilogy([row[k][part] for row in table], "o-", label=name)
        axis.set_xticks(range(len(SIZES)), [f"n={n}\nT={T}" for n, T in SIZES], fontsize=7)
        axis.set_title(what)
    axes[0].legend()
    figure.savefig(options.plot)
