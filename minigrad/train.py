"""Training a character model by truncated backpropagation through time.

Read from top to bottom, this is how to train a recurrent network with minigrad: `train_step` is the
step, `rate_at` the course of the learning rate, `evaluate` the validation.  `Run` holds what the
next step depends on, so that a run that was saved and resumed gives the same numbers as one that
did not stop.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict
from typing import Any, Callable, NamedTuple

import minigrad
from minigrad import Tensor, nn, no_grad, optim
from minigrad.data.text import Codes, Streams, Vocabulary
from minigrad.model import CharModel, State
from minigrad.nn import functional as F
from minigrad.nn.utils import clip_grad_norm_
from minigrad.options import OptionError, Options

OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda parameters, rate: optim.SGD(parameters, lr=rate, momentum=0.9),
    "adam": lambda parameters, rate: optim.Adam(parameters, lr=rate),
    "adamw": lambda parameters, rate: optim.AdamW(parameters, lr=rate),
    "rmsprop": lambda parameters, rate: optim.RMSprop(parameters, lr=rate),
}
HELD_OUT = 20  # one character in 20, at the end of the text, is for validation
VALIDATION = 100_000  # of these, the first so many are used: 2 seconds


class DivergedError(ArithmeticError):
    """A gradient was not finite; the message names the parameter."""


def loss_of(model: CharModel, x: Codes, y: Codes, state: State) -> tuple[Tensor, State]:
    """Mean -ln p(y | x and what came before), codes x and y [T, N]; and the state after."""
    scores, state = model(minigrad.from_numpy(x), state)
    target = minigrad.from_numpy(y.reshape(-1))
    return F.cross_entropy(scores.reshape(target.shape[0], -1), target), state


def train_step(
    model: CharModel, optimizer: Any, x: Codes, y: Codes, state: State, clip: float
) -> tuple[float, float, State]:
    """One step on one window [T, N]: the loss, the norm of its gradient, the state for the next.

    That state is detached: the next window goes on from it, its gradient does not reach back here.
    DivergedError if a gradient is not finite; the weights are then as before.
    """
    model.train()
    optimizer.zero_grad()
    loss, state = loss_of(model, x, y, state)
    loss.backward()
    try:
        norm = clip_grad_norm_(model, clip or math.inf).item()
    except RuntimeError as e:
        raise DivergedError(str(e)) from e
    optimizer.step()
    return loss.item(), norm, nn.detached(state)


def evaluate(model: CharModel, streams: Streams) -> float:
    """Mean loss over the streams, dropout off, the state carried from window to window."""
    model.eval()
    state, total, characters = None, 0.0, 0
    with no_grad():
        for x, y in streams:
            loss, state = loss_of(model, x, y, state)
            total += loss.item() * x.size
            characters += x.size
    return total / characters


def rate_at(progress: float, schedule: str) -> float:
    """The factor of the learning rate at `progress`, which goes from 0 to 1: from 1 down to 0.01.

    cosine: 0.01 + 0.99 (1 + cos πp) / 2;  exponential: 0.01ᵖ;  step: 1, from ½ on 0.1, from ¾ 0.01.
    """
    if schedule == "cosine":
        return 0.01 + 0.99 * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    if schedule == "exponential":
        return float(0.01 ** min(progress, 1.0))
    if schedule == "step":
        return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
    return 1.0


def build_model(o: Options, vocabulary: int) -> CharModel:
    """The model that the options describe, with random weights."""
    before = minigrad.get_default_dtype()
    minigrad.set_default_dtype(getattr(minigrad, o.dtype))
    try:
        return CharModel(vocabulary, o.embedding, o.hidden, o.layers, o.cell, o.dropout)
    finally:
        minigrad.set_default_dtype(before)


def physical_memory() -> float:
    """Bytes, or infinity where it cannot be told."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


class Step(NamedTuple):
    """What came of one step."""

    step: int
    loss: float  #: in nats per character
    norm: float  #: of the gradient, before clipping
    rate: float
    characters: int


