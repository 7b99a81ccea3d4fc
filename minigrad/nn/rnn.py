"""RNN, LSTM and GRU, the Jordan network and the clockwork RNN, with PyTorch's arguments and shapes.

Two differences to PyTorch are deliberate: there is one bias per gate, as in the equations; and GRU
is the papers' form unless convention="torch".  `load_torch` and `to_torch` convert the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import convert
from .cells import ClockworkCell, GRUCell, JordanCell, LSTMCell, RNNCell
from .front import Layers


class _Torch(Layers):
    """Layers that PyTorch has as well, and whose weights can come from there."""

    def load_torch(self, state_dict: dict[str, Any]) -> None:
        """Take the weights of the PyTorch layer with the same arguments: see `convert.from_torch`."""
        convert.from_torch(self, state_dict, "load_torch")

    def to_torch(self) -> dict[str, Any]:
        """The state_dict of that PyTorch layer, as arrays: see `convert.to_torch`."""
        return convert.to_torch(self)


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


class ClockworkRNN(Layers):
    """Clockwork layers.  The state is (h, t), t [L D, N, 1] the steps done, int64.

    Further options: see `Layers` and `ClockworkCell`.

    >>> import minigrad
    >>> rnn = minigrad.nn.ClockworkRNN(3, 8, periods=(1, 2, 4, 8))
    >>> y, (h, t) = rnn(minigrad.zeros(7, 4, 3))
    >>> y.shape, h.shape, t.shape, t[0, 0]
    ((7, 4, 8), (1, 4, 8), (1, 4, 1), tensor([7]))
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
        periods: Sequence[int] = (1, 2, 4, 8),
        group_sizes: Sequence[int] | None = None,
        dtype: Any = None,
        fused: Any = "auto",
        **options: Any,
    ) -> None:
        super().__init__(
            ClockworkCell,
            input_size,
            hidden_size,
            num_layers,
            batch_first,
            dropout,
            bidirectional,
            fused,
            periods=periods,
            group_sizes=group_sizes,
            bias=bias,
            nonlinearity=nonlinearity,
            dtype=dtype,
            **options,
        )
