"""Where the gradient goes in a trained LSTM and GRU: along the steps whose gates are open for it.

The task: x_t = (value, mark); at the end, say the value that came with the latest mark.  So a mark
means forget and take, no mark means keep.  After training, gates and gradient of the error of the last
step are shown for one sequence with two marks.

What to learn: the gradient needs a road back, and the gates build it.  Between the marks LSTM and GRU
keep what matters (f near 1 in the units that hold it; z near 0), and the error travels along the
direct path, past all gates, hardly weakened: a short cut through time.  At the latest mark it arrives
at the input; there the gates replace the state, which removes the short cut: little goes on.
The Elman network solves the task, too, by saturating: its state is overwritten at every step, with the
same, and no error reaches the mark; it could not have learnt the task from such sequences alone.

    python examples/gradient_flow.py [--plot FILE]         needs matplotlib for the figure
"""

import sys

import numpy as np

import minigrad
from minigrad import learn, nn, optim

T, N, H, STEPS, MARKS = 40, 32, 4, 2500, (0, 20)
F = nn.functional


def batch(n):
    """x [T, n, 2] and the value with the latest mark, ±1, as class 0 or 1."""
    values = minigrad.randint(0, 2, (T, n)).numpy()
    marks = minigrad.rand(T, n).numpy() < 0.06
    marks[0] = True
    latest = T - 1 - marks[::-1].argmax(0)
    x = np.stack([2.0 * values - 1, marks], -1).astype("float32")
    return minigrad.from_numpy(x), minigrad.from_numpy(values[latest, np.arange(n)])


def train(layer):
    """The layer, trained together with a linear readout of its last output; and that readout."""
    readout = nn.Linear(H, 2)
    model = nn.ModuleList([layer, readout])
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    for _ in range(STEPS):
        x, y = batch(N)
        loss = F.cross_entropy(readout(layer(x)[0][-1]), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model, 1.0)
        optimizer.step()
    x, y = batch(500)
    with minigrad.no_grad():
        right = (readout(layer(x)[0][-1]).argmax(-1) == y).float().mean().item()
    print(f"\n{type(layer).__name__}: {right:.1%} of 500 sequences right")
    return readout


def show(layer, readout, keep):
    """Gates, and the gradient of the last step's error, for one sequence."""
    x = np.ones((T, 1, 2), "float32")
    x[:, 0, 0] = np.where(np.arange(T) % 3 == 1, -1.0, 1.0)
    x[:, 0, 1] = np.isin(np.arange(T), MARKS)
    x, target = minigrad.from_numpy(x), minigrad.tensor([0])
    with nn.trace(layer) as record:
        layer(x)
    flow = learn.gradient_flow(
        layer.cells()[0], x,
        lambda t, y: F.cross_entropy(readout(y), target) if t == T - 1 else None,
    )  # fmt: skip
    title = f"{'mean ' + keep if keep else '':>8}"
    print(
        f"gradient, relative to that of the last state\n  t mark{title}    state   direct    input"
    )
    for t in sorted({*range(T - 1, -1, -4), 0, 19, 20, 21}, reverse=True):
        gate = f"{record[0][keep][t, 0].mean().item():8.2f}" if keep else " " * 8
        norms = flow.state[t + 1, 0], flow.paths["direct"][t, 0], flow.input[t, 0]
        text = "".join(f"{norm / flow.state[T, 0]:9.1e}" for norm in norms)
        print(f"{t:3} {'*' if t in MARKS else ' ':>4}{gate}{text}")
    return flow.state[1:, 0] / flow.state[T, 0]


minigrad.manual_seed(0)
curves = {}
print("expected at mark 20: LSTM and GRU > 1e-3, their direct path cut there; RNN < 1e-9")
for kind, keep in ((nn.LSTM, "f"), (nn.GRU, "z"), (nn.RNN, "")):
    layer = kind(2, H)
    curves[kind.__name__] = show(layer, train(layer), keep)

if "--plot" in sys.argv:
    import matplotlib.pyplot as plt

    for name, curve in curves.items():
        plt.semilogy(curve, label=name)
    plt.vlines(MARKS, 1e-6, 1, colors="black", linestyles=":", label="marks")
    plt.ylim(1e-6, 2)
    plt.xlabel("step")
    plt.ylabel("gradient at the state, relative to the last")
    plt.legend()
    plt.savefig(sys.argv[sys.argv.index("--plot") + 1])
