"""Engines in processes of their own, timed in turn with the others: `python -m … .workers ENGINE`.

PyTorch with memory that glibc keeps, and JAX with a given number of threads: both is decided when
the process starts.  Messages are pickles through pipes; the process that waits uses no core.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pickle
import platform
import subprocess
import sys
from pathlib import Path
from timeit import Timer
from typing import Any

from ..harness import settle

KEPT, JAX = "torch kept", "jax"
# malloc neither maps large blocks one by one nor gives memory back: it is faulted in once
KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62)}


def absent() -> dict[str, str]:
    """The peers that cannot run here, and why."""
    reasons = {
        name: "not installed: pip install -e .[bench]"
        for name, modules in {JAX: ["jax"], "onnxruntime": ["onnxruntime", "onnx"]}.items()
        if not all(map(importlib.util.find_spec, modules))
    }
    if platform.libc_ver()[0] != "glibc":
        reasons[KEPT] = "the C library is not glibc"
    return reasons


class Worker:
    """Another process with an engine, which computes what it is asked to."""

    def __init__(self, engine: str, threads: int) -> None:
        env = {**os.environ, **(KEEP if engine == KEPT else {})}
        command = [sys.executable, "-m", __name__, engine, str(threads)]
        root, pipe = str(Path(__file__).parents[2]), subprocess.PIPE
        self.process = subprocess.Popen(command, env=env, cwd=root, stdin=pipe, stdout=pipe)

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        pickle.dump((verb, arguments), self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)

    def build(self, *arguments: Any) -> Worker:
        """Make ready what is to be timed."""
        self.ask("build", *arguments)
        return self

    def results(self) -> dict[str, Any]:
        """y and the gradients."""
        return dict(self.ask("results"))

    def __call__(self) -> None:
        """Once, untimed."""
        self.ask("timeit", 1)

    def timeit(self, n: int) -> float:
        """Seconds that n calls take there, without the way there and back."""
        return float(self.ask("timeit", n))


_running: dict[tuple[str, int], Worker] = {}


def worker(engine: str, threads: int) -> Worker | None:
    """The process for that engine, the same at every call; None where the engine is absent."""
    if engine in absent():
        return None
    if (engine, threads) not in _running:
        _running[engine, threads] = Worker(engine, threads)
    return _running[engine, threads]


@atexit.register
def close() -> None:
    """End the processes."""
    for one in _running.values():
        one.process.kill()
        one.process.wait()


def maker(engine: str, threads: int) -> Any:
    """In the worker: the function that makes a step of a case."""
    if engine == JAX:
        if hasattr(os, "sched_setaffinity"):  # its threads are as many as the cores it finds
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        from .scan import Step

        return Step
    from .. import char_model
    from ..engines import torch
    from .libraries import Step as LayerStep

    def torch_step(case: Any, optimize: bool) -> Any:
        if isinstance(case, char_model.Sizes):
            return char_model.Step(torch, case)
        return LayerStep(torch, case, optimize)

    torch.set_num_threads(threads)
    return torch_step


def main() -> None:
    """Answer until there are no more questions."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print does not get into the answers
    threads = int(sys.argv[2])
    make, step = maker(sys.argv[1], threads), None
    while True:
        try:
            verb, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: Any = None
        if verb == "build":
            step = None  # its memory first
            step = make(*arguments)
        elif verb == "results":
            answer = step.results()
        else:
            answer = Timer(step).timeit(*arguments)
            if threads > 1:
                settle()
        pickle.dump(answer, out)
        out.flush()


if __name__ == "__main__":
    main()
