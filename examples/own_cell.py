"""Three cells from the literature that are not in the library, one `step` each, and what comes free.

    MGU     f = σ(x W + h U + b);  n = tanh(x Wn + (f ∘ h) Un + bn);  h' = (1 - f) ∘ h + f ∘ n
            the GRU with one gate for both purposes (Zhou et al., 2016)
    IndRNN  h' = relu(x W + u ∘ h + b): each unit sees only itself (Li et al., 2018)
    SCRN    s' = (1 - α) x B + α s;  h' = σ(s' P + x A + h U);  y = [h', s']: beside the hidden units,
            context units that change slowly (Mikolov et al., 2014)

What to learn: a cell is its equation.  `gates` says how many blocks of H columns W and b have, `states`
what goes from step to step; x W + b is done for the whole sequence before, and `step` is the rest.
Layers, directions, lengths, masks, traces and gradients need no line of it.
"""

import minigrad
from minigrad import nn, optim


class MGU(nn.Cell):
    gates, states = "fn", "h"

    def step(self, z, state):
        (h,) = state
        (z_f, z_n), (U_f, U_n) = z.chunk(2, -1), self.U.chunk(2, -1)
        f = minigrad.sigmoid(z_f + h @ U_f)
        n = minigrad.tanh(z_n + (f * h) @ U_n)
        h = (1 - f) * h + f * n
        return h, (h,)


class IndRNN(nn.Cell):
    def __init__(self, input_size, hidden_size, **options):
        super().__init__(input_size, hidden_size, **options)
        self.U = nn.Parameter(minigrad.rand(hidden_size, dtype=self.W.dtype))

    def step(self, z, state):
        h = minigrad.relu(z + self.U * state[0])
        return h, (h,)


class SCRN(nn.Cell):
    gates, states, alpha = "hs", "hs", 0.9
    output_size = property(lambda self: 2 * self.hidden_size)

    def output(self, state):
        return minigrad.cat(state, -1)

    def step(self, z, state):
        (z_h, z_s), (h, s) = z.chunk(2, -1), state
        U, P = self.U.chunk(2, -1)
        s = (1 - self.alpha) * z_s + self.alpha * s
        h = minigrad.sigmoid(s @ P + z_h + h @ U)
        return self.output((h, s)), (h, s)


def gradcheck(cell):
    """Against finite differences: two layers, both directions, a mask with holes."""
    layers = nn.Layers(cell, 2, 3, num_layers=2, bidirectional=True, dtype=minigrad.float64)
    x = minigrad.randn(4, 3, 2, dtype=minigrad.float64, requires_grad=True)
    mask = minigrad.rand(4, 3) < 0.7
    return minigrad.gradcheck(lambda x, *_: layers(x, mask=mask)[0], [x, *layers.parameters()])


minigrad.manual_seed(0)
for cell in (MGU, IndRNN, SCRN):  # the task: the mean of 8 numbers, read one by one
    rnn = nn.Layers(cell, 1, 16)
    out, losses = nn.Linear(rnn.output_size, 1), []
    optimizer = optim.Adam([*rnn.parameters(), *out.parameters()], lr=0.01)
    for _ in range(200):
        x = minigrad.rand(8, 32, 1)
        y, state = rnn(x)
        losses.append(nn.functional.mse_loss(out(rnn.final(state)), x.mean(0)))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    first, last = losses[0].item(), losses[-1].item()
    print(f"{cell.__name__}: gradcheck {gradcheck(cell)} ; squared error {first:.4f} to {last:.6f}")
