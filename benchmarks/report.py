"""Rows as tables, and with the circumstances as JSON."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

import minigrad

from .engines import numpy_obeys, torch
from .harness import OURS, Bench, Row

ROOT = Path(__file__).parent.parent


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(
        reversed([[s.strip() for s in line.split(":", 1)] for line in lines if ":" in line])
    )
    model = facts.get("model name", platform.machine())
    return (
        f"{model} (family {facts['cpu family']}, model {facts['model']})"
        if "model" in facts
        else model
    )


def git(*command: str) -> str:
    """What git says here; "" where there is no git or no repository."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def environment(bench: Bench) -> dict[str, Any]:
    """Whatever the numbers depend on."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": git("rev-parse", "--short=12", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain")),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "isa": minigrad.core.isa(),
        "isas": minigrad.core.isas(),
        "torch_isa": torch.backends.cpu.get_cpu_capability(),
        "threads": bench.threads,
        "numpy_blas_obeys_threads": numpy_obeys,
        "load_average_at_start": load[0] if load else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "minigrad": minigrad.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for factor, unit in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 1000:
            break
    value = seconds * factor
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"


def table(rows: list[Row]) -> str:
    """Minima per engine; ratios minigrad ÷ peer of minima and, in brackets, of medians."""
    names = list(dict.fromkeys(name for row in rows for name in row.times))
    peers = [name for name in names if name != OURS]
    extras = list(dict.fromkeys(key for row in rows for key in row.extra))
    judged = any(row.target is not None for row in rows)
    head = ["case", "threads", *names, *(f"÷ {p}" for p in peers), *extras]
    lines = [head + ["target", ""] * judged]
    for row in rows:
        cells = [row.case, str(row.threads)]
        cells += [duration(min(row.times[n])) if n in row.times else "" for n in names]
        for peer in peers:
            known = peer in row.times
            cells.append("{:.2f} ({:.2f})".format(*row.ratios(peer)) if known else "")
        cells += [f"{row.extra[key]:.4g}" if key in row.extra else "" for key in extras]
        if judged:
            cells += ["" if row.target is None else f"≤ {row.target:.2f}", row.verdict]
        lines.append(cells)
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths)))
        for line in lines
    )


def verdicts(rows: list[Row]) -> str:
    """How many targets are met, and each that is not."""
    judged = [row for row in rows if row.target is not None]
    counts = Counter(row.verdict for row in judged)
    if not judged:
        return "no targets"
    text = f"{counts['met']} of {len(judged)} targets met"
    if counts["unclear"]:
        text += f", {counts['unclear']} unclear (minima and medians disagree)"
    missed = [row for row in judged if row.verdict == "MISSED"]
    for row in sorted(missed, key=lambda row: -_worst(row) / (row.target or 1)):
        text += f"\n  missed: {row.part}: {row.case}, {row.threads} thread(s): "
        text += f"{_worst(row):.2f} for ≤ {row.target:.2f}"
    return text


def _worst(row: Row) -> float:
    return max(row.ratios(peer)[0 if row.by_minimum else 1] for peer in row.judged)


def as_json(row: Row) -> dict[str, Any]:
    """A row with its ratios, seconds per call."""
    return {
        "part": row.part,
        "case": row.case,
        "threads": row.threads,
        "seconds": {
            name: {"min": min(t), "median": statistics.median(t), "samples": len(t)}
            for name, t in row.times.items()
        },
        "ratios": {p: dict(zip(("min", "median"), row.ratios(p))) for p in row.peers},
        "target": row.target,
        "judged": list(row.judged),
        "verdict": row.verdict,
        **({"extra": row.extra} if row.extra else {}),
    }


def document(bench: Bench, circumstances: dict[str, Any]) -> dict[str, Any]:
    """The whole run, for json.dump."""
    return {
        "environment": circumstances,
        "command": ["python", "-m", "benchmarks", *sys.argv[1:]],
        "budget": vars(bench.budget),
        "facts": bench.facts,
        "rows": [as_json(row) for row in bench.rows],
    }
