"""NARMA-10: an echo state network remembers ten steps and multiplies.

Each output depends on the ten outputs and the ten inputs before it, by products (Atiya and Parlos,
2000).  The network is trained on 4 000 steps, of which 200 are washed out, and tested on the next
2 000.  Units, input scale and spectral radius were tried on other seeds than those shown here.

Published figures, for other numbers of steps and other knobs, are NRMSE 0.1 to 0.2 with 100 to 1 000
units.  The best constant has 1.

What to learn: the reservoir is not trained at all; one linear regression is the whole training, and
the regularisation is chosen on steps held back.
"""

import sys

import numpy as np

import minigrad
from minigrad import learn, nn
from minigrad.data import narma10

TRAINING, TEST, WASHOUT, SEEDS = 4000, 2000, 200, 5
plot = sys.argv[sys.argv.index("--plot") + 1] if "--plot" in sys.argv else None
sizes = (50, 100) if "--quick" in sys.argv else (50, 100, 200, 500)


def run(units, seed):
    """NRMSE of the test steps, the fit, targets and outputs."""
    u, y = narma10(TRAINING + TEST, seed=seed)
    esn = nn.EchoStateNetwork(
        1, units, 1, spectral_radius=0.95, input_scale=0.1, seed=seed, dtype="float64"
    )
    fit = learn.readout.fit(esn, u[:TRAINING], y[:TRAINING], washout=WASHOUT)
    with minigrad.no_grad():
        out, _ = esn(minigrad.tensor(u[TRAINING:]), fit.state)
    return learn.readout.nrmse(out, y[TRAINING:]), fit, y[TRAINING:], out.numpy()


print(f"NRMSE of {TEST} test steps: median and range of {SEEDS} seeds")
for units in sizes:
    runs = [run(units, 100 + seed) for seed in range(SEEDS)]
    errors = [error for error, *_ in runs]
    ridges = f"{min(r.ridge for _, r, *_ in runs):.0e} … {max(r.ridge for _, r, *_ in runs):.0e}"
    print(
        f"{units:4} units: {np.median(errors):.3f}  ({min(errors):.3f} … {max(errors):.3f}), "
        f"ridge {ridges}"
    )

if plot:
    import matplotlib.pyplot as plt

    _, _, target, out = runs[0]
    plt.figure(figsize=(9, 3))
    plt.plot(target[:200], label="NARMA-10")
    plt.plot(out[:200], "--", label=f"{sizes[-1]} units")
    plt.legend()
    plt.savefig(plot, bbox_inches="tight")
