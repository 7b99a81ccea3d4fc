"""The command line: `python -m benchmarks [PART …] [--quick] [--threads 1 2] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

import minigrad

from . import (
    char_model,
    covariance,
    elementwise,
    gemm,
    importing,
    labels,
    optimizers,
    reductions,
    report,
    small_ops,
    threads,
)
from .harness import FULL, QUICK, Bench
from .recurrent import (
    clockwork,
    layers,
    long,
    regularized,
    reservoir,
    streaming,
    variants,
    workers,
)

PARTS = {
    "gemm": gemm.run,
    "elementwise": elementwise.run,
    "reductions": reductions.run,
    "small_ops": small_ops.run,
    "optim": optimizers.run,
    "covariance": covariance.run,
    "labels": labels.run,
    "char": char_model.run,
    "threads": threads.run,
    "contention": threads.run_contended,
    "import": importing.run,
    "recurrent.lstm": partial(layers.run, cell="LSTM"),
    "recurrent.gru": partial(layers.run, cell="GRU"),
    "recurrent.rnn": partial(layers.run, cell="RNN"),
    "recurrent.adam": layers.run_adam,
    "recurrent.variants": variants.run,
    "recurrent.regularized": regularized.run,
    "recurrent.char": layers.run_char,
    "recurrent.reservoir": reservoir.run,
    "recurrent.streaming": streaming.run,
    "recurrent.long": long.run,
    "recurrent.memory": long.run_memory,
    "recurrent.lengths": long.run_lengths,
    "recurrent.clockwork": clockwork.run,
}


def named(name: str) -> list[str]:
    """The part of that name, or all parts of that group."""
    return [part for part in PARTS if part == name or part.startswith(name + ".")]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="minigrad's speed beside PyTorch's and NumPy's, and the targets it is held to. "
        "The whole takes some minutes: let the machine do nothing else.",
    )
    names = f"of: {', '.join(PARTS)} (all); recurrent: all of recurrent.*"
    parser.add_argument("parts", nargs="*", metavar="PART", help=names)
    parser.add_argument("--quick", action="store_true", help="fewer cases, fewer rounds")
    cores = os.cpu_count() or 1
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2][:cores], help="1 and 2 unless said"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="of recurrent, the cases with TEXT in their names",
    )
    parser.add_argument("--isa", choices=minigrad.core.isas(), help="minigrad's instruction set")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go")
    parser.add_argument("--strict", action="store_true", help="exit status 1 if a target is missed")
    args = parser.parse_args()
    if unknown := [part for part in args.parts if not named(part)]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    args.parts = [part for name in args.parts for part in named(name)] or list(PARTS)
    if min(args.threads) < 1:
        parser.error("--threads: from 1 on")
    return args


def main() -> int:
    """Run the parts; print a table of each and what of the targets is met; write JSON."""
    args = arguments()
    if args.isa:
        minigrad.core.use_isa(args.isa)
    bench = Bench(args.threads, args.quick, QUICK if args.quick else FULL, args.only)
    circumstances = report.environment(bench)
    path = args.json or Path(__file__).parent / "results-{date:.10}-{commit}-{isa}.json".format(
        **circumstances
    )
    print("\n".join(f"{key:26}{value}" for key, value in circumstances.items()))
    for peer, reason in workers.absent().items():
        print(f"absent: {peer} ({reason})")
    print("\nTimes are minima.  ÷ peer: minigrad's time by the peer's, of minima (of medians).")
    for part in args.parts:
        bench.part, before = part, len(bench.rows)
        begun = time.perf_counter()
        PARTS[part](bench)
        if sys.stderr.isatty():
            print("\r" + " " * 78 + "\r", end="", file=sys.stderr)
        rows = bench.rows[before:]
        if args.only and not rows:
            continue
        print(f"\n{part} ({time.perf_counter() - begun:.0f} s)", "-" * 70)
        print(report.table(rows) if rows else "nothing to time here, or with these options")
        if any(row.targets for row in rows):
            print(report.count(rows))
        sys.stdout.flush()
    print(f"\nall ({time.perf_counter() - bench.started:.0f} s)", "-" * 70)
    print(report.count(bench.rows))
    if lines := report.missed(bench.rows):
        print(lines)
    path.write_text(json.dumps(report.document(bench, circumstances), indent=1) + "\n")
    print(f"numbers: {path}")
    return 1 if args.strict and report.missed(bench.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
