"""Learning through time: algorithms, training loops, what makes them robust; readouts in closed form."""

from . import readout
from .average import EarlyStopping, WeightAverage
from .ekf import EKF, annealed, output_jacobian
from .echo_state import EchoState, echo_state
from .bptt import BPTT, Flow, elman_bound, gradient_flow
from .fit import Epoch, evaluate, fit
from .jacobians import Transition, differentiate, immediate, step_jacobian
from .paths import count_paths
from .rtrl import RTRL, SnAp1
from .tbptt import Bias, detached, tbptt, truncation_bias
from .uoro import UORO

__all__ = [
    "EKF", "RTRL", "UORO", "Bias", "EarlyStopping", "Epoch", "SnAp1", "Transition", "WeightAverage",
    "annealed", "detached", "differentiate", "evaluate", "fit", "immediate", "output_jacobian",
    "step_jacobian", "tbptt", "truncation_bias",
    "Bias", "EarlyStopping", "EchoState", "Epoch", "WeightAverage", "detached", "echo_state",
    "evaluate", "fit", "readout", "tbptt", "truncation_bias",
]  # fmt: skip
