"""Data: sets of examples, batches of them, text, tasks that need memory, and time series."""

from .grammar import ReberGrammar
from .loader import DataLoader, Dataset, TensorDataset, default_collate
from .series import mackey_glass, narma10
from .tasks import (
    adding_problem,
    copy_memory,
    counting,
    latch,
    temporal_order,
)
from .text import Corpus, Streams, UnreadableText, Vocabulary, read_corpus, standard_library

__all__ = [
    "Corpus", "DataLoader", "Dataset", "ReberGrammar", "Streams", "TensorDataset", "UnreadableText",
    "Vocabulary", "adding_problem", "copy_memory", "counting", "default_collate", "latch",
    "mackey_glass", "narma10", "read_corpus", "standard_library", "temporal_order",
]  # fmt: skip
