"""Checkpoints: what goes in comes out; the file is always whole; bad files are refused."""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import io, nn

FORMATS = ["npz", "safetensors"]


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A place for a file of either format."""
    if request.param == "safetensors":
        pytest.importorskip("safetensors")
    return tmp_path / f"file.{request.param}"


def names_in(folder: Path) -> list[str]:
    """The names of the files there."""
    return sorted(p.name for p in folder.iterdir())


def same(a: Any, b: Any) -> bool:
    """Equal in value, type, shape, NaN included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (mg.Tensor, np.ndarray)):
        return (
            a.dtype == b.dtype
            and a.shape == b.shape
            and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        )
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b or (a != a and b != b))


# ---- what goes in comes out ---------------------------------------------------------------------

TENSORS = [
    mg.tensor(1.5), mg.tensor([1.0, -0.0, math.nan, math.inf]), mg.zeros(0), mg.zeros(2, 0, 3),
    mg.arange(6).reshape(2, 3), mg.tensor([True, False]), mg.ones(2, 2, dtype="float64"),
    mg.randn(3, 4).T, mg.randn(4, 6)[1:3, ::2], mg.tensor(True), mg.tensor(-(2**63)),
]  # fmt: skip


def test_tensors_of_all_kinds(path: Path) -> None:
    mg.save(TENSORS, path)
    loaded = mg.load(path)
    assert same(loaded, [mg.tensor(x) for x in TENSORS])
    for x in loaded:
        x.fill_(1)  # memory of its own, writable
        assert not x.requires_grad


def test_arrays_keep_their_types(path: Path) -> None:
    obj = {
        t: np.arange(3).astype(t)
        for t in ["int8", "uint8", "int16", "uint32", "uint64", "float16", "bool"]
    }
    obj["swapped"] = np.arange(3, dtype=">f8")
    mg.save(obj, path)
    loaded = mg.load(path)
    assert all((loaded[k] == v).all() for k, v in obj.items())
    assert all(type(v) is np.ndarray for v in loaded.values())
    assert loaded["int8"].dtype == np.int8
    loaded["int8"][0] = 5
    for bad in (np.zeros(2, complex), np.array(["a"]), np.array([None])):
        with pytest.raises(TypeError, match=r"a\.0 is an array of "):
            mg.save({"a": [bad]}, path)


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from([*TENSORS[:7]])
)
objects = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(obj=objects)
def test_any_object(obj: Any, path: Path) -> None:
    mg.save(obj, path)
    assert same(mg.load(path), obj)


@pytest.mark.parametrize(
    "names",
    [["a.b", "a"], ["file", "minigrad.json", "__metadata__", "", ".", "/etc/x", "..", "a\0b", "ü"]],
)
def test_awkward_names(names: list[str], path: Path) -> None:
    obj = {name: mg.tensor(float(i)) for i, name in enumerate(names)}
    obj["nested"] = {"a": {"b": mg.tensor(9.0)}, "a.b": mg.tensor(8.0)}  # type: ignore[assignment]
    mg.save(obj, path)
    assert same(mg.load(path), obj)


def test_numpy_scalars_become_numbers(path: Path) -> None:
    mg.save([np.float32(0.5), np.int64(3), np.bool_(True), np.float64(math.nan)], path)
    assert same(mg.load(path), [0.5, 3, True, math.nan])


def test_the_state_of_a_training(path: Path) -> None:
    def make(seed: int) -> tuple[Any, Any]:
        mg.manual_seed(seed)
        net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        return net, mg.optim.Adam(net.parameters())

    def losses(net: Any, opt: Any) -> list[float]:
        found = []
        for _ in range(5):
            loss = (net(mg.randn(8, 3)) ** 2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            found.append(loss.item())
        return found

    net, opt = make(0)
    losses(net, opt)
    state = {"net": net.state_dict(), "opt": opt.state_dict(), "rng": mg.get_rng_state()}
    mg.save(state, path)
    want = losses(net, opt)
    net, opt = make(1)
    saved = mg.load(path)
    net.load_state_dict(saved["net"])
    opt.load_state_dict(saved["opt"])
    mg.set_rng_state(saved["rng"])
    assert losses(net, opt) == want


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"a": [1, {"b": object()}]}, r"a\.1\.b is a object"),
        ({1.5: 1}, "key 1.5"),
        ({True: 1}, "key True"),
        (nn.Linear(1, 1), "the object is a Linear"),
        ({"a": {1, 2}}, "a is a set"),
        (1j, "complex"),
    ],
)
def test_what_cannot_be_saved_leaves_the_old_file(obj: Any, message: str, path: Path) -> None:
    mg.save([1], path)
    with pytest.raises(TypeError, match=message):
        mg.save(obj, path)
    assert mg.load(path) == [1]
    assert names_in(path.parent) == [path.name]


