"""An op of your own: the cumulative sum, its derivative, the proof, and a use.

    y_i = Σ_{j≤i} x_j,   hence   ∂L/∂x_j = Σ_{i≥j} ∂L/∂y_i:  the sum of the gradient from behind

What to learn: an op is a function of arrays (NumPy will do) with one rule per argument.  A rule
names what it needs: `g`, the gradient of the result, here alone; others ask for `y` or for the
arguments.  It is written with tensors, so it can be differentiated again.  `gradcheck` compares it
with finite differences and says where it is wrong.
"""

import numpy as np

import minigrad
from minigrad import nn, optim


@minigrad.op
def cumsum(x):
    """y_i = Σ_{j≤i} x_j along the last dimension: [..., n] -> [..., n]"""
    return minigrad.from_numpy(np.cumsum(x.numpy(), -1))


cumsum.vjp(x=lambda g: minigrad.flip(cumsum(minigrad.flip(g, -1)), -1))


@minigrad.op
def wrong(x):
    """The same, with the rule that forgets to go backwards."""
    return minigrad.from_numpy(np.cumsum(x.numpy(), -1))


wrong.vjp(x=lambda g: cumsum(g))  # noqa: PLW0108 (a rule's parameter names say what it needs)

minigrad.manual_seed(0)
sample = minigrad.randn(2, 5, dtype=minigrad.float64).requires_grad_()
print("gradcheck:", minigrad.gradcheck(cumsum, (sample,)))
print("gradgradcheck:", minigrad.gradgradcheck(cumsum, (sample,)))
try:
    minigrad.gradcheck(wrong, (sample,))
except minigrad.check.GradcheckError as error:
    print("the wrong rule:", str(error).split(";")[0])

# ---- in use: the increasing curve that fits noisy points best

n = 100
t = minigrad.linspace(0.0, 1.0, n)
truth = minigrad.sigmoid(12.0 * (t - 0.5))
points = truth + 0.2 * minigrad.randn(n)

steps = nn.Parameter(minigrad.full((n,), -4.0))  # softplus makes them positive
start = nn.Parameter(minigrad.zeros(1))
optimizer = optim.Adam([steps, start], lr=0.05)


def curve():
    """Increasing, for any parameters: the sum of positive steps."""
    return start + cumsum(nn.functional.softplus(steps))


for i in range(301):
    loss = nn.functional.mse_loss(curve(), points)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if i % 100 == 0:
        print(f"step {i:3}: mean squared error {loss.item():.4f}")

fit = curve().detach()
print("increasing:", bool((fit[1:] > fit[:-1]).numpy().all()))
noisy, fitted = (((y - truth) ** 2).mean().item() for y in (points, fit))
print(f"squared error against the truth: noisy points {noisy:.4f}, fitted curve {fitted:.4f}")
