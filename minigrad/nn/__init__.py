"""Networks: modules, layers, cells, losses, initial values, clipping."""

from . import convert, functional, init, utils
from .activations import (
    ELU,
    GELU,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from .cells import (
    Cell,
    ClockworkCell,
    EchoStateCell,
    GRUCell,
    JordanCell,
    LSTMCell,
    PreactivationRNNCell,
    RNNCell,
    memory_cell,
)
from .containers import ModuleDict, ModuleList, Sequential
from .crf import CRF
from .decoding import ctc_beam_decode, ctc_greedy_decode
from .echo_state import EchoStateNetwork, Readout
from .front import Layers
from .layers import Dropout, Embedding, Flatten, Identity, LayerNorm, Linear
from .losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    CTCLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SequenceLoss,
)
from .module import Module, Parameter
from .recurrent import Recurrent
from .rnn import GRU, LSTM, RNN, ClockworkRNN, JordanRNN
from .stacking import Bidirectional, Stack
from .stateful import Stateful, detached
from .tracing import trace
