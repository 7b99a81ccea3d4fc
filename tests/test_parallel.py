"""Threads and memory of the C core: equal bits for any number of threads, forks, callers, pool."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from minigrad import core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TASKS = Path("/proc/self/task")  # one entry per thread of this process, on Linux


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    before = core.get_num_threads()
    yield
    core.set_num_threads(before)


def array(*shape: int, dtype: str = "float32", seed: int = 0) -> Any:
    """Standard normal numbers as a core array."""
    return core.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def labels(*shape: int, high: int, seed: int = 0) -> Any:
    """Uniform int64 in [0, high)."""
    return core.from_numpy(np.random.default_rng(seed).integers(0, high, shape))


def bits(*results: Any) -> list[bytes]:
    """What must not depend on the number of threads."""
    return [np.asarray(r).tobytes() for r in results]


# ---- one result for any number of threads ------------------------------------------------------


def _matmul(dtype: str) -> list[bytes]:
    a, b = array(203, 301, dtype=dtype), array(301, 187, dtype=dtype, seed=1)
    tall, batch = array(1500, 64, dtype=dtype), array(7, 64, 130, dtype=dtype, seed=2)
    turned = core.permute(b, (1, 0))
    return bits(
        core.gemm(a, b),
        core.gemm(turned, core.permute(a, (1, 0))),
        core.gemm(core.permute(tall, (1, 0)), tall),  # a long inner dimension: a weight's gradient
        core.gemm(core.view(tall, 0, (1, 64), (64, 1)), batch),
    )


def _elementwise(dtype: str) -> list[bytes]:
    x, row = array(700, 301, dtype=dtype), array(301, dtype=dtype, seed=1)
    swapped = core.permute(x, (1, 0))
    return bits(
        *(core.unary(op)(x) for op in ("exp", "tanh", "sigmoid", "gelu")),
        core.binary("mul")(x, row),
        core.binary("add")(swapped, core.permute(x, (1, 0))),
        core.compare("lt")(x, row),
        core.contiguous(swapped),
    )


def _reductions(dtype: str) -> list[bytes]:
    x = array(90, 71, 83, dtype=dtype)
    ops = ("sum", "mean", "prod", "max", "argmax", "logsumexp", "var")
    axes: tuple[tuple[int, ...], ...] = ((0,), (1,), (2,), (0, 1, 2), (0, 2))
    squares = np.float64(core.Arrays([x, x]).sum_squares()).tobytes()
    return [squares, *bits(*(core.reduce(op, x, over, 1.0) for op in ops for over in axes))]


def _rows(dtype: str) -> list[bytes]:
    x, g = array(900, 257, dtype=dtype), array(900, 257, dtype=dtype, seed=1)
    y, log_y = core.rows("softmax", x), core.rows("log_softmax", x)
    grads = core.rows("softmax_grad", g, y), core.rows("log_softmax_grad", g, log_y)
    return bits(y, log_y, *grads, *core.normalize(x, 1e-5))


def _cross_entropy(dtype: str) -> list[bytes]:
    x, target = array(2000, 101, dtype=dtype), labels(2000, high=101)
    loss, lse, total, _ = core.cross_entropy(x, target, -100)
    dx = core.cross_entropy_grad(array(2000, dtype=dtype), x, lse, target, -100, 0.3)
    return [np.float64(total).tobytes(), *bits(loss, lse, dx)]


def _embedding(dtype: str) -> list[bytes]:
    table, index = array(500, 96, dtype=dtype), labels(64, 80, high=500)
    y = core.gather(table, index)
    core.scatter_add(table, index, y)  # every row is hit about ten times: the order of sums matters
    return bits(y, table)


def _update(dtype: str) -> list[bytes]:
    p, g, m, v = (array(300, 401, dtype=dtype, seed=s) for s in range(4))
    hyper = [1e-3, 0.9, 0.999, 1e-8, 0.0, 0.1, 0.01, 0.0]  # see adam_hyper in kernels/update.inc
    v = core.unary("square")(v)
    small = [array(n, dtype=dtype, seed=n) for n in (1, 70, 40_000, 3)]  # cut as one row with p
    rows = [(p, m, v), *((x, core.astype(x, x.layout.code), x) for x in small)]
    core.Update("adam", rows)([g, *small], hyper)
    core.Arrays([m, *small]).scale(0.3)
    return bits(p, m, *small)


WORK = [_matmul, _elementwise, _reductions, _rows, _cross_entropy, _embedding, _update]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("work", WORK, ids=lambda f: f.__name__[1:])
def test_same_bits_for_any_number_of_threads(
    work: Callable[[str], list[bytes]], dtype: str
) -> None:
    core.set_num_threads(1)
    alone = work(dtype)
    for threads in (2, 3, 5):
        core.set_num_threads(threads)
        for _ in range(3):  # who runs what differs from one time to the next
            assert work(dtype) == alone


@pytest.mark.skipif(not TASKS.exists(), reason="counts threads in /proc")
def test_the_pool_has_the_threads_asked_for() -> None:
    core.set_num_threads(5)
    _matmul("float32")
    _elementwise("float32")
    assert len(list(TASKS.iterdir())) >= 5


def test_number_of_threads_is_checked() -> None:
    for n in (0, -1, 257, 1 << 20):
        with pytest.raises(ValueError, match="number of threads"):
            core.set_num_threads(n)
    core.set_num_threads(256)
    assert core.get_num_threads() == 256


def _import_with(value: str) -> subprocess.CompletedProcess[str]:
    code = "from minigrad import core; print(core.get_num_threads())"
    environment = {**os.environ, "MINIGRAD_NUM_THREADS": value}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_environment_variable() -> None:
    assert _import_with("3").stdout == "3\n"
    default = _import_with("").stdout
    if hasattr(os, "sched_getaffinity"):
        assert 1 <= int(default) <= len(os.sched_getaffinity(0))
    for nonsense in ("zero", "0", "-2", "1.5", "100000"):
        done = _import_with(nonsense)
        assert done.returncode != 0
        assert "MINIGRAD_NUM_THREADS" in done.stderr


# ---- fork --------------------------------------------------------------------------------------


def _wait(child: int, seconds: float) -> int:
    """The child's exit status; -1 if it had to be killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def _fork() -> int:
    with warnings.catch_warnings():  # Python 3.12 warns of what these tests are about
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "while another thread computes"])
def test_child_of_fork_computes(busy: bool) -> None:
    core.set_num_threads(3)
    expected = _matmul("float32") + _elementwise("float32")
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            _elementwise("float32")

    other = threading.Thread(target=compute)
    if busy:
        other.start()
    try:
        for _ in range(5):
            child = _fork()
            if child == 0:
                same = _matmul("float32") + _elementwise("float32") == expected
                if TASKS.exists():  # the child has workers of its own
                    same = same and len(list(TASKS.iterdir())) >= 3
                again = _fork()  # a grandchild too
                if again == 0:
                    os._exit(0 if _matmul("float32") == expected[:4] else 1)
                os._exit(0 if same and _wait(again, 20) == 0 else 1)
            assert _wait(child, 30) == 0
            assert _matmul("float32") == expected[:4]
    finally:
        stop.set()
        if busy:
            other.join()


