"""Recurrent layers put together: in both directions, and on top of each other.

They take the same call as `Recurrent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd import Tensor
from ..ops.shape import cat
from . import functional as F
from .cells.base import Cell
from .containers import ModuleList
from .module import Module
from .recurrent import Recurrent


class Bidirectional(Module):
    """Two layers over the same sequence, `back` backwards in time; their parameters are their own.

    merge: what y is, of the outputs a [T, N, Ha] and b [T, N, Hb]: "concat": side by side,
    [T, N, Ha + Hb]; "sum": a + b, of one width; "both": the pair (a, b).  y_t depends on all of x.
    The state is the pair of their states.  M. Schuster and K. Paliwal, Bidirectional Recurrent Neural
    Networks, 1997.

    >>> import minigrad
    >>> from minigrad import nn
    >>> layer = nn.Bidirectional(nn.GRUCell(3, 5), nn.GRUCell(3, 5))
    >>> y, state = layer(minigrad.zeros(7, 4, 3), lengths=[7, 5, 2, 1])
    >>> y.shape, layer.final(state).shape
    ((7, 4, 10), (4, 10))
    """

    def __init__(self, ahead: Cell, back: Cell, fused: Any = "auto", merge: str = "concat") -> None:
        super().__init__()
        self.ahead = Recurrent(ahead, fused=fused)
        self.back = Recurrent(back, reverse=True, fused=fused)
        if merge not in ("concat", "sum", "both"):
            raise ValueError(f'merge={merge!r}: "concat", "sum" or "both"')
        a, b = self.ahead.output_size, self.back.output_size
        if merge == "sum" and a != b:
            raise ValueError(
                f'Bidirectional: merge="sum" of {a} and {b} features: one width is needed'
            )
        self.merge = merge

    @property
    def input_size(self) -> int:
        """The width of x."""
        return self.ahead.input_size

    @property
    def output_size(self) -> Any:
        """The width of y; with merge="both" the two widths."""
        a, b = self.ahead.output_size, self.back.output_size
        return {"concat": a + b, "sum": a, "both": (a, b)}[self.merge]

    def _merged(self, a: Tensor, b: Tensor) -> Any:
        if self.merge == "concat":
            return cat([a, b], -1)
        return a + b if self.merge == "sum" else (a, b)

    def final(self, state: Any) -> Any:
        """The last output of each direction, merged as y is: [N, Ha + Hb].

        Forwards that is the output of the last valid step, backwards that of the first one: each has
        seen the whole sequence.
        """
        return self._merged(self.ahead.final(state[0]), self.back.final(state[1]))

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Any = None,
        mask: Any = None,
        targets: Any = None,
    ) -> tuple[Any, Any]:
        """x [T, N, I] -> y [T, N, Ha + Hb] and the pair of final states."""
        first, second = (None, None) if state is None else state
        a, state_a = self.ahead(x, first, lengths, mask, targets)
        b, state_b = self.back(x, second, lengths, mask, targets)
        return self._merged(a, b), (state_a, state_b)

    def extra_repr(self) -> str:
        """For repr()."""
        return "" if self.merge == "concat" else f"merge={self.merge!r}"


class Stack(Module):
    """Layers on top of each other, each reading the outputs of the one below, with dropout in between.

    connect: one or several of
    "residual": what a layer gives is its output plus what the layer below gives (of one width);
    "input": each layer reads x as well, beside what the layer below gives;
    "output": y is what all layers give, side by side.
    Dropout is for what a layer reads of the one below, not for these connections.

    Layers of your own take the same call, and say their `input_size` and `output_size`.  The state is
    a tuple with the state of each layer.

    A. Graves, Generating Sequences With Recurrent Neural Networks, 2013 ("input" and "output"); Y. Wu
    et al., Google's Neural Machine Translation System, 2016 ("residual").

    >>> import minigrad
    >>> from minigrad import nn
    >>> layers = [nn.Recurrent(nn.LSTMCell(3, 8)), nn.Recurrent(nn.RNNCell(8 + 3, 4))]
    >>> y, state = nn.Stack(layers, connect=("input", "output"))(minigrad.zeros(7, 2, 3))
    >>> y.shape
    (7, 2, 12)
    """

    def __init__(
        self, layers: Sequence[Module], dropout: float = 0.0, connect: str | Sequence[str] = ()
    ) -> None:
        super().__init__()
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout={dropout}: a probability, from 0 to 1, is needed")
        if not layers:
            raise ValueError("Stack: at least one layer is needed")
        self.layers = ModuleList(layers)
        self.dropout = dropout
        self.connect = (connect,) if isinstance(connect, str) else tuple(connect)
        for name in self.connect:
            if name not in ("residual", "input", "output"):
                raise ValueError(f'connect={name!r}: "residual", "input" or "output"')
        self._check()

    def _check(self) -> None:
        """ValueError where a layer does not fit the one below."""
        layers: list[Any] = list(self.layers)
        for i, (below, layer) in enumerate(zip(layers, layers[1:]), 1):
            given, gives = below.output_size, layer.output_size
            if isinstance(given, tuple):
                raise ValueError(
                    f'Stack: merge="both" is for the topmost layer, not for layer {i - 1}'
                )
            reads = given + ("input" in self.connect) * layers[0].input_size
            if layer.input_size != reads:
                raise ValueError(
                    f"Stack: layer {i} reads what has {reads} features; it was made for "
                    f"input_size={layer.input_size}"
                )
            if "residual" in self.connect and gives != given:
                raise ValueError(
                    f'Stack: connect="residual": layer {i} gives {gives} features, the one below '
                    f"{given}: one width is needed"
                )
        if "output" in self.connect and isinstance(layers[-1].output_size, tuple):
            raise ValueError('Stack: connect="output" needs merge="concat" or "sum", not "both"')

    @property
    def input_size(self) -> int:
        """The width of x."""
        return self.layers[0].input_size

    @property
    def output_size(self) -> Any:
        """The width of y."""
        if "output" in self.connect:
            return sum(layer.output_size for layer in self.layers)
        return self.layers[-1].output_size

    def final(self, state: Any) -> Any:
        """What y is in the last step of each direction, [N, H]: see `Bidirectional.final`."""
        given: list[Any] = []
        for layer, s in zip(self.layers, state):
            self._add(given, layer.final(s))
        return self._top(given)

    def _add(self, given: list[Any], y: Any) -> None:
        """Append what the next layer gives, of which y is the output."""
        given.append(given[-1] + y if given and "residual" in self.connect else y)

    def _top(self, given: list[Any]) -> Any:
        return cat(given, -1) if "output" in self.connect else given[-1]

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Any = None,
        mask: Any = None,
        targets: Any = None,
    ) -> tuple[Any, Any]:
        """x [T, N, I] -> y [T, N, H of the last layer] and the tuple of final states.

        targets: for the topmost layer; see `Recurrent`.
        """
        layers: list[Any] = list(self.layers)
        states: Sequence[Any] = [None] * len(layers) if state is None else state
        if len(states) != len(layers):
            raise ValueError(f"Stack: {len(states)} states for {len(layers)} layers")
        ys: list[Any] = []
        new = []
        for i, (layer, s) in enumerate(zip(layers, states)):
            read = x
            if i:
                read = F.dropout(ys[-1], self.dropout, self.training)
                read = cat([read, x], -1) if "input" in self.connect else read
            more = () if targets is None or i < len(layers) - 1 else (targets,)
            y, after = layer(read, s, lengths, mask, *more)
            self._add(ys, y)
            new.append(after)
        return self._top(ys), tuple(new)

    def extra_repr(self) -> str:
        """For repr()."""
        parts = [f"dropout={self.dropout}"] if self.dropout else []
        parts += [f"connect={self.connect}"] if self.connect else []
        return ", ".join(parts)
