"""The adding problem: remember two numbers among fifty.

Every step shows a number from U(0, 1) and a mark; two marks are set, one in each half.  The answer,
asked for at the end, is the sum of the two marked numbers (Hochreiter and Schmidhuber, 1997).  Who
ignores the input does best by saying 1, the mean; the squared error is then the variance of a sum
of two uniform numbers, 2 · 1/12 = 1/6.

What to learn: the whole training loop, which would be the same in PyTorch, and that a loss below
1/6 means that the gradient has found its way back over dozens of steps.
"""

import minigrad
from minigrad import nn, optim

T, N, H = 50, 32, 32
STEPS = 400
BASELINE = 1 / 6


class Adder(nn.Module):
    """A GRU whose last state is read by a linear layer."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(input_size=2, hidden_size=H)
        self.out = nn.Linear(H, 1)

    def forward(self, x):
        """x [T, N, 2] -> [N]"""
        _, h = self.gru(x)
        return self.out(h[-1])[:, 0]


def batch():
    """x [T, N, 2] of numbers and marks, and the sums [N]."""
    numbers = minigrad.rand(T, N)
    steps = minigrad.arange(T).reshape(T, 1)
    first, second = minigrad.randint(0, T // 2, (N,)), minigrad.randint(T // 2, T, (N,))
    marks = (steps == first).float() + (steps == second).float()
    return minigrad.stack([numbers, marks], dim=-1), (numbers * marks).sum(0)


minigrad.manual_seed(0)
model = Adder()
optimizer = optim.Adam(model.parameters(), lr=0.01)

print(f"baseline: always say 1: mean squared error {BASELINE:.4f}")
total = 0.0
for step in range(1, STEPS + 1):
    x, y = batch()
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    total += loss.item()
    if step % 100 == 0:
        mean, total = total / 100, 0.0
        print(f"step {step:4}: loss {mean:.4f} = {mean / BASELINE:6.1%} of the baseline")

with minigrad.no_grad():
    x, y = batch()
    loss = nn.functional.mse_loss(model(x), y).item()
    print(f"test batch: loss {loss:.4f}; for example {y[0].item():.3f} -> {model(x)[0].item():.3f}")
