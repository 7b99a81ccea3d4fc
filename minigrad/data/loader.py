"""Examples one by one, and batches of them.  Names, arguments and meaning are those of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Callable

import numpy as np

from ..autograd import Tensor
from ..ops import create, shape


class Dataset:
    """A set of examples: `len(data)` of them, `data[i]` the one at i.  Derive from it."""

    def __getitem__(self, index: int) -> Any:
        """Example number `index`."""
        raise NotImplementedError

    def __len__(self) -> int:
        """How many examples there are."""
        raise NotImplementedError


class TensorDataset(Dataset):
    """Example i is (x[i], y[i], …): tensors [n, …] of the same length n."""

    def __init__(self, *tensors: Tensor) -> None:
        sizes = {t.shape[0] for t in tensors}
        if len(sizes) != 1:
            raise ValueError(
                f"TensorDataset: tensors of one length are needed, not {sorted(sizes)}"
            )
        self.tensors = tensors

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """Row `index` of each tensor."""
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        """The length of the tensors."""
        return int(self.tensors[0].shape[0])


def default_collate(examples: Sequence[Any]) -> Any:
    """A batch of examples of the same structure.

    Numbers, arrays and tensors are stacked along a new first dimension; tuples, lists and dicts are
    gone through; anything else makes a list.
    """
    first = examples[0]
    if isinstance(first, Tensor):
        return shape.stack(list(examples))
    if isinstance(first, (np.ndarray, np.generic)):
        return create.from_numpy(np.stack(list(examples)))
    if isinstance(first, (bool, int, float)):
        return create.tensor(list(examples))
    if isinstance(first, dict):
        return {key: default_collate([e[key] for e in examples]) for key in first}
    if isinstance(first, (tuple, list)):
        if len({len(e) for e in examples}) != 1:
            raise ValueError(
                "examples of different lengths in one batch: give a collate_fn that pads"
            )
        parts = [default_collate(part) for part in zip(*examples)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    return list(examples)


class DataLoader:
    """Batches of a data set, anew (and newly shuffled) each time that one goes through them.

    dataset: anything with `len` and `[i]`.  drop_last: leave out a last batch that is smaller.
    collate_fn: makes a batch of a list of examples.  generator: a NumPy generator or a seed for the
    shuffling; otherwise minigrad's own, which `manual_seed` sets.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] = default_collate,
        generator: np.random.Generator | int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size={batch_size}: at least 1 is needed")
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self.drop_last, self.collate_fn = drop_last, collate_fn
        self.generator = (
            np.random.default_rng(generator) if isinstance(generator, int) else generator
        )

    def __len__(self) -> int:
        """Batches in one pass."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        """The batches of one pass."""
        n = len(self.dataset)
        order: Sequence[int] = range(n)
        if self.shuffle:
            # not (generator or …): the default is looked up now, since manual_seed replaces it
            random = create.generator() if self.generator is None else self.generator
            order = random.permutation(n).tolist()
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield self.collate_fn([self.dataset[i] for i in order[start : start + self.batch_size]])
