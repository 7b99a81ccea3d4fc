"""Checkpoints: nested dicts and lists of tensors, arrays and plain values, in one file.

Two formats: safetensors, which other tools read, by the package of that name (`pip install
minigrad[io]`), and NumPy's .npz.  Both hold named arrays; what else an object consists of is a JSON
text beside them.  Neither can run code when it is read.

A file is written under another name, and renamed when all of it is on the disk: whenever the
process is killed, the path holds the old file or the new one, whole.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import re
import threading
from pathlib import Path
from typing import Any, Union

import numpy as np

from .autograd import Tensor
from .ops.create import from_numpy, tensor

PathLike = Union[str, "os.PathLike[str]"]

_STRUCTURE = "minigrad.json"  # the name of the text, in either format
_DTYPES = {"bool", "float16", "float32", "float64"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


class CheckpointError(ValueError):
    """A file that cannot be loaded: the sentence says which and why."""


def save(obj: Any, path: PathLike) -> None:
    """Write `obj`, a nested dict, list or tuple of tensors, ndarrays and plain values, to `path`.

    The ending decides the format: .npz, or .safetensors, which needs the package (ImportError
    without it). Other endings: safetensors if the package is there, else the .npz format; `load`
    looks at the contents. Tensors come back untracked.  TypeError for anything else in `obj`:
    nothing is written then.

    >>> import minigrad, tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "a.npz")
    ...     minigrad.save({"step": 3, "w": minigrad.ones(2)}, path)
    ...     minigrad.load(path)
    {'step': 3, 'w': tensor([1., 1.])}
    """
    target = Path(os.path.realpath(path))  # a link goes on pointing to the file
    arrays: dict[str, Any] = {}
    structure = json.dumps(_encode(obj, "", arrays), allow_nan=False)
    package = None
    if target.suffix != ".npz":
        package = _safetensors(path, required=target.suffix == ".safetensors")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent} to save it in")
    _remove_stale(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            if package is None:
                _write_npz(file, arrays, structure)
            else:  # in memory: its save_file has temporary files, and a mode, of its own
                file.write(package.numpy.save(arrays, {_STRUCTURE: structure}))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if os.name == "posix":
        _sync_folder(target.parent)  # else the renaming itself may be lost with the power


def load(path: PathLike) -> Any:
    """What `save` wrote to `path`.

    A .safetensors or .npz file that comes from elsewhere gives {name: tensor}.  CheckpointError
    where the file is missing, truncated or something else.
    """
    try:
        with Path(path).open("rb") as f:
            start = f.read(9)
        if start[:2] == b"PK":
            arrays, structure = _read_npz(path)
        elif start[8:] == b"{":
            package = _safetensors(path, required=True)
            with package.safe_open(path, framework="np") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                structure = (file.metadata() or {}).get(_STRUCTURE)
        else:
            raise ValueError("neither a .safetensors nor an .npz file" if start else "it is empty")
        if structure is None:
            return {name: from_numpy(a) for name, a in arrays.items()}
        return _decode(json.loads(structure), arrays)
    except ImportError:
        raise
    except Exception as e:  # noqa: BLE001 (a damaged file can provoke any)
        reason = e.strerror if isinstance(e, OSError) and e.strerror else f"{e}" or type(e).__name__
        raise CheckpointError(f"{os.fspath(path)}: cannot be loaded: {reason}") from None


# ---- the two formats -------------------------------------------------------------------------


def _safetensors(path: PathLike, required: bool) -> Any:
    """The package, or None where it is missing and not required."""
    try:
        importlib.import_module("safetensors.numpy")
        return importlib.import_module("safetensors")
    except ImportError:
        if not required:
            return None
        raise ImportError(
            f"{os.fspath(path)}: the safetensors format needs the package safetensors: "
            f"pip install 'minigrad[io]', or save to a path that ends in .npz"
        ) from None


def _write_npz(f: Any, arrays: dict[str, Any], structure: str) -> None:
    zipfile = importlib.import_module("zipfile")  # with what it imports, 5 ms of every start
    text = np.frombuffer(structure.encode(), np.uint8)
    with zipfile.ZipFile(f, "w") as file:
        for name, a in {_STRUCTURE: text, **arrays}.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, a, allow_pickle=False)


def _read_npz(path: PathLike) -> tuple[dict[str, Any], str | None]:
    zipfile = importlib.import_module("zipfile")
    arrays: dict[str, Any] = {}
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            if not name.endswith(".npy"):
                raise ValueError(f"a zip file that contains {name}, which is no array")
            with file.open(name) as member:
                arrays[name[:-4]] = np.lib.format.read_array(member, allow_pickle=False)
    text = arrays.pop(_STRUCTURE, None)
    return arrays, None if text is None else text.tobytes().decode()


# ---- objects as JSON and named arrays --------------------------------------------------------


def _encode(x: Any, path: str, arrays: dict[str, Any]) -> Any:
    """`x` as JSON: arrays by the names under which they are put into `arrays`."""
    if isinstance(x, np.generic):
        x = x.item()
    if x is None or isinstance(x, (bool, int, str)):
        return x
    if isinstance(x, float):
        return x if math.isfinite(x) else {"float": str(x)}
    if isinstance(x, (Tensor, np.ndarray)):
        return {"tensor" if isinstance(x, Tensor) else "array": _add(np.asarray(x), path, arrays)}
    if isinstance(x, (list, tuple)):
        items = [_encode(item, f"{path}.{i}", arrays) for i, item in enumerate(x)]
        return items if isinstance(x, list) else {"tuple": items}
    if isinstance(x, dict):
        for key in x:
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise TypeError(
                    f"save: the key {key!r} in a dict: strings and integers are possible"
                )
        return {"dict": [[key, _encode(item, f"{path}.{key}", arrays)] for key, item in x.items()]}
    raise TypeError(
        f"save: {path.lstrip('.') or 'the object'} is a {type(x).__name__}: tensors, arrays, "
        f"numbers, strings, bools, None, and dicts, lists and tuples of these are possible"
    )


def _add(a: Any, path: str, arrays: dict[str, Any]) -> str:
    """Put `a` into `arrays`; returns the name given to it: its place in the object, dotted."""
    if a.dtype.name not in _DTYPES:
        raise TypeError(f"save: {path.lstrip('.') or 'the object'} is an array of {a.dtype}")
    place = name = re.sub(r"[^\w.-]", "_", path.lstrip(".")) or "_"
    n = 1
    while name in arrays or name in (_STRUCTURE, "__metadata__"):
        n += 1
        name = f"{place}-{n}"
    arrays[name] = np.asarray(a, a.dtype.newbyteorder("<"), order="C")
    return name


def _decode(x: Any, arrays: dict[str, Any]) -> Any:
    """The reverse of `_encode`."""
    if isinstance(x, list):
        return [_decode(item, arrays) for item in x]
    if not isinstance(x, dict):
        return x
    ((kind, value),) = x.items()
    if kind == "dict":
        return {key: _decode(item, arrays) for key, item in value}
    if kind == "tuple":
        return tuple(_decode(item, arrays) for item in value)
    if kind == "float":
        return float(value)
    if kind in ("tensor", "array"):
        if value not in arrays:
            raise ValueError(f"the array {value} is missing from it")
        return tensor(arrays[value]) if kind == "tensor" else np.array(arrays[value])
    raise ValueError(f"it contains a {kind}, which this version of minigrad does not know")


# ---- files -----------------------------------------------------------------------------------


def _sync_folder(path: Path) -> None:
    """Wait until the names in it are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale(target: Path) -> None:
    """Remove what processes that were killed while they saved to `target` have left."""
    if os.name != "posix":  # elsewhere, kill(pid, 0) does not ask but kill
        return
    pattern = re.compile(re.escape(f".{target.name}.") + r"(\d+)\.\d+\.tmp")
    for path in target.parent.iterdir():
        if found := pattern.fullmatch(path.name):
            try:
                os.kill(int(found[1]), 0)
            except (ProcessLookupError, OverflowError):
                path.unlink(missing_ok=True)
            except PermissionError:
                continue  # it lives, and is another user's
