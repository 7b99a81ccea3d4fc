"""Layers that go on where they stopped."""

from __future__ import annotations

from typing import Any

from ..autograd import Tensor
from .module import Module


def detached(state: Any) -> Any:
    """The same state, a tensor or (nested) tuples of tensors, without its history; None stays None."""
    if state is None or isinstance(state, Tensor):
        return state if state is None else state.detach()
    return type(state)(map(detached, state))


class Stateful(Module):
    """A recurrent layer that keeps its state from call to call: one long sequence, piece by piece.

    The state is detached in between, so that each piece is learnt by itself: truncated BPTT, with the
    length of the pieces as its window.  The outputs are those of the whole sequence in one call.  The
    state, `.state`, is not part of state_dict(); `reset()` begins anew.

    Called as the layer is, but without state: x, lengths, mask, targets -> y alone, so that it can
    stand in a `Sequential`.  ValueError where the batch has another size than the state.

    >>> import minigrad
    >>> from minigrad import nn
    >>> model = nn.Sequential(nn.Stateful(nn.LSTM(3, 5)), nn.Linear(5, 2))
    >>> stream = minigrad.randn(100, 4, 3)
    >>> for t in range(0, 100, 20):
    ...     model(stream[t : t + 20]).sum().backward()
    >>> model[0].reset()
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        self.reset()

    def reset(self, state: Any = None) -> None:
        """Begin anew, from the layer's initial state or from the one given."""
        self.state = detached(state)
        self._batch: Any = None  #: the batch size that the state is for; None: not yet known

    def forward(self, x: Tensor, lengths: Any = None, mask: Any = None, targets: Any = None) -> Any:
        """y for x, from the state that was kept."""
        batch = 0
        if len(x.shape) == 3:
            batch = x.shape[0 if getattr(self.layer, "batch_first", False) else 1]
        if self._batch not in (None, batch):
            had, has = (
                f"{b} sequences" if b else "one sequence alone" for b in (self._batch, batch)
            )
            raise ValueError(
                f"Stateful: the state kept is that of {had}, x {list(x.shape)} has {has}: call "
                f"reset() where new sequences begin"
            )
        more = {"lengths": lengths, "mask": mask, "targets": targets}
        more = {name: value for name, value in more.items() if value is not None}
        y, state = self.layer(x, self.state, **more)
        self.state, self._batch = detached(state), batch
        return y