# ---- several callers ----------------------------------------------------------------------------


def test_threads_of_python_compute_at_the_same_time() -> None:
    core.set_num_threads(3)
    expected = {work: work("float32") for work in WORK}
    wrong: list[str] = []

    def compute(offset: int) -> None:
        for i in range(12):
            work = WORK[(i + offset) % len(WORK)]
            core.set_num_threads(1 + (i + offset) % 4)
            if work("float32") != expected[work]:
                wrong.append(work.__name__)

    callers = [threading.Thread(target=compute, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


# ---- memory -------------------------------------------------------------------------------------


def test_memory_is_released_kept_and_trimmed() -> None:
    core.trim()
    before, kept = core.memory()
    assert kept == 0
    x = array(1 << 20)
    results = [core.unary("exp")(x) for _ in range(5)]
    used, _ = core.memory()
    assert used - before >= 5 * (4 << 20)
    del results
    after, kept = core.memory()
    assert after == before
    assert kept <= used  # never more than was in use at one time
    core.trim()
    assert core.memory() == (before, 0)


def test_a_loop_reuses_its_blocks() -> None:
    x = array(300_000)

    def step() -> None:
        y = core.unary("tanh")(x)
        core.binary("mul")(core.binary("add")(y, x), core.unary("neg")(y))

    step()
    footprint = sum(core.memory())
    for _ in range(50):
        step()
    assert sum(core.memory()) == footprint


def test_blocks_freed_by_another_thread() -> None:
    before, _ = core.memory()
    x = array(1000)
    made = [core.unary("exp")(x) for _ in range(20_000)]
    expected = bits(made[0])
    halves = [made[::2], made[1::2]]
    del made
    callers = [threading.Thread(target=half.clear) for half in halves]
    for caller in callers:
        caller.start()
    again = [core.unary("exp")(x) for _ in range(5000)]
    for caller in callers:
        caller.join()
    assert all(bits(y) == expected for y in again)
    del again
    assert core.memory()[0] == before


def test_absurd_sizes_are_a_memory_error() -> None:
    for n in (1 << 50, (1 << 61) - 1):
        with pytest.raises(MemoryError):
            core.empty_of((n,), core.F32)
