"""Clipping against exploding gradients: the same training with and without.

An Elman network whose recurrent weights are large, ‖U‖ = 1.4, learns the adding problem by plain
gradient descent.  On its way the loss, as a function of the weights, has cliffs: there the gradient
is larger than usual by orders of magnitude.

What to learn: one step along such a gradient throws the weights far away, where the loss and its
gradient are larger still, and in a few steps everything is infinite.  Clipping by the global norm,
g ← g θ / ‖g‖ if ‖g‖ > θ, keeps the direction and bounds the step (Pascanu et al., 2013): at the same
rate the training succeeds.  The baseline is the error of always saying the mean, 1/6.

    python examples/clipping.py [--plot FILE]         needs matplotlib for the figure
"""

import math
import sys

import minigrad
from minigrad import data, nn, optim

T, N, H, STEPS, SEEDS = 15, 32, 32, 1500, 5
RATE, CLIP, BASELINE = 0.1, 0.5, 1 / 6


def train(seed, clip):
    """Loss over the last 100 steps, and all norms of the gradient; stops where one is not finite."""
    minigrad.manual_seed(seed)
    rnn, out = nn.RNN(2, H), nn.Linear(H, 1)
    nn.init.orthogonal_(rnn.cells()[0].U, gain=1.4)
    model = nn.ModuleList([rnn, out])
    optimizer = optim.SGD(model.parameters(), lr=RATE)
    losses, norms = [], []
    for _ in range(STEPS):
        x, y = data.adding_problem(T, N)
        loss = nn.functional.mse_loss(out(rnn(x)[1][0])[:, 0], y)
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model, clip, error_if_nonfinite=False).item())
        losses.append(loss.item())
        if not math.isfinite(norms[-1]):
            break
        optimizer.step()
    return sum(losses[-100:]) / 100, norms


print(f"loss after {STEPS} steps at rate {RATE}, relative to the baseline {BASELINE:.4f}\n")
print("expected: not finite without clipping; below 0.8 with it")
print("seed   not clipped                         clipped   fraction   median norm")
curves = []
for seed in range(SEEDS):
    free, wild = train(seed, math.inf)
    held, norms = train(seed, CLIP)
    curves.append((wild, norms))
    what = f"not finite after {len(wild)} steps" if len(wild) < STEPS else f"{free / BASELINE:.3f}"
    print(
        f"{seed:4}   {what:30} {held / BASELINE:12.3f}"
        f" {sum(n > CLIP for n in norms) / STEPS:10.2f} {sorted(norms)[STEPS // 2]:13.2f}"
    )

if "--plot" in sys.argv:
    import matplotlib.pyplot as plt

    for wild, norms in curves:
        plt.loglog(range(1, len(wild) + 1), wild, "tab:red")
        plt.loglog(range(1, len(norms) + 1), norms, "tab:blue", alpha=0.5)
    plt.axhline(CLIP, color="black", linestyle=":")
    plt.ylim(1e-2, 1e12)
    plt.xlabel("step")
    plt.ylabel("gradient norm: not clipped (red), before clipping (blue)")
    plt.savefig(sys.argv[sys.argv.index("--plot") + 1])
