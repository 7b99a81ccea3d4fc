"""A gradient through time, taken apart: which step's loss asks for which use of a weight.

An Elman network of 16 units runs for 24 steps, each with a loss of its own.  The gradient of U is a
double sum, over the losses t and the uses k ≤ t of the weight:

    ∂L/∂U = Σ_t Σ_{k≤t} ∂L_t/∂h_t · (∂h_t/∂h_{t-1} ⋯ ∂h_{k+1}/∂h_k) · ∂⁺h_k/∂U

What to learn: the sum of the terms is autograd's gradient, to rounding.  Most of it lies near the
diagonal: a term loses with every step between k and t what the Jacobians take, at least as fast as the
bound (β_W β_h)^(t-k) says, with β_W = ‖U‖ and β_h = max |tanh'| = 1.  What a network is to learn over 20
steps is asked for by a small fraction of its gradient.

    python examples/anatomy.py [--plot FILE]         needs matplotlib for the figure
"""

import sys

import numpy as np

import minigrad
from minigrad import learn, nn

T, N, H = 24, 4, 16

minigrad.manual_seed(0)
cell = nn.RNNCell(3, H, dtype="float64")
nn.init.orthogonal_(cell.U, gain=0.9)
x, target = minigrad.randn(T, N, 3, dtype="float64"), minigrad.randn(T, N, H, dtype="float64")
parts = learn.BPTT(cell, x, lambda t, y: ((y - target[t]) ** 2).sum())
terms = parts.terms("U")
sizes = np.sqrt((terms**2).sum((2, 3)))  # [t, k]
beta = learn.elman_bound(cell)

print(f"terms against autograd's gradient: largest relative difference {parts.check():.1e}")
print(f"β_W β_h = {beta:.3f}\n")
print("t - k   ‖term‖, share of the sum   ‖∂h_t/∂h_k‖, largest   Π ‖J‖, largest   (β_W β_h)^(t-k)")
for lag in (0, 1, 2, 3, 5, 8, 12, 16, 20, 23):
    share = np.trace(sizes, -lag) / sizes.sum()
    norm, bound = (
        max(a[k + lag, k].max() for k in range(T - lag)) for a in (parts.norms, parts.bound)
    )
    print(f"{lag:5} {share:25.2e} {norm:22.2e} {bound:16.2e} {beta**lag:17.2e}")
    assert norm <= bound * (1 + 1e-12) <= beta**lag * (1 + 1e-11)

if "--plot" in sys.argv:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
    image = left.imshow(np.log10(np.where(sizes > 0, sizes, np.nan)), cmap="viridis")
    left.set(title="log10 ‖term‖", xlabel="use k", ylabel="loss t")
    figure.colorbar(image, ax=left)
    lags = np.arange(T)
    right.semilogy(lags, parts.norms[-1].max(-1)[::-1], label="‖∂h_t/∂h_k‖")
    right.semilogy(lags, parts.bound[-1].max(-1)[::-1], label="product of the factors' norms")
    right.semilogy(lags, beta**lags, "--", label="(β_W β_h)^(t-k)")
    right.set(title="t = last step", xlabel="t - k")
    right.legend()
    figure.tight_layout()
    figure.savefig(sys.argv[sys.argv.index("--plot") + 1])
