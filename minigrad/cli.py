"""The command line: train, sample, score, info."""

from __future__ import annotations

import argparse
import difflib
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import minigrad
from minigrad import commands
from minigrad.checkpoint import CheckpointError
from minigrad.data.text import UnreadableText
from minigrad.options import OptionError, Options


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, and where the help is."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        called = self.prog.replace("minigrad", commands.called(), 1)
        self.exit(2, f"{self.prog}: {message} (see {called} --help)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Reject what is unknown here, in the parser of the command, which knows its options."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            word = next((w for w in unknown if w.startswith("-")), unknown[0]).split("=")[0]
            close = difflib.get_close_matches(word, self._option_string_actions, 1, 0.7)
            what = "unknown option" if word.startswith("-") else "unexpected argument"
            self.error(f"{what} {word}" + (f": did you mean {close[0]}?" if close else ""))
        return known, unknown


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 2 after an error, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character
    parser = make_parser()
    args = parser.parse_args(argv)
    name = f"minigrad {args.command}"
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except (OptionError, UnreadableText, CheckpointError) as e:
        return _fail(name, str(e))
    except BrokenPipeError:  # of `minigrad sample … | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:
        return _fail(name, f"{e.filename}: {e.strerror}" if e.filename else str(e))
    except MemoryError as e:
        return _fail(name, f"there is not enough memory for this: {e or 'make the model smaller'}")
    except KeyboardInterrupt:
        return 130
    return status


def _fail(name: str, message: str) -> int:
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
    return 2


def make_parser() -> Parser:
    """All commands and their options."""
    parser = Parser(prog="minigrad", description="Recurrent networks that learn text.")
    parser.add_argument("--version", action="version", version=f"minigrad {minigrad.__version__}")
    commands_ = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    p = commands_.add_parser("train", help="train a character model and write with it")
    p.set_defaults(run=commands.train_command)
    p.add_argument(
        "text", nargs="*", type=Path, metavar="FILE|DIR",
        help="UTF-8 text to learn (default: the source of Python's standard library)",
    )  # fmt: skip
    for f in fields(Options):
        # SUPPRESS: what is not given is not set, so that --resume knows what is to be changed
        kind = {"int": int, "float": float}.get(str(f.type).split(" ")[0], str)
        default = "" if f.default is None else f" (default: {f.default})"
        p.add_argument(
            f"--{f.name}", type=kind, default=argparse.SUPPRESS,
            choices=f.metadata["choices"] or None,
            metavar="|".join(f.metadata["choices"]) or {int: "N", float: "X"}[kind],
            help=f.metadata["text"] + default,
        )  # fmt: skip
    p.add_argument("--checkpoint", type=Path, metavar="FILE", help="where to save the run "
                   f"(default: {commands.default_checkpoint()})")  # fmt: skip
    p.add_argument("--resume", action="store_true", help="go on with the run in the checkpoint")
    p.add_argument("--overwrite", action="store_true", help="replace an earlier checkpoint")
    p.add_argument("--plot", type=Path, metavar="FILE.png", help="where to draw the loss curve "
                   "(default: beside the checkpoint, if matplotlib is installed)")  # fmt: skip
    p.add_argument("--quiet", action="store_true", help="show only the table at the end")

    p = commands_.add_parser("sample", help="write with a trained model")
    p.set_defaults(run=commands.sample_command)
    p.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    p.add_argument("--prime", default="", metavar="TEXT", help="what the text begins with")
    p.add_argument("--temperature", type=_number(0, math.inf), default=0.8, metavar="X",
                   help="below 1: likelier text; 0: the likeliest (default: 0.8)")  # fmt: skip
    p.add_argument("--top-k", type=_count(0), default=0, metavar="N",
                   help="draw from the N likeliest characters only")  # fmt: skip
    p.add_argument("--top-p", type=_number(0, 1), default=1.0, metavar="X",
                   help="draw from the likeliest of joint probability X only")  # fmt: skip
    p.add_argument("--length", type=_count(1), default=1000, metavar="N",
                   help="characters to write (default: 1000)")  # fmt: skip
    p.add_argument(
        "--seed", type=_count(0), default=0, metavar="N", help="of the draws (default: 0)"
    )

    p = commands_.add_parser("score", help="how probable a trained model finds sentences")
    p.set_defaults(run=commands.score_command)
    p.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    p.add_argument(
        "sentences", nargs="+", metavar="SENTENCE", help="-: the lines of standard input"
    )

    p = commands_.add_parser("info", help="what minigrad finds on this machine")
    p.set_defaults(run=commands.info_command)
    return parser


def _number(low: float, high: float) -> Any:
    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high or math.isinf(value):
            limit = f"at least {low}" if math.isinf(high) else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"{text}: a number {limit} is needed")
        return value

    return number


def _count(low: int) -> Any:
    def integer(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{text}: an integer of at least {low} is needed")
        return value

    return integer