# ---- formats ------------------------------------------------------------------------------------


def test_other_tools_read_and_write_these_files(tmp_path: Path) -> None:
    state = nn.Linear(2, 3).state_dict()
    mg.save(state, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["weight"], state["weight"].numpy())
    np.savez(tmp_path / "b.npz", **{k: v.numpy() for k, v in state.items()})
    assert same(mg.load(tmp_path / "b.npz"), state)
    np.savez_compressed(tmp_path / "c.npz", a=np.arange(3, dtype=np.int8))
    assert mg.load(tmp_path / "c.npz")["a"].dtype == mg.int64
    numpy = pytest.importorskip("safetensors.numpy")
    mg.save(state, tmp_path / "a.safetensors")
    assert list(numpy.load_file(tmp_path / "a.safetensors")) == ["bias", "weight"]
    numpy.save_file({k: v.numpy() for k, v in state.items()}, tmp_path / "b.safetensors")
    loaded = mg.load(tmp_path / "b.safetensors")
    assert all(same(loaded[k], state[k]) for k in state)


def test_the_ending_decides_and_the_contents_tell(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    for name, start in (("a.npz", b"PK"), ("a.safetensors", None), ("a.pt", None), ("a", None)):
        mg.save({"x": 1}, str(tmp_path / name))
        head = (tmp_path / name).read_bytes()[:2]
        assert (head == b"PK") == (start == b"PK")
        (tmp_path / name).rename(tmp_path / "renamed")
        assert mg.load(tmp_path / "renamed") == {"x": 1}


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    there = tmp_path / "there.safetensors"
    mg.save([1], there)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    sentence = r"pip install 'minigrad\[io\]'.*\.npz"
    with pytest.raises(ImportError, match=sentence):
        mg.save([2], there)
    with pytest.raises(ImportError, match=sentence):
        mg.load(there)
    for name in ("a.npz", "a.ckpt"):
        mg.save([3], tmp_path / name)
        assert mg.load(tmp_path / name) == [3]
        assert (tmp_path / name).read_bytes()[:2] == b"PK"
    assert names_in(tmp_path) == ["a.ckpt", "a.npz", "there.safetensors"]


# ---- bad files ----------------------------------------------------------------------------------


def refused(path: Path) -> str:
    """The one sentence with which `load` refuses; it names the path."""
    with pytest.raises(io.CheckpointError) as e:
        mg.load(path)
    text = str(e.value)
    assert text.startswith(f"{path}: cannot be loaded: ")
    assert "\n" not in text
    assert len(text) > len(f"{path}: cannot be loaded: ") + 5
    return text


def test_every_truncation_is_noticed(path: Path) -> None:
    mg.save({"a": mg.arange(20), "b": "text"}, path)
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        refused(path)
    path.write_bytes(b"")
    assert "empty" in refused(path)


def test_every_damaged_byte_is_noticed_or_harmless(path: Path) -> None:
    mg.save({"a": mg.arange(20), "b": 3}, path)
    whole = bytearray(path.read_bytes())
    for i in range(len(whole)):
        damaged = whole.copy()
        damaged[i] ^= 0x55
        path.write_bytes(damaged)
        try:
            mg.load(path)
        except io.CheckpointError:
            continue


def test_foreign_files(tmp_path: Path) -> None:
    def file(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    assert "No such file" in refused(tmp_path / "missing.npz")
    assert "directory" in refused(tmp_path)
    for name, data in (
        ("text", b"hello, this is a text"),
        ("pickle", b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00"),
        ("short", b"a"),
        ("zeros", bytes(100)),
    ):
        assert "neither" in refused(file(name, data))
    with zipfile.ZipFile(tmp_path / "torch.pt", "w") as z:
        z.writestr("archive/data.pkl", b"cos\nsystem\n")
    assert "archive/data.pkl" in refused(tmp_path / "torch.pt")
    np.savez(tmp_path / "object.npz", a=np.array([{}], dtype=object))
    assert "allow_pickle" in refused(tmp_path / "object.npz")
    np.savez(tmp_path / "text.npz", a=np.array(["a"]))
    assert "<U1" in refused(tmp_path / "text.npz")


def test_unknown_or_missing_contents(tmp_path: Path) -> None:
    def npz(structure: Any, **arrays: Any) -> Path:
        text = structure if isinstance(structure, str) else json.dumps(structure)
        names = {"minigrad.json": np.frombuffer(text.encode(), np.uint8), **arrays}
        np.savez(tmp_path / "x.npz", **names)
        return tmp_path / "x.npz"

    assert mg.load(npz({"tuple": [1, 2]})) == (1, 2)
    assert "array w is missing" in refused(npz({"tensor": "w"}))
    assert "a sparse, which" in refused(npz({"sparse": "w"}))
    refused(npz("{not json"))
    refused(npz({"dict": 3}))
    refused(npz({"dict": [[1]]}))
    refused(npz({"a": 1, "b": 2}))
    refused(npz('"' + "[" * 5))


def test_safetensors_header_that_lies(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    for header in (b"{", b'{"a":1}', b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'):
        (tmp_path / "a").write_bytes(struct.pack("<Q", len(header)) + header)
        refused(tmp_path / "a")
    (tmp_path / "a").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    refused(tmp_path / "a")


# ---- writing ------------------------------------------------------------------------------------


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        mg.save(1, tmp_path / "no" / "a.npz")


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mg.save({"old": mg.ones(3)}, path)

    def fail(error: BaseException) -> Any:
        def function(*_: Any) -> None:
            raise error

        return function

    full = OSError(28, "No space left on device")
    for place, name, error in (
        (os, "fsync", full),
        (os, "fsync", KeyboardInterrupt()),
        (Path, "replace", full),
    ):
        with monkeypatch.context() as m:
            m.setattr(place, name, fail(error))
            with pytest.raises(type(error)):
                mg.save({"new": mg.ones(3)}, path)
        assert list(mg.load(path)) == ["old"]
        assert names_in(path.parent) == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="symbolic links and modes")
def test_links_and_permissions(path: Path) -> None:
    link = path.with_name("link" + path.suffix)
    link.symlink_to(path)
    mg.save([1], link)
    assert link.is_symlink()
    assert mg.load(path) == [1]
    before = os.umask(0)
    os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~before


def test_threads_saving_to_one_path(path: Path) -> None:
    def work(i: int) -> None:
        for _ in range(5):
            mg.save({"i": i, "x": mg.full((1000,), i)}, path)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        if path.exists():
            saved = mg.load(path)
            assert (saved["x"].numpy() == saved["i"]).all()
    assert names_in(path.parent) == [path.name]


WRITER = """
import sys
import minigrad as mg
for i in range(10**6):
    xs = [mg.full((n,), i) for n in (1, 10, 50_000)]
    mg.save({"i": i, "a": mg.full((300, 300), i), "b": xs}, sys.argv[1])
    print(i, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_kill_at_any_moment_leaves_a_whole_file(path: Path) -> None:
    rng, last, leftovers = random.Random(0), -1, 0
    for _ in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(rng.randint(1, 4)):
            last = int(writer.stdout.readline())
        time.sleep(rng.random() * 0.02)
        writer.send_signal(signal.SIGKILL)
        last = int(([str(last).encode(), *writer.stdout.read().split()])[-1])
        writer.wait()
        writer.stdout.close()
        saved = mg.load(path)
        assert saved["i"] in (last, last + 1)
        for x in (saved["a"], *saved["b"]):
            assert (x.numpy() == saved["i"]).all()
        left = [name for name in names_in(path.parent) if name != path.name]
        assert len(left) <= 1  # of this writer: the next one removes it
        temporary = re.escape(f".{path.name}.{writer.pid}.") + r"\d+\.tmp"
        assert all(re.fullmatch(temporary, name) for name in left)
        leftovers += len(left)
    assert leftovers  # else no kill came in the middle of a file
    mg.save(1, path)
    assert names_in(path.parent) == [path.name]
