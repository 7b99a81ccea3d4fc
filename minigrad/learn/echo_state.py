"""Does a reservoir forget where it came from?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..nn import EchoStateNetwork, Recurrent
from ..ops.create import from_numpy
from ..tape import no_grad


class EchoState(NamedTuple):
    """What `echo_state` found."""

    distances: Any  #: [T + 1]: of the two states, before the first step and after each
    rate: float  #: the factor by which the distance falls per step, on the average
    converged: bool  #: whether it fell to rounding, or would by the end at least to a thousandth


def echo_state(layer: Any, u: Any, states: Any = None, seed: int = 0) -> EchoState:
    """Run the reservoir from two initial states under one input, and compare the states.

    layer: an `nn.EchoStateCell`, or a network or recurrent layer of one; u [T, I], without feedback;
    states: two of them, [2, H]; None: from U(-1, 1).  The echo-state property is that the distance
    goes to 0 for all states and inputs; here are two states and one input.  rate >= 1: it does not
    for these.  A spectral radius below 1 makes it likely and is no more than a rule of thumb; the
    largest singular value below 1 is sufficient (see `nn.EchoStateCell`).  MISSION E4, T10.

    >>> import minigrad
    >>> from minigrad import learn
    >>> cell = minigrad.nn.EchoStateCell(1, 100, spectral_radius=0.8, seed=0)
    >>> learn.echo_state(cell, minigrad.randn(300, 1)).converged
    True
    """
    if isinstance(layer, EchoStateNetwork):
        if layer.feedback:
            raise ValueError(
                "echo_state: the reservoir hears the output, too: pass its cell, `network.cell`, and "
                "u with the output beside the input"
            )
        layer = layer.reservoir
    cell = layer.cell if isinstance(layer, Recurrent) else layer
    layer = layer if isinstance(layer, Recurrent) else Recurrent(cell)
    if len(u.shape) != 2 or u.shape[1] != cell.input_size:
        raise ValueError(f"echo_state: u {list(u.shape)}: [T, {cell.input_size}] is needed")
    wanted, dtype = (2, cell.hidden_size), cell.W.dtype
    if states is None:
        rng = np.random.Generator(np.random.PCG64(seed))
        states = rng.uniform(-1, 1, wanted)
    h = np.asarray(states).astype(dtype)
    if h.shape != wanted:
        raise ValueError(f"echo_state: states {list(h.shape)}: {list(wanted)} is needed")
    x = np.repeat(np.asarray(u)[:, None], 2, 1).astype(dtype)
    training = cell.training
    cell.training = False  # noise would drive them apart
    with no_grad():
        y, _ = layer(from_numpy(x), (from_numpy(h),))
    cell.training = training
    path = np.concatenate([h[None], np.asarray(y)]).astype(np.float64)
    distances = np.linalg.norm(path[:, 0] - path[:, 1], axis=1)
    rounding = 10 * np.finfo(dtype).eps * max(1.0, np.linalg.norm(path[-1, 0]))
    above = np.nonzero(distances <= rounding)[0]
    last = int(above[0]) if len(above) else len(distances) - 1
    if last == 0 or distances[0] == 0:
        return EchoState(distances, 0.0, True)
    rate = float((max(distances[last], rounding / 100) / distances[0]) ** (1 / last))
    return EchoState(distances, rate, bool(len(above)) or distances[last] < 1e-3 * distances[0])
