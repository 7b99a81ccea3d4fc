"""RNN, LSTM and GRU with PyTorch's arguments and shapes, built of cells.

Two differences to PyTorch are deliberate: there is one bias per gate, as in the equations; and GRU
is the papers' form unless reset_after=True.  `load_torch` converts a state_dict of the PyTorch
layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor
from ..ops.shape import stack, transpose
from ..tape import no_grad
from . import fused as fast
from .cells import Cell, GRUCell, LSTMCell, RNNCell
from .module import Module
from .recurrent import Bidirectional, Recurrent, Stack, checked_valid


class _Layers(Module):
    """num_layers layers of one kind of cell, in one direction or two."""

    def __init__(
        self,
        cell: Any,
        input_size: int,
        num_layers: int,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        fused: Any,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(
                f"{type(self).__name__}: num_layers={num_layers}: at least 1 is needed"
            )
        self.input_size, self.num_layers = input_size, num_layers
        self.batch_first, self.bidirectional = batch_first, bidirectional
        layers: list[Any] = []
        for _ in range(num_layers):
            width = layers[-1].output_size if layers else input_size
            layers.append(
                Bidirectional(cell(width), cell(width), fused)
                if bidirectional
                else Recurrent(cell(width), fused=fused)
            )
        self.stack = Stack(layers, dropout)
        self.hidden_size = self.cells()[0].hidden_size

    def cells(self) -> list[Any]:
        """The cells, layer by layer, the forward direction before the backward one."""
        if self.bidirectional:
            return [d.cell for layer in self.stack.layers for d in (layer.ahead, layer.back)]
        return [layer.cell for layer in self.stack.layers]

    def forward(
        self, x: Tensor, state: Any = None, lengths: Any = None, mask: Any = None
    ) -> tuple[Tensor, Any]:
        """x [T, N, I] (batch_first: [N, T, I]; without batch: [T, I]) -> y, state.

        y [T, N, D H] with D = 2 for two directions; the state is h, or (h, c), each [L D, N, H],
        before the first step (None: zeros) and after the last.  `lengths` [N] and `mask` [T, N]
        (batch_first: [N, T]; without batch: [T]): see minigrad.nn.recurrent.
        """
        shape = x.layout.shape
        if len(shape) not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: input {list(shape)}: {self._expected()} is needed"
            )
        single = len(shape) == 2
        if single:
            x = x.reshape(shape[0], 1, shape[1])
        elif self.batch_first:
            x = transpose(x, 0, 1)
        result = valid = None
        if lengths is not None or mask is not None:
            face = "T" if single else "NT" if self.batch_first else "TN"
            steps, n = x.layout.shape[:2]
            valid = checked_valid(lengths, mask, steps, n, face)
        elif self.num_layers == 1 and not (single or self.bidirectional):
            # The usual small case: states are taken and given as they are, not copied.
            result = fast.unroll(vars(self.stack.layers)["0"], x, state, None, lead=True)
        y, packed = result or self._through_layers(x, state, valid, single)
        if single:
            y = y.reshape(y.shape[0], y.shape[2])
            packed = tuple(s.reshape(s.shape[0], s.shape[2]) for s in packed)
        elif self.batch_first:
            y = transpose(y, 0, 1)
        return y, packed if len(packed) > 1 else packed[0]

    def _through_layers(self, x: Tensor, state: Any, valid: Any, single: bool) -> Any:
        """y [T, N, D H] and the tuple of states [L D, N, H]."""
        y, new = self.stack(x, self._unpacked(state, x.shape[1], single), None, valid)
        if self.bidirectional:
            new = [s for layer in new for s in layer]
        if len(new) == 1:
            return y, tuple(s.reshape(1, *s.shape) for s in new[0])
        return y, tuple(stack(parts) for parts in zip(*new))

    def _expected(self) -> str:
        return "[N, T, I] or [T, I]" if self.batch_first else "[T, N, I] or [T, I]"

    def _unpacked(self, state: Any, n: int, single: bool) -> Any:
        """The state of each layer from h [L D, N, H], or (h, c)."""
        if state is None:
            return None
        states = (state,) if isinstance(state, Tensor) else tuple(state)
        cells = self.cells()
        names = cells[0].states
        if len(states) != len(names):
            raise ValueError(
                f"{type(self).__name__}: the state is ({', '.join(names)}), not {len(states)} tensor"
                + "s" * (len(states) != 1)
            )
        for s, letter in zip(states, names):
            shape: tuple[int, ...] = (len(cells), n, cells[0].state_size(letter))
            shape = (shape[0], shape[2]) if single else shape
            if s.shape != shape:
                raise ValueError(
                    f"{type(self).__name__}: state {letter} {list(s.shape)}: {list(shape)} is needed "
                    f"(layers x directions, {'' if single else 'batch, '}hidden)"
                )
        if single:
            states = tuple(s.reshape(s.shape[0], 1, s.shape[1]) for s in states)
        each = list(zip(*states))  # one tuple of states per cell
        return list(zip(each[0::2], each[1::2])) if self.bidirectional else each

    def load_torch(self, state_dict: dict[str, Any]) -> None:
        """Take the weights of the PyTorch layer with the same arguments (GRU: reset_after=True).

        PyTorch's two biases are added up; its z gate, which is 1 - z here, changes sign.
        ValueError where the layers differ, in which case nothing is changed.
        """
        left = {name: np.asarray(value) for name, value in state_dict.items()}
        values: list[tuple[Any, Any]] = []
        for i, cell in enumerate(self.cells()):
            layer, back = divmod(i, 2) if self.bidirectional else (i, 0)
            suffix = f"_l{layer}" + ("_reverse" if back else "")
            weights = {k[: -len(suffix)]: left.pop(k) for k in list(left) if k.endswith(suffix)}
            if not weights.keys() >= {"weight_ih", "weight_hh"}:
                raise ValueError(
                    f"load_torch: no weight_ih{suffix} and weight_hh{suffix} in the state_dict: it "
                    f"must be that of one layer with as many layers and directions"
                )
            found = self._from_torch(cell, weights)
            wanted = dict(cell.named_parameters())
            for name in sorted(found.keys() | wanted.keys()):
                theirs, ours = (
                    str(list(d[name].shape)) if name in d else "none" for d in (found, wanted)
                )
                if theirs != ours:
                    raise ValueError(
                        f"load_torch: {name} of layer {suffix[1:]}: {theirs} there, {ours} here: "
                        f"the layers must be made with the same arguments"
                    )
                values.append((wanted[name], found[name]))
        if left:
            raise ValueError(
                f"load_torch: nothing here takes {', '.join(left)}: the state_dict must be that of "
                f"one layer with as many layers and directions"
            )
        with no_grad():
            for parameter, value in values:
                parameter.copy_(np.ascontiguousarray(value, parameter.dtype))

    def _from_torch(self, cell: Any, w: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """{name of the cell's parameter: value}"""
        result = {"W": w["weight_ih"].T, "U": w["weight_hh"].T}
        if "bias_ih" in w:
            result["b"] = w["bias_ih"] + w["bias_hh"]
        if "weight_hr" in w:
            result["P"] = w["weight_hr"].T
        return result


class RNN(_Layers):
    """Elman layers: see `RNNCell`, also for further `options`.  The state is h.

    >>> import minigrad
    >>> y, h = minigrad.nn.RNN(3, 5, num_layers=2)(minigrad.zeros(7, 4, 3))
    >>> y.shape, h.shape
    ((7, 4, 5), (2, 4, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = None,
        fused: Any = "auto",
        **options: Any,
    ) -> None:
        def cell(width: int) -> Cell:
            return RNNCell(width, hidden_size, bias, nonlinearity, dtype, **options)

        super().__init__(cell, input_size, num_layers, batch_first, dropout, bidirectional, fused)


class LSTM(_Layers):
    """LSTM layers: see `LSTMCell`, also for further `options`.  The state is (h, c).

    >>> import minigrad
    >>> y, (h, c) = minigrad.nn.LSTM(3, 5, bidirectional=True)(minigrad.zeros(7, 4, 3))
    >>> y.shape, h.shape, c.shape
    ((7, 4, 10), (2, 4, 5), (2, 4, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: Any = None,
        fused: Any = "auto",
        **options: Any,
    ) -> None:
        def cell(width: int) -> Cell:
            return LSTMCell(width, hidden_size, bias, proj_size, dtype, **options)

        super().__init__(cell, input_size, num_layers, batch_first, dropout, bidirectional, fused)


class GRU(_Layers):
    """GRU layers: see `GRUCell`, also for reset_after and further `options`.  The state is h.

    >>> import minigrad
    >>> y, h = minigrad.nn.GRU(3, 5, batch_first=True)(minigrad.zeros(4, 7, 3))
    >>> y.shape, h.shape
    ((4, 7, 5), (1, 4, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        reset_after: bool = False,
        dtype: Any = None,
        fused: Any = "auto",
        **options: Any,
    ) -> None:
        def cell(width: int) -> Cell:
            return GRUCell(width, hidden_size, bias, reset_after, dtype, **options)

        super().__init__(cell, input_size, num_layers, batch_first, dropout, bidirectional, fused)

    def _from_torch(self, cell: Any, w: dict[str, Any]) -> dict[str, Any]:
        size = cell.hidden_size
        if not cell.reset_after:
            raise ValueError(
                "load_torch: PyTorch's GRU resets after the product: use reset_after=True"
            )
        if len(w["weight_ih"]) != 3 * size:
            raise ValueError(
                f"load_torch: weight_ih {list(w['weight_ih'].shape)}: the first dimension must be that "
                f"of 3 gates of hidden_size={size}"
            )
        sign = np.repeat([1.0, -1.0, 1.0], size)[:, None]  # r, z, n: PyTorch's z is 1 - z here
        W, U = w["weight_ih"] * sign, w["weight_hh"] * sign
        result = {"W": W.T, "U": U[: 2 * size].T, "Un": U[2 * size :].T}
        if "bias_ih" in w:
            first, second = w["bias_ih"] * sign[:, 0], w["bias_hh"] * sign[:, 0]
            result["b"] = first + np.where(np.arange(3 * size) < 2 * size, second, 0)
            result["c"] = second[2 * size :]
        return result
