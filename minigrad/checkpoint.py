"""The checkpoint of a character model: a file from which a run goes on, or the model writes."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path
from typing import Any

from minigrad import io
from minigrad.data.text import Vocabulary
from minigrad.model import CharModel
from minigrad.options import Options
from minigrad.train import build_model

FORMAT = "minigrad character model 1"


class CheckpointError(ValueError):
    """A file that is no checkpoint, or not one that fits; the message says which and why."""


def write(path: Path, run: dict[str, Any], source: dict[str, Any]) -> None:
    """Save the state_dict of a run, and where its text came from: all of it or nothing."""
    try:
        io.save({"format": FORMAT, "source": source, "run": run}, path)
    except OSError as e:
        raise CheckpointError(f"cannot save {path}, which is as before: {e.strerror or e}") from e


def read(path: Path) -> dict[str, Any]:
    """What was written: {"run": …, "source": …}.  CheckpointError or OSError if that cannot be."""
    with path.open("rb") as file:  # an OSError that says what is wrong
        file.read(1)
    try:
        saved = io.load(path)
    except (io.CheckpointError, ImportError) as e:
        raise CheckpointError(f"{path} is no minigrad checkpoint, or a damaged one ({e})") from e
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no minigrad checkpoint of a character model")
    return saved


def options_of(saved: dict[str, Any], path: Path) -> Options:
    """The options of the run that was saved."""
    try:
        return Options(**saved["run"]["options"])
    except TypeError as e:
        raise CheckpointError(f"{path} was written by another version of minigrad: {e}") from e


def model_of(saved: dict[str, Any], path: Path) -> tuple[CharModel, Vocabulary]:
    """The trained model and its vocabulary."""
    vocabulary = Vocabulary(saved["run"]["vocabulary"])
    model = build_model(options_of(saved, path), len(vocabulary))
    model.load_state_dict(saved["run"]["model"])
    model.eval()
    return model, vocabulary


def checksum(text: str) -> int:
    """By which the text of a resumed run is recognised."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def check_new(path: Path, *, overwrite: bool) -> None:
    """Raise CheckpointError or OSError unless a new run may be saved at `path`."""
    if path.is_dir():
        raise CheckpointError(f"--checkpoint {path} is a directory: the name of a file is needed")
    if path.exists():
        read(path)  # whatever is not a checkpoint is not ours to overwrite
        if not overwrite:
            raise CheckpointError(
                f"{path} holds an earlier run: --resume goes on with it, --overwrite replaces it, "
                f"--checkpoint FILE takes another name"
            )
    check_writable(path)


def check_writable(path: Path) -> None:
    """Raise CheckpointError unless a file can be made beside `path`: now, not in three minutes."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as e:
        raise CheckpointError(f"cannot write {path}: {e.strerror}") from e
