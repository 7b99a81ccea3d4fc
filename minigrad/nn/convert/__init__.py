"""Weights of nn.RNN, nn.LSTM and nn.GRU in the words of PyTorch, Keras and ONNX, and back.

    PyTorch   to_torch(layer)   from_torch(layer, state_dict)   {"weight_ih_l0": …}
    Keras     to_keras(layer)   from_keras(layer, weights)      [{"kernel": …}, …], a cell each
    ONNX      to_onnx(layer)    from_onnx(layer, nodes)         [{"W": …}, …], a layer each
    itself    copy_weights(source, target): between layers of other forms that compute the same

All are NumPy arrays, copies.  to_x and from_x are inverse: what comes back computes the same, and
is equal bit by bit, but for two biases that are added up where an equation has one.  What cannot
be said in the other library's words, such as the papers' GRU in PyTorch's, is a ValueError that
says what to do; then nothing is changed.  `save_onnx` writes a layer as a model that other programs
run; `load_onnx` reads the weights from one.  docs/gru-conventions.md shows the differences.

>>> import minigrad
>>> from minigrad import nn
>>> gru = nn.GRU(3, 5, convention="keras")
>>> [{name: a.shape for name, a in cell.items()} for cell in nn.convert.to_keras(gru)]
[{'kernel': (3, 15), 'recurrent_kernel': (5, 15), 'bias': (2, 15)}]
>>> same = nn.GRU(3, 5, reset_after=True)
>>> nn.convert.from_torch(same, nn.convert.to_torch(gru))
>>> x = minigrad.randn(7, 2, 3)
>>> (gru(x)[0] - same(x)[0]).abs().max().item() < 1e-6
True
"""

from .gates import copy_weights
from .keras import from_keras, to_keras
from .onnx import from_onnx, to_onnx
from .onnx_file import load_onnx, save_onnx
from .torch import from_torch, to_torch
