"""Recurrent cells: each file is one equation."""

from .base import Cell
from .clockwork import ClockworkCell
from .echo import EchoStateCell
from .elman import PreactivationRNNCell, RNNCell
from .gru import GRUCell
from .jordan import JordanCell
from .lstm import LSTMCell
from .memory import memory_cell

__all__ = [
    "Cell",
    "ClockworkCell",
    "EchoStateCell",
    "GRUCell",
    "JordanCell",
    "LSTMCell",
    "PreactivationRNNCell",
    "RNNCell",
    "memory_cell",
]
