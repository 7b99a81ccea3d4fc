"""Learning: training loops and what makes them robust."""

from .average import EarlyStopping, WeightAverage
from .fit import Epoch, evaluate, fit

__all__ = ["EarlyStopping", "Epoch", "WeightAverage", "evaluate", "fit"]
