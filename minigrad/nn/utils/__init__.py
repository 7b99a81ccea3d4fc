"""Clipping of gradients, and padding of sequences."""

from . import rnn
from .clip import clip_grad_adaptive_, clip_grad_norm_, clip_grad_value_
