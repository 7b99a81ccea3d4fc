"""Data: sets of examples, batches of them, and text."""

from .loader import DataLoader, Dataset, TensorDataset, default_collate
from .text import Corpus, Streams, UnreadableText, Vocabulary, read_corpus, standard_library

__all__ = [
    "Corpus", "DataLoader", "Dataset", "Streams", "TensorDataset", "UnreadableText", "Vocabulary",
    "default_collate", "read_corpus", "standard_library",
]  # fmt: skip
