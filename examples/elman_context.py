"""Elman's network as he drew it, with context units, and the task that he gave it.

    hidden_t = tanh(x_t W + context_t U + b),    context_{t+1} = hidden_t I

The context units hold a copy of the hidden units of the step before, one to one: the weights of that
copy are the identity matrix I, and are not learnt.

What to learn: such a copy is a delay and nothing else, so this is the simple recurrent network
h_t = tanh(x_t W + h_{t-1} U + b) of `nn.RNNCell`, to the bit, in its outputs and in its gradients.

The task is the temporal XOR: two random bits, then their XOR, two more random bits, and so on; say
what comes next.  Every third bit can be known, so the error falls in every third step only: the
network has found out by itself where it is (J. Elman, Finding Structure in Time, 1990).
"""

import minigrad
from minigrad import nn, optim

HIDDEN, STEPS, BATCH = 16, 30, 64


class ContextNetwork(nn.Module):
    """The drawing: hidden units, context units, and the fixed copy between them."""

    def __init__(self, cell):
        super().__init__()
        self.W, self.U, self.b = cell.W, cell.U, cell.b
        self.register_buffer("copy", minigrad.eye(HIDDEN))

    def forward(self, x):
        """x [T, N, I] -> hidden [T, N, H]"""
        context, hidden = minigrad.zeros(x.shape[1], HIDDEN), []
        for z in minigrad.unbind(x @ self.W + self.b):
            hidden.append(minigrad.tanh(z + context @ self.U))
            context = hidden[-1] @ self.copy
        return minigrad.stack(hidden)


def xor_stream():
    """Bits [STEPS + 1, BATCH, 1]: each third one is the XOR of the two before."""
    bits = (minigrad.rand(STEPS + 3, BATCH, 1) < 0.5).float().numpy()
    bits[2::3] = abs(bits[0:-2:3] - bits[1:-1:3])
    return minigrad.from_numpy(bits[: STEPS + 1].copy())


minigrad.manual_seed(1)
cell = nn.RNNCell(1, HIDDEN)
drawn, usual = ContextNetwork(cell), nn.Recurrent(cell, fused=False)

x = xor_stream()
weights, ys = list(cell.parameters()), (drawn(x), usual(x)[0])
pairs = zip(*([y, *minigrad.grad((y * y).sum(), weights)] for y in ys))
apart, *of_gradients = (abs((a - b).detach().numpy()).max() for a, b in pairs)
print(f"context units against RNNCell: outputs differ by {apart}, gradients by {max(of_gradients)}")

out = nn.Linear(HIDDEN, 1)
optimizer = optim.Adam([*drawn.parameters(), *out.parameters()], lr=0.01)
for step in range(901):
    bits = xor_stream()
    guess = minigrad.sigmoid(out(drawn(bits[:-1])))
    squared = (guess - bits[1:]) ** 2
    optimizer.zero_grad()
    squared.mean().backward()
    optimizer.step()
    if step % 300 == 0:
        print(f"step {step:3}: mean squared error {squared.mean().item():.3f}")

error = squared.detach().mean((1, 2)).numpy()[6:]  # after it has seen where the triples begin
names = ("the first bit", "the second bit", "their XOR")
for name, k in zip(names, (2, 0, 1)):  # step t says what bit t + 1 is
    print(f"error for {name}: {error[k::3].mean():.3f}")
