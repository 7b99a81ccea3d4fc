"""Recurrent cells: each file is one equation."""

from .base import Cell
from .elman import RNNCell
from .gru import GRUCell
from .lstm import LSTMCell
from .memory import memory_cell

__all__ = ["Cell", "GRUCell", "LSTMCell", "RNNCell", "memory_cell"]
