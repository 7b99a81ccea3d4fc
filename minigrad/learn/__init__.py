"""Learning through time: algorithms, training loops, what makes them robust."""

from .average import EarlyStopping, WeightAverage
from .fit import Epoch, evaluate, fit
from .tbptt import Bias, detached, tbptt, truncation_bias

__all__ = [
    "Bias", "EarlyStopping", "Epoch", "WeightAverage", "detached", "evaluate", "fit", "tbptt",
    "truncation_bias",
]  # fmt: skip
