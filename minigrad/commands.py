"""What the commands do."""

from __future__ import annotations

import argparse
import platform
import shutil
import signal
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
from minigrad import checkpoint, core, report
from minigrad.checkpoint import CheckpointError
from minigrad.data.text import Corpus, UnreadableText, Vocabulary, read_corpus, standard_library
from minigrad.model import Surprisal, sample, score
from minigrad.options import BUDGETS, OptionError, Options
from minigrad.train import DivergedError, Run, train

SHORTEST = 2  # characters: one to read, one to predict


def called() -> str:
    """How this program was called, for telling what to type next: minigrad, .venv/bin/minigrad."""
    script = Path(sys.argv[0])
    if script.parts[-2:] == ("minigrad", "__main__.py"):
        return f"{_name(getattr(sys, 'orig_argv', ['python'])[0])} -m minigrad"  # absent in 3.9
    if script.stem != "minigrad" or sys.argv[0] == shutil.which("minigrad"):  # found on the PATH
        return "minigrad"
    return _name(sys.argv[0])


def default_checkpoint() -> str:
    """The name of the checkpoint if none is given."""
    return "minigrad-model" + (".safetensors" if find_spec("safetensors") else ".npz")


# ---- train ---------------------------------------------------------------------------------------


def train_command(args: argparse.Namespace) -> int:
    """Train, or go on training; show the outcome."""
    with _signals() as caught:
        return _train(args, caught)


def _train(args: argparse.Namespace, caught: list[int]) -> int:
    given = {f.name: getattr(args, f.name) for f in fields(Options) if hasattr(args, f.name)}
    path = args.checkpoint or Path(default_checkpoint())
    if args.resume:
        if args.overwrite:
            raise OptionError("--resume and --overwrite contradict each other")
        saved = checkpoint.read(path)
        checkpoint.check_writable(path)
        options = checkpoint.options_of(saved, path).resumed(given)
        vocabulary = Vocabulary(saved["run"]["vocabulary"])
        sources = args.text or [Path(p) for p in saved["source"]["paths"]]
    else:
        options = Options(**given)
        sources = args.text
    corpus = read_corpus(sources) if sources else standard_library()
    text = _checked(corpus)
    source = {"paths": [str(p.resolve()) for p in sources], "checksum": checkpoint.checksum(text)}
    if not args.resume:
        checkpoint.check_new(path, overwrite=args.overwrite)
        vocabulary = Vocabulary.of(text)
    elif source["checksum"] != saved["source"]["checksum"]:
        raise CheckpointError(f"{path}: the run has begun on another text than {corpus.name}")
    picture = _picture(args, path)
    run = Run(options, vocabulary, vocabulary.encode(text))
    if args.resume:
        run.load_state_dict(saved["run"])
        if run.finished:
            raise OptionError(
                f"{path}: the run is finished: go on with more --steps, --epochs or --minutes"
            )

    title = f"{corpus.name}: {len(text):,} characters, {len(vocabulary)} different"
    if not args.quiet:
        for notice in corpus.notices:
            print(notice)
        print(f"{'going on with' if args.resume else 'training on'} {title}", flush=True)
    progress = report.Progress(
        lambda: checkpoint.write(path, run.state_dict(), source), caught, quiet=args.quiet
    )
    try:
        train(run, progress)
    except DivergedError as e:
        print(f"minigrad train: step {run.step + 1}: {e} (--rate)", file=sys.stderr)
        return 1
    finally:
        progress.close()
    if not run.finished:
        progress.save()
        print(f"stopped after step {run.step} and saved; to go on: {_resume(path)}", flush=True)
        return 128 + caught[0]
    print(report.table(run, title))
    if picture is not None:
        picture.write_bytes(report.png(run))
    print(f"loss curve       {picture or report.sparkline(run.losses)}")
    if not args.quiet:
        _conclude(run, path)
    return 0


def _checked(corpus: Corpus) -> str:
    if len(corpus.text) < SHORTEST:
        what = "empty" if not corpus.text else "one character long"
        raise UnreadableText(f"{corpus.name}: the text is {what}: there is nothing to predict")
    return corpus.text


