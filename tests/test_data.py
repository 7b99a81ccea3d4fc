"""Text, vocabulary, streams and the data loader."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.data import (
    DataLoader,
    Dataset,
    Streams,
    TensorDataset,
    UnreadableText,
    Vocabulary,
    read_corpus,
    standard_library,
)  # fmt: skip
from minigrad.data.text import UNKNOWN

# ---- text ----------------------------------------------------------------------------------------


def test_files_are_joined_in_order_and_line_ends_are_one_character(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes("\ufeffzwei\r\nfünf\r".encode())
    (tmp_path / "a.txt").write_bytes(b"one")
    corpus = read_corpus([tmp_path / "b.txt", tmp_path / "a.txt"])
    assert corpus.text == "zwei\nfünf\n\none"
    assert read_corpus([tmp_path]).text == "one\nzwei\nfünf\n"
    assert "2 files" in corpus.name


def test_a_directory_skips_what_is_no_text_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("abc")
    (tmp_path / "binary").write_bytes(b"a\0b")
    (tmp_path / "latin1").write_bytes(b"caf\xe9")
    (tmp_path / ".hidden").write_bytes(b"hidden")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_bytes(b"\0")
    corpus = read_corpus([tmp_path])
    assert corpus.text == "abc"
    assert len(corpus.notices) == 2
    assert "binary file" in corpus.notices[0]
    assert "0xe9 at offset 3" in corpus.notices[1]


@pytest.mark.parametrize(
    ("data", "words"), [(b"a\0b", "binary file"), (b"caf\xe9!", "0xe9 at offset 3")]
)
def test_a_file_that_is_named_must_be_text(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    with pytest.raises(UnreadableText, match=words) as e:
        read_corpus([file])
    assert str(file) in str(e.value)


def test_the_standard_library_is_real_and_deterministic_text() -> None:
    corpus = standard_library(200_000)
    assert corpus == standard_library(200_000)
    assert 200_000 <= len(corpus.text.encode()) < 500_000
    assert "def " in corpus.text
    assert "standard library of Python" in corpus.name


# ---- vocabulary ----------------------------------------------------------------------------------


def test_rare_characters_share_one_symbol() -> None:
    text = "abab" * 5000 + "é" * 9 + "ü" * 10
    v = Vocabulary.of(text)
    assert v.symbols == UNKNOWN + "abü"
    assert v.decode(v.encode("abéü漢").tolist()) == f"ab{UNKNOWN}ü{UNKNOWN}"
    assert v.unknown("éa漢") == "é漢"


@given(st.text(max_size=200))
def test_what_is_known_survives_coding(text: str) -> None:
    v = Vocabulary.of(text, min_count=1)
    assert v.decode(v.encode(text).tolist()) == text
    assert v.encode(text).dtype == np.int64


# ---- streams -------------------------------------------------------------------------------------


@given(st.integers(2, 300), st.integers(1, 9), st.integers(1, 50))
def test_streams_read_every_character_once_and_in_order(n: int, batch: int, length: int) -> None:
    codes = np.arange(n)
    if (n - 1) // batch < 1:
        with pytest.raises(ValueError, match="too few"):
            Streams(codes, batch, length)
        return
    streams = Streams(codes, batch, length)
    windows = list(streams)
    assert len(windows) == len(streams)
    assert all(len(x) == length for x, _ in windows[:-1])
    x = np.concatenate([x for x, _ in windows])  # [each, N]
    y = np.concatenate([y for _, y in windows])
    assert x.T.ravel().tolist() == list(range(streams.each * batch))  # stream after stream
    assert (y == x + 1).all()
    assert n - 1 - x.size < batch


# ---- data loader ---------------------------------------------------------------------------------


class Squares(Dataset):
    """(i, i²)"""

    def __getitem__(self, index: int) -> tuple[int, float]:
        return index, float(index**2)

    def __len__(self) -> int:
        return 10


def test_batches_in_order() -> None:
    loader = DataLoader(Squares(), batch_size=4)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    x, y = batches[-1]
    assert x.numpy().tolist() == [8, 9]
    assert (x.dtype, y.dtype) == (minigrad.int64, minigrad.float32)
    assert y.numpy().tolist() == [64, 81]
    assert [len(x) for x, _ in DataLoader(Squares(), 4, drop_last=True)] == [4, 4]


def test_shuffling_is_seeded_and_differs_between_epochs() -> None:
    def epochs(loader: DataLoader) -> list[list[int]]:
        return [[int(i) for x, _ in loader for i in x.numpy()] for _ in range(2)]

    first, second = epochs(DataLoader(Squares(), 3, shuffle=True, generator=7))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert [first, second] == epochs(DataLoader(Squares(), 3, shuffle=True, generator=7))
    minigrad.manual_seed(1)
    before = epochs(DataLoader(Squares(), 3, shuffle=True))
    minigrad.manual_seed(1)
    assert before == epochs(DataLoader(Squares(), 3, shuffle=True))


class Pair(NamedTuple):
    """A named pair."""

    a: np.ndarray
    b: dict[str, int]


def test_structures_are_collated_part_by_part() -> None:
    data = [Pair(np.full(3, i), {"n": i}) for i in range(2)]
    (batch,) = DataLoader(data, batch_size=2)
    assert isinstance(batch, Pair)
    assert batch.a.numpy().tolist() == [[0, 0, 0], [1, 1, 1]]
    assert batch.b["n"].numpy().tolist() == [0, 1]
    assert next(iter(DataLoader(["a", "b"], batch_size=2))) == ["a", "b"]


def test_tensor_dataset_and_collate_fn() -> None:
    data = TensorDataset(minigrad.arange(5), minigrad.ones(5, 2))
    x, y = next(iter(DataLoader(data, batch_size=5)))
    assert x.numpy().tolist() == [0, 1, 2, 3, 4]
    assert y.shape == (5, 2)
    assert list(DataLoader([1, 2, 3], 2, collate_fn=sum)) == [3, 3]
    with pytest.raises(ValueError, match="one length"):
        TensorDataset(minigrad.arange(5), minigrad.arange(4))
    with pytest.raises(ValueError, match="at least 1"):
        DataLoader(data, batch_size=0)
    with pytest.raises(ValueError, match="pads"):
        list(DataLoader([(1,), (1, 2)], batch_size=2))
