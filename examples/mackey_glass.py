"""Mackey-Glass (τ = 17): an echo state network hears its own output, and goes on by itself.

Training: 3 000 steps of the series, tanh(x - 1), as teacher of the feedback.  Test: from 50 places
later in the series the network hears the series for 200 steps, then runs freely for 84.  NRMSE₈₄ is
the error at the 84th step, of x, relative to the deviation of the series, over the 50 places.

Published: log₁₀ NRMSE₈₄ = -4.2 with 1 000 units and 3 000 steps (Jaeger and Haas, Science 304, 2004;
with refinements they are 2 400 times as precise as methods before).  There, noise in the reservoir
makes the free run stable; here, ridge regression chosen on the last steps does.  Units are leaky, and
the series is integrated with RK4 steps of 0.1, from a history that depends on the seed.

What to learn: teacher forcing and free running are one network; and what the regression gets out of
a reservoir is limited by its arithmetic: see minigrad/learn/readout.py.
"""

import sys

import numpy as np

import minigrad
from minigrad import learn, nn
from minigrad.data import mackey_glass

TRAINING, WASHOUT, PLACES, HEARD, FREE = 3000, 100, 50, 200, 84
quick = "--quick" in sys.argv
plot = sys.argv[sys.argv.index("--plot") + 1] if "--plot" in sys.argv else None
cases = ((100, 3), (400, 3)) if quick else ((100, 5), (400, 5), (1000, 3))


def run(units, seed):
    """log10 of NRMSE₈₄, and targets and outputs of the free runs [84, 50]."""
    x = mackey_glass(TRAINING + 60 * PLACES + HEARD + FREE, seed=seed)[:, None]
    z = np.tanh(x - 1)
    esn = nn.EchoStateNetwork(
        0, units, 1, feedback=True, feedback_scale=1.5, bias_scale=0.5, leak=0.5,
        spectral_radius=0.9, seed=seed, dtype="float64",
    )  # fmt: skip
    learn.readout.fit(esn, None, z[:TRAINING], washout=WASHOUT)
    places = TRAINING + 60 * np.arange(PLACES)
    heard = minigrad.from_numpy(np.stack([z[p : p + HEARD] for p in places], 1))
    with minigrad.no_grad():
        _, state = esn(minigrad.zeros(HEARD, PLACES, 0), teacher=heard)
    out, _ = esn.generate(FREE, state)
    out = np.arctanh(np.clip(out.numpy()[..., 0], -0.9999, 0.9999)) + 1
    target = np.stack([x[p + HEARD : p + HEARD + FREE, 0] for p in places], 1)
    nrmse = np.sqrt(((out[-1] - target[-1]) ** 2).mean() / x.var())
    return np.log10(nrmse), target, out


print("log10 NRMSE after 84 free steps: median and range over seeds")
for units, seeds in cases:
    runs = [run(units, 100 + seed) for seed in range(seeds)]
    errors = [error for error, *_ in runs]
    print(
        f"{units:5} units: {np.median(errors):5.2f}  ({min(errors):.2f} … {max(errors):.2f}, "
        f"{seeds} seeds)"
    )
print(" 1000 units, Jaeger and Haas: -4.2")

if plot:
    import matplotlib.pyplot as plt

    plt.figure(figsize=(9, 3))
    plt.plot(runs[0][1][:, 0], label="Mackey-Glass")
    plt.plot(runs[0][2][:, 0], "--", label=f"free run, {units} units")
    plt.legend()
    plt.savefig(plot, bbox_inches="tight")
