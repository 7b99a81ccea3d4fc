"""Data: sets of examples, batches of them, text, and tasks that need memory."""

from .grammar import ReberGrammar
from .loader import DataLoader, Dataset, TensorDataset, default_collate
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
    "read_corpus", "standard_library", "temporal_order",
]  # fmt: skip
