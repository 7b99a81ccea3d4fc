"""Text as training data: files → one string → integer codes → streams of windows."""

from __future__ import annotations

import os
import sysconfig
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
from numpy.typing import NDArray

UNKNOWN = "\ufffd"  # stands for every character that is not in the vocabulary
LIBRARY_SIZE = 6_000_000  # bytes of the standard library: what the default run sees once or twice
_NOT_LIBRARY = {  # tests, tables, documents, other people's packages
    "test", "tests", "idlelib", "lib2to3", "pydoc_data", "encodings", "distutils", "turtledemo",
    "ensurepip", "site-packages", "dist-packages", "__phello__",
}  # fmt: skip

Codes = NDArray[np.int64]


class Corpus(NamedTuple):
    """A text, what to call it, and what was left out of it."""

    name: str
    text: str
    notices: list[str]


class UnreadableText(ValueError):
    """A file that cannot be training text; the message says which and why."""


def read_text(path: Path) -> str:
    """The file, as UTF-8, with line ends of one character.  UnreadableText or OSError if not."""
    data = path.read_bytes()
    if b"\0" in data[:8192]:  # what git goes by
        raise UnreadableText(
            f"{path} is a binary file, not text (byte 0 at offset {data.index(0)})"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        wrong = f"byte 0x{data[e.start]:02x} at offset {e.start}"
        raise UnreadableText(f"{path} is not UTF-8 text: {wrong}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_corpus(paths: Sequence[Path]) -> Corpus:
    """The files, and all text files under the directories, in order, one after the other.

    Under a directory, hidden and binary files are skipped, the latter with a notice; a file that is
    named must be text.  UnreadableText or OSError says which is not.
    """
    texts: list[str] = []
    notices: list[str] = []
    for path in paths:
        if not path.is_dir():
            texts.append(read_text(path))
            continue
        for file in sorted(_walk(path, lambda name: name.startswith(".") or name == "__pycache__")):
            text, notice = _tried(file)
            texts += text
            notices += notice
    names = ", ".join(map(str, paths[:3])) + (" …" if len(paths) > 3 else "")
    return Corpus(f"{names} ({_files(texts)})", "\n".join(texts), notices)


def _tried(file: Path) -> tuple[list[str], list[str]]:
    """([text], []), or ([], [why not])."""
    try:
        return [read_text(file)], []
    except UnreadableText as e:
        return [], [f"skipped: {e}"]


def standard_library(size: int = LIBRARY_SIZE) -> Corpus:
    """The source of Python's own standard library on this machine: up to `size` bytes, whole files.

    The order is by a checksum of the file name: the same everywhere, and mixed, so that the tail
    held out for validation is like the rest.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = [
        file
        for file in _walk(root, lambda name: name in _NOT_LIBRARY)
        if file.suffix == ".py" and not file.name.startswith("_sysconfigdata")  # generated
    ]
    files.sort(key=lambda file: (zlib.crc32(file.relative_to(root).as_posix().encode()), file))
    texts: list[str] = []
    for file in files:
        if size <= 0:
            break
        texts.append(read_text(file))
        size -= file.stat().st_size
    name = f"the standard library of Python {sysconfig.get_python_version()} ({_files(texts)})"
    return Corpus(name, "\n".join(texts), [])


def _walk(root: Path, skip: Callable[[str], bool]) -> Iterator[Path]:
    """The files under `root`, but nothing of a name to be skipped."""
    for folder, folders, files in os.walk(root, onerror=_raise):
        folders[:] = [name for name in folders if not skip(name)]
        paths = (Path(folder, name) for name in files if not skip(name))
        yield from (path for path in paths if path.is_file())  # a pipe would never end


def _raise(error: OSError) -> None:
    raise error


def _files(texts: Sequence[str]) -> str:
    return "1 file" if len(texts) == 1 else f"{len(texts)} files"


class Vocabulary:
    r"""The characters that a model knows, and their codes 0, 1, …  Code 0 is UNKNOWN.

    >>> v = Vocabulary.of("hello", min_count=1)
    >>> len(v), v.decode(v.encode("hole!"))
    (5, 'hole\ufffd')
    """

    def __init__(self, symbols: str) -> None:
        self.symbols = symbols
        self.code = {c: i for i, c in enumerate(symbols)}

    @classmethod
    def of(cls, text: str, min_count: int = 10) -> Vocabulary:
        """The characters that occur at least `min_count` times in `text`, in the order of Unicode.

        A text shorter than 1000 × min_count counts as if min_count were in proportion: a character
        that makes up a thousandth of a text is not rare.
        """
        least = min(min_count, len(text) // 1000 + 1)
        known = sorted(c for c, n in Counter(text).items() if n >= least and c != UNKNOWN)
        return cls(UNKNOWN + "".join(known))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> Codes:
        """The codes of the characters, int64 [len(text)]."""
        # By a table over all code points that occur: 40 times faster than a dict look-up for each.
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        table = np.zeros(int(points.max(initial=0)) + 1, np.int64)
        for c, i in self.code.items():
            if ord(c) < len(table):
                table[ord(c)] = i
        return table[points]

    def decode(self, codes: Sequence[int]) -> str:
        """The characters with these codes."""
        return "".join(self.symbols[i] for i in codes)

    def unknown(self, text: str) -> str:
        """The characters of `text` that are not in the vocabulary, each once."""
        return "".join(sorted(set(text).difference(self.symbols)))


class Streams:
    """A text cut into N streams of equal length, read side by side in windows of T characters.

    Stream n begins where stream n-1 ends, and window k+1 where window k ends, so that the state of
    a recurrent model at the end of a window is right for the next.  The target of a character is
    the one after it.  The last window of an epoch may be shorter.
    """

    def __init__(self, codes: Codes, batch: int, length: int) -> None:
        self.each = (len(codes) - 1) // batch  # characters of each stream
        if self.each < 1:
            raise ValueError(f"{len(codes)} characters are too few for {batch} streams")
        self.length = length
        used = self.each * batch
        self.x = np.ascontiguousarray(codes[:used].reshape(batch, self.each).T)  # [each, N]
        self.y = np.ascontiguousarray(codes[1 : used + 1].reshape(batch, self.each).T)

    def __len__(self) -> int:
        """Windows in an epoch."""
        return (self.each + self.length - 1) // self.length

    def __getitem__(self, k: int) -> tuple[Codes, Codes]:
        """Window k: characters and targets, each [T, N]."""
        if not 0 <= k < len(self):
            raise IndexError(k)
        t = k * self.length
        return self.x[t : t + self.length], self.y[t : t + self.length]

    def __iter__(self) -> Iterator[tuple[Codes, Codes]]:
        return map(self.__getitem__, range(len(self)))
