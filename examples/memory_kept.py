"""What becomes of a memory: an Elman network overwrites it at every step, an LSTM keeps it.

One unit each.  A value comes in at step 0, is followed by other values, and at step 9 the LSTM is told
to forget.  The inputs are [value, "store it", "forget it"]; the LSTM's weights are set by hand, so
that its input gate i follows "store it" and its forget gate f is 1 until "forget it".

What to learn: the Elman unit computes its state anew at each step, h' = tanh(x W + h U), and so must
mix what comes in with what it knew: after a few steps nothing tells what the first value was.  The
LSTM's cell c' = f c + i g leaves c alone where i = 0 and f = 1, however many steps go by, and drops
it when f = 0 (f = 1 remembers, f = 0 forgets).  `nn.trace` shows every state and every gate.
"""

import minigrad
from minigrad import nn

STEPS, FORGET_AT, OPEN = 13, 9, 12.0  # σ(±12) is 1 or 0 to five digits

lstm = nn.LSTM(3, 1)
cell = lstm.cells()[0]
nn.init.gates_(lstm, W=0.0, U=0.0, b={"i": -OPEN, "f": OPEN, "g": 0.0, "o": OPEN})
with minigrad.no_grad():
    i, f, g = (cell.gates.index(letter) for letter in "ifg")
    cell.W[1, i] = 2 * OPEN  # "store it" opens the input gate
    cell.W[2, f] = -2 * OPEN  # "forget it" closes the forget gate
    cell.W[0, g] = 1.0

elman = nn.RNN(3, 1)
nn.init.gates_(elman, U=0.9, W=0.0, b=0.0)
with minigrad.no_grad():
    elman.cells()[0].W[0, 0] = 1.0

# two sequences, which differ in the first value alone
minigrad.manual_seed(0)
x = minigrad.zeros(STEPS, 2, 3)
x[:, :, 0] = minigrad.rand(STEPS, 1) - 0.5
x[0, :, 0] = minigrad.tensor([0.8, -0.8])
x[0, :, 1] = 1.0
x[FORGET_AT, :, 2] = 1.0

with nn.trace(elman) as of_elman, nn.trace(lstm) as of_lstm, minigrad.no_grad():
    elman(x)
    lstm(x)

print("step  value  Elman h   difference   LSTM i     f      c   difference")
h, c, i, f = of_elman[0]["h"], of_lstm[0]["c"], of_lstm[0]["i"], of_lstm[0]["f"]
for t in range(STEPS):
    row = x[t, 0, 0], h[t, 0], h[t, 0] - h[t, 1], i[t, 0], f[t, 0], c[t, 0], c[t, 0] - c[t, 1]
    print("{:4} {:6.2f} {:8.3f} {:12.6f} {:8.2f} {:5.2f} {:6.3f} {:12.6f}".format(
        t, *(v.item() for v in row)))  # fmt: skip

kept = [abs((s[8, 0] - s[8, 1]) / (s[0, 0] - s[0, 1])).item() for s in (h, c)]
print(f"of the difference at step 0, left after 8 more: Elman {kept[0]:.6f} , LSTM {kept[1]:.6f}")