class Run:
    """A training run: everything that the next step depends on.

    The time that it may take (--minutes) is turned into a number of steps, `total`, from the speed
    so far: at first after every step, then every REPLAN steps.  Between these moments nothing
    depends on the clock, and with --steps or --epochs nothing ever does: the losses of a resumed
    run are those of one that never stopped, bit for bit.
    """

    REPLAN = 20

    def __init__(
        self,
        options: Options,
        vocabulary: Vocabulary,
        codes: Codes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with random weights on the text `codes`.  OptionError if the text is too short."""
        self.options, self.vocabulary, self.clock = options, vocabulary, clock
        need, have = options.memory(len(vocabulary)), physical_memory()
        if need > have:
            raise OptionError(
                f"training takes about {need / 1e9:.0f} GB of memory, and there is not more than "
                f"{have / 1e9:.0f} GB: take a smaller --hidden, --layers, --batch or --length"
            )
        held_out = max(2, len(codes) // HELD_OUT)
        if len(codes) - held_out <= options.batch:
            raise OptionError(
                f"a text of {len(codes)} characters is too short for --batch {options.batch}: each "
                f"stream needs one, and the validation {held_out}"
            )
        self.text = Streams(codes[:-held_out], options.batch, options.length)
        tail = codes[-held_out:][: VALIDATION + 1]
        self.held_out = Streams(tail, min(options.batch, -(-len(tail) // 200)), 200)

        if options.threads:
            minigrad.set_num_threads(options.threads)
        minigrad.manual_seed(options.seed)
        self.model = build_model(options, len(vocabulary))
        self.optimizer = OPTIMIZERS[options.optimizer](self.model.parameters(), options.rate)
        self.state: State = None  # of the recurrent layers at the end of the last window
        self.step = 0
        self.seconds = 0.0
        self.characters = 0  # read so far
        self.total = self.planned()
        self.losses: list[float] = []  # of every step
        self.validation: list[tuple[int, float]] = []  # (step, loss)

    def planned(self) -> int:
        """The number of steps at which the run ends, as far as can be told."""
        o = self.options
        if o.steps is not None:
            return o.steps
        if o.epochs is not None:
            return max(1, round(o.epochs * len(self.text)))
        assert o.minutes is not None
        if self.step == 0:
            return 1_000_000  # until the first step is done
        speed = self.step / max(self.seconds, 1e-9)
        # the last validation needs its time, too: as forward without backward, a third of a step's
        validation = self.held_out.x.size / 3 * self.seconds / self.characters
        left = o.minutes * 60 - self.seconds - validation
        return self.step + int(max(left, 0.0) * speed)

    @property
    def finished(self) -> bool:
        """Whether the steps, epochs or minutes asked for are over."""
        return self.step >= self.total

    def advance(self) -> Step:
        """One training step."""
        o, start = self.options, self.clock()
        k = self.step % len(self.text)
        if k == 0:  # an epoch begins
            self.state = None
        warm = min(1.0, (self.step + 1) / (o.warmup + 1))
        rate = o.rate * warm * rate_at(self.step / self.total, o.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x, y = self.text[k]
        loss, norm, self.state = train_step(self.model, self.optimizer, x, y, self.state, o.clip)
        self.step += 1
        self.characters += x.size
        self.losses.append(loss)
        self.seconds += self.clock() - start
        if o.minutes is not None and (self.step < self.REPLAN or self.step % self.REPLAN == 0):
            self.total = self.planned()
        return Step(self.step, loss, norm, rate, x.size)

    def validate(self) -> float:
        """The loss on the held-out tail; it is noted in `validation`."""
        start = self.clock()
        loss = evaluate(self.model, self.held_out)
        self.validation.append((self.step, loss))
        self.seconds += self.clock() - start
        return loss

    # ---- saved and resumed ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything, for `minigrad.save`."""
        return {
            "options": asdict(self.options),
            "vocabulary": self.vocabulary.symbols,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": minigrad.get_rng_state(),
            "state": list(self.state) if isinstance(self.state, tuple) else self.state,
            "step": self.step,
            "total": self.total,
            "seconds": self.seconds,
            "characters": self.characters,
            "losses": self.losses,
            "validation": self.validation,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from where `state_dict` was called; the options are those of this run."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        minigrad.set_rng_state(saved["random"])
        state = saved["state"]
        self.state = tuple(state) if isinstance(state, list) else state
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.characters = saved["characters"]
        self.losses = list(saved["losses"])
        self.validation = [(step, loss) for step, loss in saved["validation"]]
        self.total = saved["total"] if self.options.minutes is not None else self.planned()


class Watcher:
    """What `train` tells of its progress; this one ignores it."""

    def stopped(self, run: Run) -> bool:  # noqa: ARG002 (for those who look at it)
        """Whether to end the run here; asked before every step."""
        return False

    def stepped(self, run: Run, step: Step) -> None:
        """After every step."""

    def validated(self, run: Run, loss: float) -> None:
        """After every validation: the time to save and to show a sample."""


def train(run: Run, watcher: Watcher) -> None:
    """Train until the run is finished or the watcher says stop."""
    while not run.finished and not watcher.stopped(run):
        watcher.stepped(run, run.advance())
        if run.finished or run.step % run.options.every == 0:
            watcher.validated(run, run.validate())
