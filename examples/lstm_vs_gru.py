"""LSTM and GRU side by side: gates, states, parameters, and the short cuts through time that they make.

    LSTM   i, f, o = σ(…)   g = tanh(…)   c' = f ∘ c + i ∘ g        h' = o ∘ tanh(c')
    GRU    r, z    = σ(…)   n = tanh(…)   h' = (1 - z) ∘ h + z ∘ n   r: what n sees of h

What to learn: both keep a memory as long as a gate says so, and a gradient comes back along it as it
left: a short cut through time.  The LSTM has one gate for the old and one for the new, so that it can
add them up: c counts, without bound.  The GRU has one gate for both, whose shares are 1 - z and z: h
stays between -1 and 1.  The LSTM hides its memory behind the gate o; what the GRU remembers is what
it gives out.  z = 0 keeps the past and z = 1 replaces it, which ends the short cut (some tutorials
have it the other way round); in the LSTM, f = 1 keeps and f = 0 forgets.

Below, U = 0, so that the gates can be held at 0, 1/2 or 1 from outside, step by step.
"""

import minigrad
from minigrad import nn

T, H = 50, 4
HELD = {0: -1000.0, 0.5: 0.0, 1: 1000.0}  # pre-activations; σ(±1000) is 1 or 0, exactly


def make(kind):
    """A cell without recurrent weights: `step` is given its pre-activations as they are."""
    cell = kind(1, H, bias=False)
    with minigrad.no_grad():
        for p in cell.parameters():
            p.zero_()
    return cell


def run(cell, program):
    """(h, the memory, ∂memory/∂memory at the beginning) after steps with gates held as it says.

    A gate that a step does not name is open; g and n, which are no gates, are tanh(1000) = 1.
    """
    state = tuple((0.5 * minigrad.ones(1, H)).requires_grad_() for _ in cell.states)
    first = state[-1]  # c of an LSTM, h of a GRU
    for gates in program:
        z = [HELD[gates.get(letter, 1)] * minigrad.ones(1, H) for letter in cell.gates]
        h, state = cell.step(minigrad.cat(z, -1), state)
    (g,) = minigrad.grad(state[-1].sum(), first)
    return tuple(a[0, 0].item() for a in (h, state[-1], g))


cells = make(nn.LSTMCell), make(nn.GRUCell)
KEEP = {"f": 1, "i": 0, "o": 0}, {"z": 0}  # for the LSTM, for the GRU
HALF = {"f": 0.5, "i": 0.5}, {"z": 0.5}
ADD = {"f": 1, "i": 1}, {"z": 0.5}  # a GRU cannot: what it takes of the new it drops of the old
REPLACE = {"f": 0, "i": 1}, {"z": 1}


def line(text, a, b):
    """A row of the table."""
    print(f"{text:40}{a:>12}{b:>12}")


def compare(text, place, *steps):
    """Which of the results of `run` it is, and how often each step comes: (count, step)"""
    programs = [[step[k] for count, step in steps for _ in range(count)] for k in range(2)]
    line(text, *(f"{run(c, program)[place]:.6g}" for c, program in zip(cells, programs)))


line("", "LSTM", "GRU")
line("gates and candidate", *(" ".join(c.gates) for c in cells))
line("states", *(" ".join(c.states) for c in cells))
sizes = [[p.numel() for p in type(c)(64, 128).parameters()] for c in cells]
line("parameters, 64 inputs, 128 units", *map(sum, sizes))
print(f"\n{T} steps from a memory of 0.5; candidates are 1")
compare("memory, kept", 1, (T, KEEP))
compare("output meanwhile, the LSTM's o shut", 0, (T, KEEP))
compare("memory, new added to old", 1, (T, ADD))
compare("memory, kept but replaced in step 25", 1, (24, KEEP), (1, REPLACE), (25, KEEP))
print("\ngradient of the last memory by the first")
compare("kept: a short cut", 2, (T, KEEP))
compare("gates half open", 2, (T, HALF))
compare("kept but replaced in step 25: cut off", 2, (24, KEEP), (1, REPLACE), (25, KEEP))
