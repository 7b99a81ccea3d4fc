"""Layers of any cell, with PyTorch's arguments and shapes."""

from __future__ import annotations

from typing import Any

from ..autograd import Tensor
from ..ops.shape import stack, transpose
from . import fused as fast
from .module import Module
from .recurrent import Recurrent, checked_valid
from .stacking import Bidirectional, Stack


class Layers(Module):
    """Layers of one kind of cell, also one of your own, with PyTorch's arguments and shapes.

    `cell`, a class, is made as cell(input_size, hidden_size, **options) for each layer and direction.
    hidden_size: one for all layers, or a list with that of each.  `merge` of the two directions and
    `connect` between layers: see `Bidirectional` ("both": of the topmost layer; those below: concat)
    and `Stack`; `fused`: see `Recurrent`.

    Where the layers differ in width, a state is a tuple of L D tensors [N, H] in place of one tensor
    [L D, N, H].

    >>> import minigrad
    >>> from minigrad import nn
    >>> layers = nn.Layers(nn.GRUCell, 3, [8, 5], connect="input", bidirectional=True)
    >>> y, h = layers(minigrad.zeros(7, 4, 3))
    >>> y.shape, h[0].shape, h[3].shape, layers.final(h).shape
    ((7, 4, 10), (4, 8), (4, 5), (4, 10))
    """

    def __init__(
        self,
        cell: Any,
        input_size: int,
        hidden_size: Any,
        num_layers: int = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        fused: Any = "auto",
        merge: str = "concat",
        connect: Any = (),
        **options: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        listed = isinstance(hidden_size, (list, tuple))
        sizes = list(hidden_size) if listed else [hidden_size] * num_layers
        if num_layers < 1 or not sizes:
            raise ValueError(f"{name}: num_layers={len(sizes)}: at least 1 is needed")
        if num_layers not in (1, len(sizes)):
            raise ValueError(
                f"{name}: {len(sizes)} hidden sizes for num_layers={num_layers}: one for each"
            )
        self.input_size, self.num_layers = input_size, len(sizes)
        self.hidden_size = tuple(sizes) if listed else hidden_size
        self.batch_first, self.bidirectional = batch_first, bidirectional
        if merge != "concat" and not bidirectional:
            raise ValueError(f"{name}: merge={merge!r}: bidirectional=True is needed")
        layers: list[Any] = []
        for k, size in enumerate(sizes):
            width = input_size
            if layers:
                width = layers[-1].output_size + ("input" in connect) * input_size
            a = cell(width, size, **options)
            if bidirectional:
                top = k == len(sizes) - 1 or merge != "both"
                b = cell(width, size, **options)
                layers.append(Bidirectional(a, b, fused, merge if top else "concat"))
            else:
                layers.append(Recurrent(a, fused=fused))
        self.stack = Stack(layers, dropout, connect)
        first, *others = ([c.state_size(s) for s in c.states] for c in self.cells())
        self.equal = all(widths == first for widths in others)

    def cells(self) -> list[Any]:
        """The cells, layer by layer, the forward direction before the backward one."""
        if self.bidirectional:
            return [d.cell for layer in self.stack.layers for d in (layer.ahead, layer.back)]
        return [layer.cell for layer in self.stack.layers]

    @property
    def output_size(self) -> Any:
        """The width of y."""
        return self.stack.output_size

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Any = None,
        mask: Any = None,
        targets: Any = None,
    ) -> tuple[Any, Any]:
        """x [T, N, I] (batch_first: [N, T, I]; without batch: [T, I]) -> y, state.

        y [T, N, D H] with D = 2 for two directions; the state is h, or (h, c), each [L D, N, H],
        before the first step (None: zeros) and after the last.  `lengths` [N] and `mask` [T, N]
        (batch_first: [N, T]; without batch: [T]): see minigrad.nn.recurrent; `targets`, for cells
        that feed back their output, of y's shape per direction.
        """
        try:
            shape = x.layout.shape
        except AttributeError:
            raise TypeError(
                f"{type(self).__name__}: input of type {type(x).__name__}: a tensor is needed, "
                f"minigrad.tensor(x) or from_numpy(x)"
            ) from None
        if len(shape) not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: input {list(shape)}: {self._expected()} is needed"
            )
        single = len(shape) == 2
        x = self._time_first(x, single)
        result = valid = None
        if lengths is not None or mask is not None:
            face = "T" if single else "NT" if self.batch_first else "TN"
            steps, n = x.layout.shape[:2]
            valid = checked_valid(lengths, mask, steps, n, face)
        elif self.num_layers == 1 and not (single or self.bidirectional or targets is not None):
            # The usual small case: states are taken and given as they are, not copied.
            result = fast.unroll(vars(self.stack.layers)["0"], x, state, None, lead=True)
        if result is None:
            targets = targets if targets is None else self._time_first(targets, single)
            before = None if state is None else self._unpacked(state, x.shape[1], single)
            y, new = self.stack(x, before, None, valid, targets)
            result = y, self._packed(new, single)
        y, packed = result
        if single:
            y = tuple(a[:, 0] for a in y) if isinstance(y, tuple) else y[:, 0]
        elif self.batch_first:
            y = tuple(transpose(a, 0, 1) for a in y) if isinstance(y, tuple) else transpose(y, 0, 1)
        return y, packed if len(packed) > 1 else packed[0]

    def _time_first(self, x: Tensor, single: bool) -> Tensor:
        if single:
            return x.reshape(x.shape[0], 1, x.shape[1])
        return transpose(x, 0, 1) if self.batch_first else x

    def _expected(self) -> str:
        return "[N, T, I] or [T, I]" if self.batch_first else "[T, N, I] or [T, I]"

    def final(self, state: Any) -> Any:
        """[N, D H] from the state after a call: the right "last" output of each direction.

        Forwards that is y in the last valid step, backwards y in the first one, where that direction
        ends: y[-1] would have seen one step only.  Without batch: [D H].
        """
        h = state if isinstance(state, Tensor) else state[0]
        while not isinstance(h, Tensor):
            h = h[0]
        single = len(h.shape) == 1 + self.equal
        y = self.stack.final(self._unpacked(state, 1 if single else h.shape[-2], single))
        if not single:
            return y
        return tuple(a[0] for a in y) if isinstance(y, tuple) else y[0]

    # ---- h [L D, N, H] and the states of the layers ------------------------------------------------

    def _packed(self, new: Any, single: bool) -> Any:
        """(h,) or (h, c) from the states of the layers."""
        if self.bidirectional:
            new = [s for layer in new for s in layer]
        if single:
            new = [tuple(s.reshape(s.shape[1]) for s in each) for each in new]
        if not self.equal:
            return tuple(zip(*new))
        if len(new) == 1:
            return tuple(s.reshape(1, *s.shape) for s in new[0])
        return tuple(stack(parts) for parts in zip(*new))

    def _unpacked(self, state: Any, n: int, single: bool) -> Any:
        """The reverse: the state of each layer from h, or (h, c)."""
        cells = self.cells()
        names = cells[0].states
        bare = isinstance(state, Tensor) or (not self.equal and len(names) == 1)
        states = (state,) if bare else tuple(state)
        name = type(self).__name__
        if len(states) != len(names):
            raise ValueError(
                f"{name}: the state is ({', '.join(names)}), not {len(states)} tensor"
                + "s" * (len(states) != 1)
            )
        batch: tuple[int, ...] = () if single else (n,)
        for s, letter in zip(states, names):
            shapes: Any = [[*batch, cell.state_size(letter)] for cell in cells]
            if self.equal:
                given, wanted = list(s.shape), [len(cells), *shapes[0]]
            else:
                given, wanted = [list(part.shape) for part in s], shapes
            if given != wanted:
                raise ValueError(
                    f"{name}: state {letter} {given}: {wanted} is needed "
                    f"(layers x directions, {'' if single else 'batch, '}hidden)"
                )
        each = list(zip(*states))  # one tuple of states per cell
        if single:
            each = [tuple(s.reshape(1, -1) for s in parts) for parts in each]
        return list(zip(each[0::2], each[1::2])) if self.bidirectional else each
