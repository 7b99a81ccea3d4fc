"""RNN, LSTM and GRU, and the Jordan network, with PyTorch's arguments and shapes.

Two differences to PyTorch are deliberate: there is one bias per gate, as in the equations; and GRU
is the papers' form unless reset_after=True.  `load_torch` converts a state_dict of the PyTorch
layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tape import no_grad
from .cells import GRUCell, JordanCell, LSTMCell, RNNCell
from .front import Layers


class _Torch(Layers):
    """Layers that PyTorch has as well, and whose weights can come from there."""

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


class RNN(_Torch):
    """Elman layers.  The state is h.  Further options: see `Layers` and `RNNCell`.

    >>> import minigrad
    >>> y, h = minigrad.nn.RNN(3, 5, num_layers=2)(minigrad.zeros(7, 4, 3))
    >>> y.shape, h.shape
    ((7, 4, 5), (2, 4, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: Any,
        num_layers: int = 1,
        nonlinearity: Any = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = None,
        fused: Any = "auto",
        **options: Any,
    ) -> None:
        super().__init__(
            RNNCell,
            input_size,
            hidden_size,
            num_layers,
            batch_first,
            dropout,
            bidirectional,
            fused,
            bias=bias,
            nonlinearity=nonlinearity,
            dtype=dtype,
            **options,
        )


class LSTM(_Torch):
    """LSTM layers.  The state is (h, c).  Further options: see `Layers` and `LSTMCell`.

    >>> import minigrad
    >>> y, (h, c) = minigrad.nn.LSTM(3, 5, bidirectional=True)(minigrad.zeros(7, 4, 3))
    >>> y.shape, h.shape, c.shape
    ((7, 4, 10), (2, 4, 5), (2, 4, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: Any,
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
        super().__init__(
            LSTMCell,
            input_size,
            hidden_size,
            num_layers,
            batch_first,
            dropout,
            bidirectional,
            fused,
            bias=bias,
            proj_size=proj_size,
            dtype=dtype,
            **options,
        )


class GRU(_Torch):
    """GRU layers.  The state is h.  The conventions and further options: see `GRUCell` and `Layers`.

    >>> import minigrad
    >>> y, h = minigrad.nn.GRU(3, 5, batch_first=True)(minigrad.zeros(4, 7, 3))
    >>> y.shape, h.shape
    ((4, 7, 5), (1, 4, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: Any,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        reset_after: bool | None = None,
        convention: str = "paper",
        dtype: Any = None,
        fused: Any = "auto",
        **options: Any,
    ) -> None:
        super().__init__(
            GRUCell,
            input_size,
            hidden_size,
            num_layers,
            batch_first,
            dropout,
            bidirectional,
            fused,
            bias=bias,
            reset_after=reset_after,
            convention=convention,
            dtype=dtype,
            **options,
        )

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


class JordanRNN(Layers):
    """A Jordan network: see `JordanCell`.  The state is y, the output that is fed back.

    Called with `targets` (of y's shape), it is taught: the target of the step before is fed back;
    without, it runs freely on its own outputs.  With several layers each feeds back its own output,
    and the targets are for the topmost one.  Further options: see `Layers`.

    >>> import minigrad
    >>> layer = minigrad.nn.JordanRNN(3, 5, 2, output="sigmoid")
    >>> y, last = layer(minigrad.zeros(7, 4, 3), targets=minigrad.ones(7, 4, 2))
    >>> y.shape, last.shape
    ((7, 4, 2), (1, 4, 2))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: Any,
        output_size: int,
        num_layers: int = 1,
        nonlinearity: Any = "tanh",
        output: Any = "identity",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            JordanCell,
            input_size,
            hidden_size,
            num_layers,
            batch_first,
            dropout,
            bidirectional,
            output_size=output_size,
            nonlinearity=nonlinearity,
            output=output,
            bias=bias,
            dtype=dtype,
            **options,
        )
