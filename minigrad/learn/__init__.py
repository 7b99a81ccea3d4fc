"""Learning through time: algorithms, training loops, what makes them robust; readouts in closed form."""

from . import readout
from .average import EarlyStopping, WeightAverage
from .bptt import BPTT, Flow, elman_bound, gradient_flow
from .echo_state import EchoState, echo_state
from .ekf import EKF, annealed, output_jacobian
from .fit import Epoch, evaluate, fit
from .jacobians import Transition, differentiate, immediate, step_jacobian
from .paths import count_paths
from .rtrl import RTRL, SnAp1
from .tbptt import Bias, detached, tbptt, truncation_bias
from .uoro import UORO
