"""The time of `import minigrad` in a fresh interpreter, and the size of the installed package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import minigrad

from .harness import OURS, Bench, Row

TARGET = 1.3  # of issue 2: import minigrad ÷ import numpy (which it imports)
LARGEST = 3.0  # MB, of issue 2

CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
INSTALLED = {".py", ".pyi", ".so", ".pyd", ".typed"}


def seconds(module: str) -> float:
    """Of `import module` in a new interpreter."""
    command = [sys.executable, "-c", CODE.format(module)]
    # With byte code, as installed: where writing it is switched off, each run would compile anew.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return float(done.stdout)


def installed_bytes() -> int:
    """Of the package, with the byte code that pip compiles for this interpreter."""
    total = 0
    for path in Path(minigrad.__file__).parent.rglob("*"):
        compiled = path.suffix == ".pyc" and path.stem.endswith(sys.implementation.cache_tag or "")
        if path.suffix in INSTALLED or compiled:
            total += path.stat().st_size
    return total


def run(bench: Bench) -> None:
    """Import, in turn with `import numpy`; size."""
    row = Row(bench.part, "import", 1, {OURS: [], "numpy": []}, {"numpy": TARGET})
    for round_ in range(10 if bench.quick else 25):
        bench.progress(f"import {round_}", 1)
        for module, times in row.times.items():
            times.append(seconds(module))
    for times in row.times.values():
        del times[0]  # may have compiled byte code, and read from disk
    bench.rows.append(row)
    size = installed_bytes() / 1e6
    bench.facts["installed_megabytes"] = size
    bench.facts["installed_megabytes_target"] = LARGEST
    row.extra["MB installed (target 3)"] = size