def _picture(args: argparse.Namespace, path: Path) -> Path | None:
    """Where to draw the loss curve; None: nowhere."""
    present = find_spec("matplotlib") is not None
    if args.plot is None:
        file = path.with_suffix(".png")
        return file if present and (not file.exists() or report.is_ours(file)) else None
    if args.plot.suffix.lower() != ".png":
        raise OptionError(f"--plot {args.plot}: the name must end in .png")
    if not present:
        raise OptionError("--plot needs matplotlib: pip install 'minigrad[viz]'")
    if args.plot.exists() and not report.is_ours(args.plot):
        raise OptionError(f"--plot {args.plot} exists and is not a loss curve by minigrad")
    checkpoint.check_writable(args.plot)
    return Path(args.plot)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Ctrl-C and kill end the run after the present step; a second one at once, without saving.

    They are caught from the beginning: an exception raised while something that ignores exceptions
    runs, such as a destructor, would be lost, and the run would go on.
    """
    caught: list[int] = []

    def handler(number: int, _: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for s, old in before.items():
            signal.signal(s, old)


def _name(path: Path | str) -> str:
    return f'"{path}"' if " " in str(path) else str(path)


def _resume(path: Path) -> str:
    default = str(path) == default_checkpoint()
    return f"{called()} train --resume" + ("" if default else f" --checkpoint {_name(path)}")


def _conclude(run: Run, path: Path) -> None:
    """A sample, and what to do next."""
    text = "".join(sample(run.model, run.vocabulary, length=400, temperature=0.7))
    print(f"\n{report.quoted(text)}")
    budget = next(name for name in BUDGETS if getattr(run.options, name) is not None)
    more = f"--{budget} {2 * getattr(run.options, budget):g}"
    print(f"saved; to write more:  {called()} sample {_name(path)}")
    print(f"       to learn more:  {_resume(path)} {more}")


# ---- sample and score ----------------------------------------------------------------------------


def _warn_of_unknown(vocabulary: Vocabulary, text: str) -> None:
    if unknown := vocabulary.unknown(text):
        print(f"note: the model does not know {unknown!r} and reads it as unknown", file=sys.stderr)


def sample_command(args: argparse.Namespace) -> int:
    """Write text, each character as it is drawn."""
    model, vocabulary = checkpoint.model_of(checkpoint.read(args.checkpoint), args.checkpoint)
    _warn_of_unknown(vocabulary, args.prime)
    print(vocabulary.decode(vocabulary.encode(args.prime).tolist()), end="", flush=True)
    for character in sample(
        model,
        vocabulary,
        args.prime,
        args.length,
        args.temperature,
        args.top_k,
        args.top_p,
        args.seed,
    ):
        print(character, end="", flush=True)
    print()
    return 0


def score_command(args: argparse.Namespace) -> int:
    """Show how probable the model finds each sentence, and which characters surprise it."""
    model, vocabulary = checkpoint.model_of(checkpoint.read(args.checkpoint), args.checkpoint)
    for sentence in _sentences(args.sentences):
        _warn_of_unknown(vocabulary, sentence)
        surprisal = score(model, vocabulary, sentence)
        print(
            f"{sentence}\n  log-probability {surprisal.log_probability:.3f} nats, "
            f"{surprisal.bits_per_character:.3f} bits per character, {len(sentence)} characters"
        )
        print(drawn(surprisal, shutil.get_terminal_size().columns), flush=True)
    return 0


def _sentences(given: list[str]) -> Iterator[str]:
    for sentence in given:
        if sentence == "-":
            yield from filter(None, (line.rstrip("\n") for line in sys.stdin))  # no empty lines
        elif sentence:
            yield sentence
        else:
            raise OptionError("an empty sentence has no character to score")


def drawn(surprisal: Surprisal, columns: int) -> str:
    """Each character above its bits: high numbers where the text surprised the model."""
    cells = []
    for c, bits in zip(surprisal.text, surprisal.bits):
        shown = {" ": "␣", "\n": "⏎", "\t": "⇥"}.get(c, c if c.isprintable() else "·")
        wide = unicodedata.east_asian_width(shown) in "WF"
        cells.append((shown.rjust(5 - wide), f"{bits:5.1f}"))
    each = max(1, (columns - 2) // 5)
    rows = [zip(*cells[i : i + each]) for i in range(0, len(cells), each)]
    return "\n".join("".join(line) for row in rows for line in row) + "\n"


# ---- info ----------------------------------------------------------------------------------------


def info_command(_: argparse.Namespace) -> int:
    """Show what there is."""
    sets = [
        name + ("" if name in core.isas() else " (not on this machine)")
        for name in core.compiled_isas()
    ]
    used, kept = core.memory()
    extras = {name: _version(name) for name in ("safetensors", "tqdm", "matplotlib")}
    print(report.aligned([
        ("minigrad", minigrad.__version__),
        ("processor", report.cpu()),
        ("instruction sets", ", ".join(sets)),
        ("in use", f"{core.isa()} (another: MINIGRAD_ISA=NAME, minigrad.core.use_isa)"),
        ("threads", f"{core.get_num_threads()} (MINIGRAD_NUM_THREADS=N, minigrad.set_num_threads)"),
        ("memory pool", f"{used:,} bytes in use, {kept:,} kept for reuse"),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("system", platform.platform()),
        ("NumPy", np.__version__),
        ("cffi", _version("cffi") or "absent"),
        ("extras", ", ".join(f"{name} {v or '(absent)'}" for name, v in extras.items())),
    ]))  # fmt: skip
    return 0


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
