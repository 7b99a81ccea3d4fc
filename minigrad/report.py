"""What a training run shows: progress, samples, the table at the end, the loss curve."""

from __future__ import annotations

import io
import math
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable

import numpy as np

from minigrad import core
from minigrad.model import sample
from minigrad.train import Run, Step, Watcher

BITS = 1 / math.log(2)  # in a nat


class Progress(Watcher):
    """Shows a line that changes after every step, and a paragraph after every validation.

    The line goes to stderr if that is a terminal: by tqdm if it is installed.  `save` is called
    after every validation.  A signal in `caught` stops the run.
    """

    def __init__(self, save: Callable[[], None], caught: Sequence[int], *, quiet: bool) -> None:
        self.save, self.caught, self.quiet = save, caught, quiet
        self.recent: deque[tuple[float, int, float]] = deque(maxlen=50)  # (time, characters, loss)
        self.shown = 0.0
        self.live = not quiet and sys.stderr.isatty()
        self.bar: Any = None
        if self.live and find_spec("tqdm"):
            tqdm = import_module("tqdm").tqdm  # the extra `progress`
            self.bar = tqdm(leave=False, bar_format="step {desc} {bar:20}{postfix}")

    def stopped(self, run: Run) -> bool:  # noqa: ARG002
        """Whether a signal has come."""
        return bool(self.caught)

    def stepped(self, run: Run, step: Step) -> None:
        """Show the line, ten times a second."""
        now = time.monotonic()
        self.recent.append((now, step.characters, step.loss))
        if not self.live or now - self.shown < 0.1:
            return
        self.shown = now
        line = f"{self.line(step)}  {left(run)} left"
        if self.bar is not None:
            self.bar.total, self.bar.n = run.total, step.step
            self.bar.set_description_str(place(run), refresh=False)
            self.bar.set_postfix_str(line, refresh=True)
        else:
            print(f"\r\x1b[Kstep {place(run)}  {line}", end="", file=sys.stderr, flush=True)

    def line(self, step: Step) -> str:
        """Loss (mean of the last 50 steps), characters per second, norm of the gradient, rate."""
        loss = float(np.mean([loss for _, _, loss in self.recent]))
        seconds = self.recent[-1][0] - self.recent[0][0]
        speed = sum(n for _, n, _ in list(self.recent)[1:]) / seconds if seconds else 0.0
        return (
            f"loss {loss:.3f} = {loss * BITS:.2f} bits/char  {speed:,.0f} chars/s  "
            f"|g| {step.norm:.2f}  rate {step.rate:.2g}"
        )

    def validated(self, run: Run, loss: float) -> None:
        """Save; show the loss and a sample."""
        self.save()
        if self.quiet:
            return
        self.clear()
        print(
            f"step {place(run)}: training {training_loss(run):.3f}, validation {loss:.3f} "
            f"nats = {loss * BITS:.2f} bits per character, {left(run)} left"
        )
        if not run.finished:
            text = sample(run.model, run.vocabulary, length=120, temperature=0.7, seed=run.step)
            print(quoted("".join(text)), flush=True)

    def clear(self) -> None:
        """Wipe the line."""
        if self.bar is not None:
            self.bar.clear()
        elif self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Show no more."""
        self.clear()
        if self.bar is not None:
            self.bar.close()


def place(run: Run) -> str:
    """`step of total`, or `of about total` while the total is an estimate from the speed."""
    estimate = run.options.minutes is not None and not run.finished
    return f"{run.step} of {'about ' * estimate}{run.total}"


def training_loss(run: Run) -> float:
    """The mean of the last --every steps, in nats per character."""
    return float(np.mean(run.losses[-run.options.every :]))


def left(run: Run) -> str:
    """The time left, as m:ss or h:mm:ss."""
    seconds = round((run.total - run.step) * run.seconds / max(run.step, 1))
    minutes = f"{seconds // 60 % 60}:{seconds % 60:02}"
    return minutes if seconds < 3600 else f"{seconds // 3600}:{minutes:0>5}"


def quoted(text: str) -> str:
    """The text with a bar before each line, so that it is not taken for output of the program."""
    return "".join(f"  │ {line}\n" for line in text.strip("\n").split("\n"))


def aligned(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def table(run: Run, corpus: str) -> str:
    """The run in numbers."""
    o, seconds = run.options, max(run.seconds, 1e-9)
    count = sum(math.prod(p.shape) for p in run.model.parameters())
    training, validation = training_loss(run), run.validation[-1][1]
    averaged = f"mean of the last {min(o.every, run.step)} steps"
    return aligned([
        ("text", corpus),
        ("model", f"{o.cell} {o.layers} × {o.hidden}, {count:,} parameters, {o.dtype}"),
        ("steps", f"{run.step:,} of {o.batch} × {o.length}, {run.step / len(run.text):.2f} epochs"),
        ("time", f"{seconds:.0f} s, {run.characters / seconds:,.0f} characters per second"),
        ("training loss", f"{training:.4f} nats = {training * BITS:.3f} bits per character, {averaged}"),
        ("validation loss", f"{validation:.4f} nats = {validation * BITS:.3f} bits per character"),
        ("machine", machine()),
    ])  # fmt: skip


def machine() -> str:
    """Processor, instruction set, threads."""
    threads = core.get_num_threads()
    return f"{cpu()}, {core.isa()}, {threads} thread{'s' * (threads != 1)}"


def cpu() -> str:
    """The name of the processor, and how many of its cores there are for us."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} core{'s' * (cores != 1)}"


# ---- the loss curve ------------------------------------------------------------------------------


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """The values, averaged to `width` of them, as a row of bars."""
    bins = np.array_split(np.asarray(values, float), min(width, len(values)))
    means = np.array([b.mean() for b in bins])
    low, span = means.min(), (means.max() - means.min()) or 1.0
    bars = "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * (m - low) / span))] for m in means)
    return f"{means[0]:.2f} {bars} {means[-1]:.2f}"


def png(run: Run) -> bytes:
    """The curves of the training and the validation loss.  Needs matplotlib (the extra `viz`)."""
    canvas = import_module("matplotlib.backends.backend_agg").FigureCanvasAgg  # opens no window
    figure = import_module("matplotlib.figure").Figure(figsize=(7, 4.3), layout="constrained")
    axes = figure.add_subplot()
    window = max(1, len(run.losses) // 200)
    smooth = np.convolve(run.losses, np.ones(window) / window, "valid")
    axes.plot(np.arange(len(smooth)) + window, smooth, lw=1, label="training")
    axes.plot(*zip(*run.validation), "o-", ms=3, label="validation, dropout off")
    axes.set(xlabel="step", ylabel="nats per character", title=f"minigrad: {run.options.cell}")
    axes.secondary_yaxis("right", (lambda y: y * BITS, lambda y: y / BITS)).set_ylabel("bits")
    axes.grid(alpha=0.3)
    axes.legend()
    file = io.BytesIO()
    canvas(figure).print_png(file, metadata={"Software": "minigrad"})
    return file.getvalue()


def is_ours(path: Path) -> bool:
    """Whether the file is a picture by `png`."""
    with path.open("rb") as file:
        head = file.read(4096)
    return head.startswith(b"\x89PNG") and b"Software\0minigrad" in head
