"""Back-propagation through time by hand: three steps of a scalar network, term by term.

    s_t = tanh(w_x x_t + w_s s_{t-1}),   o_t = σ(w_o s_t),   L = Σ_t L_t   (binary cross-entropy)

What to learn: a shared weight acts at every step, so its gradient is a double sum, over the loss of
each step t and over the k-th latest use of the weight before it,

    ∂L/∂w_x = Σ_t Σ_{k=1..t}  ∂L_t/∂o_t  ∂o_t/∂s_t  (Π_{j=t+1-k..t} tanh'(θ_j))  w_s^{k-1}  x_{t+1-k}

and ∂L/∂w_s the same with s_{t-k} for x_{t+1-k}.  Note w_s^{k-1}: going back one step multiplies by
the recurrent weight, never by w_x.  Autograd adds up the same terms, and gets the same number.
"""

import math

import minigrad

inputs = [0.5, -1.0, 0.8]  # x_1 … x_3
targets = [1.0, 0.0, 1.0]
w_x, w_s, w_o = (
    minigrad.tensor(w, dtype=minigrad.float64, requires_grad=True) for w in (0.7, 0.9, 1.3)
)

# ---- the network, recorded by the tape

s = [minigrad.zeros((), dtype=minigrad.float64)]  # s_0 = 0
o = []
loss = 0.0
for x_t, target in zip(inputs, targets):
    s.append(minigrad.tanh(w_x * x_t + w_s * s[-1]))
    o.append(minigrad.sigmoid(w_o * s[-1]))
    loss = loss - (target * minigrad.log(o[-1]) + (1 - target) * minigrad.log(1 - o[-1]))
loss.backward()

# ---- the same by hand; lists start at step 0, which has no input

S = [h.item() for h in s]
P = [math.nan] + [p.item() for p in o]  # o_t
X, Y = [math.nan, *inputs], [math.nan, *targets]
slope = [1 - h * h for h in S]  # tanh'(θ_t) = 1 - s_t²
W_S, W_O = w_s.item(), w_o.item()

terms_x, terms_s = [], []
print(" t  k   ∂L_t/∂o_t   ∂o_t/∂s_t   Π tanh'   w_s^(k-1)    term of w_x    term of w_s")
for t in (1, 2, 3):
    dL_do = (P[t] - Y[t]) / (P[t] * (1 - P[t]))
    do_ds = P[t] * (1 - P[t]) * W_O
    for k in range(1, t + 1):
        path = math.prod(slope[t + 1 - k : t + 1])
        common = dL_do * do_ds * path * W_S ** (k - 1)
        terms_x.append(common * X[t + 1 - k])
        terms_s.append(common * S[t - k])
        print(
            f"{t:2} {k:2} {dL_do:11.6f} {do_ds:11.6f} {path:9.6f} {W_S ** (k - 1):11.6f}"
            f" {terms_x[-1]:14.9f} {terms_s[-1]:14.9f}"
        )

print()
for name, terms, weight in (("w_x", terms_x, w_x), ("w_s", terms_s, w_s)):
    by_hand, by_tape = math.fsum(terms), weight.grad.item()
    print(f"∂L/∂{name}  by hand {by_hand:.17f}  by autograd {by_tape:.17f}", end="  ")
    print(f"difference {abs(by_hand - by_tape):.1e}")
    assert abs(by_hand - by_tape) <= 1e-15
