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
UNITS = {"s": "seconds", "MiB": "mebibytes"}  # in JSON; seconds are per call


def cpu() -> str:
    """The processor's name, with its family and model where the name says less."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    facts = {key.strip(): value.strip() for key, value in pairs}
    name = facts.get("model name", platform.machine())
    numbers = [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return ", ".join([name, *numbers])


def git(*command: str) -> str:
    """What git says here; "" where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *command], check=False, capture_output=True, text=True
        )
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
    factor, unit = next(
        (f, u) for f, u in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms"), (1, "s")) if seconds * f < 1000
    )
    value = seconds * factor
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"


def amount(value: float, unit: str) -> str:
    """With its unit."""
    return duration(value) if unit == "s" else f"{value:.0f} {unit}"


def aims(row: Row) -> str:
    """The row's targets: "≤ 0.6", or "≤ 0.6 torch, ≤ 1 numpy" where they differ."""
    by_number: dict[float, list[str]] = {}
    for peer, target in row.targets.items():
        by_number.setdefault(target, []).append(peer)
    if len(by_number) < 2:
        return "".join(f"≤ {target:.3g}" for target in by_number)
    return ", ".join(f"≤ {target:.3g} {' '.join(p)}" for target, p in by_number.items())


def verdict(row: Row) -> str:
    """Whether all targets are met, or else which are not."""
    words: dict[str, list[str]] = {}
    for peer, word in row.verdicts().items():
        words.setdefault(word, []).append(peer)
    if set(words) <= {"met"}:
        return "".join(words)
    return "; ".join(f"{word} {', '.join(p)}" for word, p in words.items() if word != "met")


def table(rows: list[Row]) -> str:
    """Minima per engine; ratios minigrad ÷ peer of minima and, in brackets, of medians."""
    fullest = max(rows, key=lambda row: len(row.times))
    names = list(dict.fromkeys([*fullest.times, *(name for row in rows for name in row.times)]))
    peers = [name for name in names if name != OURS]
    extras = list(dict.fromkeys(key for row in rows for key in row.extra))
    judged = any(row.targets for row in rows)
    head = ["case", "threads", *names, *(f"÷ {p}" for p in peers), *extras]
    lines = [head + ["target", ""] * judged]
    for row in rows:
        cells = [row.case, str(row.threads)]
        cells += [amount(min(row.times[n]), row.unit) if n in row.times else "" for n in names]
        for peer in peers:
            known = peer in row.times
            cells.append("{:.3g} ({:.3g})".format(*row.ratios(peer)) if known else "")
        cells += [f"{row.extra[key]:.4g}" if key in row.extra else "" for key in extras]
        if judged:
            cells += [aims(row), verdict(row)]
        lines.append(cells)
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths)))
        for line in lines
    )


def count(rows: list[Row]) -> str:
    """How many targets are met."""
    words = Counter(word for row in rows for word in row.verdicts().values())
    if not words:
        return "no targets"
    text = f"{words['met']} of {sum(words.values())} targets met"
    if words["unclear"]:
        text += f", {words['unclear']} unclear (minima and medians disagree)"
    return text


def missed(rows: list[Row]) -> str:
    """A line for each target that is missed, by part, the worst first."""
    lines = []
    for row in rows:
        for peer, word in row.verdicts().items():
            if word == "MISSED":
                ratio, target = row.ratios(peer)[0 if row.by_minimum else 1], row.targets[peer]
                text = f"{row.part}: {row.case}, {row.threads} thread(s): {ratio:.3g} × {peer}"
                lines.append((row.part, -ratio / target, f"  missed: {text} for ≤ {target:.3g}"))
    return "\n".join(text for *_, text in sorted(lines))


def as_json(row: Row) -> dict[str, Any]:
    """A row with its ratios."""
    return {
        "part": row.part,
        "case": row.case,
        "threads": row.threads,
        UNITS[row.unit]: {
            name: {"min": min(t), "median": statistics.median(t), "samples": len(t)}
            for name, t in row.times.items()
        },
        "ratios": {p: dict(zip(("min", "median"), row.ratios(p))) for p in row.peers},
        "targets": dict(row.targets),
        "verdicts": row.verdicts(),
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
