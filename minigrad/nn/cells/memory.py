"""The memory cell of the LSTM alone: four inputs, one output."""

from __future__ import annotations

from typing import Callable

from ...autograd import Tensor
from ...ops.elementwise import sigmoid, tanh


def memory_cell(
    z: Tensor,
    z_i: Tensor,
    z_f: Tensor,
    z_o: Tensor,
    c: Tensor,
    g: Callable[[Tensor], Tensor] = tanh,
    h: Callable[[Tensor], Tensor] = tanh,
) -> tuple[Tensor, Tensor]:
    """(a, c'):  c' = g(z) ∘ f(z_i) + c ∘ f(z_f);  a = h(c') ∘ f(z_o), with f = σ.

    What an LSTM computes for each unit once the four inputs are there, whoever computed them: the
    value z, and what opens its gates for input, memory (1 remembers, 0 forgets) and output.  The
    gates are between 0 and 1; g and h are free.  The output gate weighs h(c'), outside of h.

    All of one shape, or broadcast.  H.-y. Lee, lectures on machine learning; S. Hochreiter and J.
    Schmidhuber, Long Short-Term Memory, 1997.

    >>> import minigrad
    >>> shut, wide = minigrad.tensor(-1000.0), minigrad.tensor(1000.0)
    >>> z, c = minigrad.tensor(3.0), minigrad.tensor(7.0)
    >>> a, new = memory_cell(z, wide, wide, shut, c, g=minigrad.relu, h=minigrad.relu)
    >>> a.item(), new.item()
    (0.0, 10.0)
    """
    c = g(z) * sigmoid(z_i) + c * sigmoid(z_f)
    return h(c) * sigmoid(z_o), c
