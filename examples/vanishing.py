"""Vanishing and exploding gradients, and what the LSTM does about them.

An Elman network h_t = tanh(x_t W + h_{t-1} U) runs for 20 steps, and the loss depends on the last
state alone.  How much of its gradient arrives at an earlier state?  One step back costs

    ∂L/∂h_{t-1} = (∂L/∂h_t ∘ tanh') Uᵀ,   so   ‖∂L/∂h_k‖ ≤ (max tanh' · ‖U‖)^(t-k) ‖∂L/∂h_t‖

What to learn: the bound is a power.  With ‖U‖ = 0.5 a millionth is left after 20 steps; with
‖U‖ = 1.1 the gradient grows, as long as the units do not saturate (third column: larger inputs,
smaller tanh').  The LSTM's cell state has a path of its own, c_t = f ∘ c_{t-1} + i ∘ g, along which
the gradient is multiplied by the forget gate only: with a large forget bias it arrives, though the
weights are as small as those of the first column.  (It even grows: the path through h comes on top.)

`minigrad.grad` takes any tensor on the tape as input: no hooks for the states in between.

    python examples/vanishing.py [--plot FILE]         needs matplotlib for the figure
"""

import math
import sys

import minigrad
from minigrad import nn

T, N, H = 20, 8, 16
INPUTS = 4


def norms(cell, x):
    """‖∂L/∂s_k‖ for k = 0 … T, where L = Σ h_T and s is the cell's last state (h, or c)."""
    zs = minigrad.unbind(cell.project(x))
    state = tuple(s.requires_grad_() for s in cell.initial(N))
    states = [state[-1]]
    for z in zs:
        h, state = cell.step(z, state)
        states.append(state[-1])
    return [(g * g).sum().sqrt().item() for g in minigrad.grad(h.sum(), states)]


def elman(scale):
    """An Elman cell whose U is `scale` times an orthogonal matrix: all singular values are equal."""
    cell = nn.RNNCell(INPUTS, H, bias=False)
    nn.init.orthogonal_(cell.U, gain=scale)
    return cell


def lstm(forget_bias):
    """An LSTM cell, 0.5 times an orthogonal matrix in each of the gates i, f, g, o."""
    cell = nn.LSTMCell(INPUTS, H)
    with minigrad.no_grad():
        cell.U.copy_(minigrad.cat([elman(0.5).U for _ in range(4)], dim=1))
        cell.b.zero_()
        cell.b[H : 2 * H] = forget_bias
    return cell


minigrad.manual_seed(0)
x = minigrad.randn(T, N, INPUTS)
small = x * 0.01  # tanh' is close to 1
grown = elman(1.1)
table = {
    "‖U‖=0.5": norms(elman(0.5), small),
    "‖U‖=1.1": norms(grown, small),
    "1.1, saturated": norms(grown, x * 3.0),
    "LSTM, bias 0": norms(lstm(0.0), small),
    "LSTM, bias 5": norms(lstm(5.0), small),
}

print(f"gradient norm at the state of step k, relative to that of step {T}\n")
print("   k" + "".join(f"{name:>16}" for name in table))
for k in range(T, -1, -2):
    print(f"{k:4}" + "".join(f"{column[k] / column[T]:16.3e}" for column in table.values()))

gates = [(1 / (1 + math.exp(-bias))) ** T for bias in (0, 5)]
bounds = f"{0.5**T:16.3e}{1.1**T:16.3e}{1.1**T:16.3e}", f"{gates[0]:16.3e}{gates[1]:16.3e}"
print(f"\n     ‖U‖^{T}, the bound; the forget gate to the power of {T}\n    {bounds[0]}{bounds[1]}")

if "--plot" in sys.argv:
    import matplotlib.pyplot as plt

    for name, column in table.items():
        plt.semilogy([norm / column[T] for norm in column], label=name)
    plt.xlabel("step k")
    plt.ylabel("gradient norm, relative to step 20")
    plt.legend()
    plt.savefig(sys.argv[sys.argv.index("--plot") + 1])
