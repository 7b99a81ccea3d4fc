"""Kalman filter training on the Mackey-Glass series: few passes over the data, each of them dearer.

What to learn: an extended Kalman filter keeps in a covariance P how uncertain the weights still are, and
which of them together, and so gets out of one observation what gradient descent gets out of many.  An
Elman network predicts the series 6 units of time ahead; the filter's derivatives come from real-time
recurrent learning.  GEKF has one P, DEKF one for each unit.  The error is that on later samples.
    python examples/ekf.py [--quick] [--plot FILE]
"""

import argparse
import time

import minigrad
from minigrad import data, learn, nn, optim

arguments = argparse.ArgumentParser(description="Kalman filter training against Adam")
arguments.add_argument("--quick", action="store_true", help="one seed, fewer passes of Adam")
arguments.add_argument("--plot", metavar="FILE", help="draw the curves (needs matplotlib)")
options = arguments.parse_args()
T, GOOD, (SEEDS, PASSES) = 500, 0.035, ((1,), 30) if options.quick else ((1, 2, 3), 240)
minigrad.set_num_threads(1)


class Predictor(nn.Module):
    """An Elman network of 8 units and a linear readout; the data, in standard deviations."""

    def __init__(self, seed):
        super().__init__()
        series = data.mackey_glass(T + 301, seed=seed, sample=6.0)
        series = minigrad.tensor((series - series.mean()) / series.std()).float().reshape(-1, 1, 1)
        self.x, self.target = series[:-1], series[1:]
        minigrad.manual_seed(seed)
        self.layer, self.out = nn.Recurrent(nn.RNNCell(1, 8)), nn.Linear(8, 1)

    def error(self):
        """Root of the mean squared error on the samples after T."""
        with minigrad.no_grad():
            d = self.out(self.layer(self.x)[0]) - self.target
            return float((d[T:] ** 2).mean()) ** 0.5


def by_adam(net, lr):
    """The error after each pass of truncated BPTT with a window of 10."""
    adam = optim.Adam(net.parameters(), lr=lr)
    for _ in range(PASSES):
        for h, steps in learn.tbptt(net.layer, net.x[:T], 10):
            adam.zero_grad()
            nn.functional.mse_loss(net.out(h), net.target[steps]).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            adam.step()
        yield net.error()


def by_filter(net, groups, passes=6):
    """The error after each pass; an observation at every sample."""
    q = learn.annealed(1e-3, 1e-6, passes * T)
    ekf = learn.EKF(net, r=learn.annealed(1.0, 0.1, passes * T), q=q, p0=1.0, groups=groups)
    for _ in range(passes):
        rtrl = learn.RTRL(net.layer.cell)
        for x, target in zip(net.x[:T], net.target):
            ekf.step(net.out(rtrl.step(x)), target, rtrl.jacobian)
        yield net.error()


print(f"passes to an error of {GOOD}; the error after passes 1, 3, 6, 30 and the last; s per pass")
runs = {"GEKF": (by_filter, "global"), "DEKF": (by_filter, "node")}
runs.update({f"Adam {lr}": (by_adam, lr) for lr in (0.003, 0.01)})
for name, (run, option) in runs.items():
    for seed in SEEDS:
        start, curve = time.process_time(), list(run(Predictor(seed), option))
        seconds = (time.process_time() - start) / len(curve)
        when = next((k for k, e in enumerate(curve, 1) if e <= GOOD), f"> {len(curve)}")
        errors = "".join(f"{curve[k - 1]:8.3f}" for k in (1, 3, 6, 30) if k <= len(curve))
        print(f"{name:10} seed {seed}: {when:>6} {errors:32} {curve[-1]:7.3f} {seconds:8.3f}")
        if options.plot:
            from matplotlib import pyplot as plt

            plt.loglog(range(1, len(curve) + 1), curve, label=f"{name}, seed {seed}")
            plt.gcf().legend(), plt.savefig(options.plot)
