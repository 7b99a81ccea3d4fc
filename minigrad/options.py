"""The options of a training run: name, default, meaning and limits of each, said once.

The command line, its help, its checks and the checkpoint are derived from this list.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


def option(
    default: Any,
    text: str,
    *,
    choices: tuple[str, ...] = (),
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    model: bool = False,
    metavar: str | None = None,
) -> Any:
    """A field of `Options`, its help and its limits; `model`: a resumed run cannot change it."""
    limits = {"at_least": at_least, "above": above, "below": below}
    meta = {"text": text, "choices": choices, "limits": limits, "model": model, "metavar": metavar}
    return field(default=default, metadata=meta)


class OptionError(ValueError):
    """An option that makes no sense; the message is one sentence."""


@dataclass
class Options:
    """What a training run is asked to do.  The defaults are for two cores and three minutes."""

    cell: str = option("lstm", "kind of recurrent cell", choices=("lstm", "gru", "rnn"), model=True)
    layers: int = option(1, "recurrent layers, each on the one below", at_least=1, model=True)
    hidden: int = option(256, "units of each recurrent layer", at_least=1, model=True)
    embedding: int = option(64, "size of a character's vector", at_least=1, model=True)
    dropout: float = option(
        0.0, "fraction dropped after each layer", at_least=0, below=1, model=True
    )
    length: int = option(64, "characters in a window of truncated BPTT", at_least=1, model=True)
    batch: int = option(32, "streams of text read side by side", at_least=1, model=True)
    optimizer: str = option(
        "adam", "optimiser", choices=("sgd", "adam", "adamw", "rmsprop"), model=True
    )
    rate: float = option(
        None, "learning rate (default: 0.015 for adam and adamw, 0.005 for rmsprop, 1 for sgd)",
        above=0, model=True,
    )  # fmt: skip
    schedule: str = option(
        "cosine", "course of the rate after the warm-up, down to 1 %% of it",
        choices=("constant", "cosine", "step", "exponential"), model=True,
    )  # fmt: skip
    warmup: int = option(50, "steps in which the rate rises", at_least=0, model=True)
    clip: float = option(
        1.0, "largest norm of the gradient; 0: no clipping", at_least=0, model=True
    )
    minutes: float | None = option(
        None, "stop after this time (the default: 3); the schedule is fitted to it", above=0
    )
    epochs: float | None = option(None, "stop after so many passes through the text", above=0)
    steps: int | None = option(None, "stop after so many steps", at_least=1)
    seed: int = option(0, "seed of all random numbers", at_least=0, model=True)
    dtype: str = option(
        "float32", "type of all numbers", choices=("float32", "float64"), model=True
    )
    threads: int | None = option(None, "threads (the result does not depend on it)", at_least=1)
    every: int = option(200, "steps between validations, samples and checkpoints", at_least=1)

    def __post_init__(self) -> None:
        self.check()
        if not (self.minutes or self.epochs or self.steps):
            self.minutes = 3.0
        if self.rate is None:
            self.rate = RATES[self.optimizer]

    def check(self) -> None:
        """Raise OptionError if a value is outside its limits or two contradict each other."""
        for f in fields(self):
            value, choices = getattr(self, f.name), f.metadata["choices"]
            if value is None:
                continue
            if choices and value not in choices:
                raise OptionError(f"--{f.name} {value}: one of {', '.join(choices)} is needed")
            for limit, bound in f.metadata["limits"].items():
                if bound is not None and not _within(value, limit, bound):
                    number = "an integer" if str(f.type).startswith("int") else "a finite number"
                    words = {"at_least": "of at least"}.get(limit, limit)
                    raise OptionError(f"--{f.name} {value}: {number} {words} {bound} is needed")
        budgets = [f"--{name}" for name in BUDGETS if getattr(self, name) is not None]
        if len(budgets) > 1:
            raise OptionError(f"{' and '.join(budgets)} contradict each other: give one of them")

    def memory(self, vocabulary: int) -> int:
        """About how many bytes training takes.

        The weights four times, with gradients and the moments of Adam, and what a window keeps for
        the backward pass.
        """
        gates = self.hidden * {"lstm": 4, "gru": 3, "rnn": 1}[self.cell]
        weights = gates * (self.embedding + self.hidden * (2 * self.layers - 1))
        weights += vocabulary * (self.embedding + self.hidden)
        window = self.length * self.batch * (4 * self.layers * gates + 3 * vocabulary)
        return (4 * weights + window) * (4 if self.dtype == "float32" else 8)

    def resumed(self, changes: dict[str, Any]) -> Options:
        """These options with `changes`.  OptionError if one changes what the run has begun with."""
        for f in fields(self):
            before = getattr(self, f.name)
            if f.metadata["model"] and changes.get(f.name, before) != before:
                raise OptionError(
                    f"--{f.name} {changes[f.name]}: the run to be resumed has {before}, and that "
                    f"cannot be changed"
                )
        kept = asdict(self)
        if any(name in changes for name in BUDGETS):
            kept.update(dict.fromkeys(BUDGETS))
        return Options(**{**kept, **changes})


BUDGETS = ("minutes", "epochs", "steps")
RATES = {"sgd": 1.0, "adam": 0.015, "adamw": 0.015, "rmsprop": 0.005}  # tried on the default text


def _within(value: float, limit: str, bound: float) -> bool:
    if not abs(value) < float("inf"):  # NaN, too
        return False
    return {"at_least": value >= bound, "above": value > bound, "below": value < bound}[limit]
