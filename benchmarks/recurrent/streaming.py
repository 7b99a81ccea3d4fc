"""One time step at a time, batch 1, no gradients: what it takes to follow a live signal."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad

from .. import engines
from ..engines import numpy_obeys, torch
from ..harness import OURS, Bench
from . import bptt
from .cases import Case, same
from .workers import absent

# H: targets of issue 3 for 1 and 2 threads
TARGETS = {32: (0.06, 0.06), 128: (0.17, 0.17), 512: (0.85, 0.75)}
AHEAD = 1.0


class Minigrad:
    """nn.LSTMCell; `run` is under no_grad."""

    def __init__(self, case: Case, _: int) -> None:
        layer = minigrad.nn.LSTM(case.I, case.H)
        layer.load_torch(case.weights())
        self.cell = layer.cells()[0]
        self.x = minigrad.tensor(case.data()[0][0])
        self.state = (minigrad.zeros(1, case.H), minigrad.zeros(1, case.H))

    def __call__(self) -> Any:
        """The state of the next call."""
        self.state = self.cell(self.x, self.state)
        return self.state


class Torch:
    """torch.nn.LSTMCell; `run` is in inference mode."""

    def __init__(self, case: Case, _: int) -> None:
        self.cell = torch.nn.LSTMCell(case.I, case.H)
        weights = {name[: -len("_l0")]: torch.tensor(w) for name, w in case.weights().items()}
        self.cell.load_state_dict(weights)
        self.x = torch.tensor(case.data()[0][0])
        self.state = (torch.zeros(1, case.H), torch.zeros(1, case.H))

    def __call__(self) -> Any:
        """The state of the next call."""
        self.state = self.cell(self.x, self.state)
        return self.state


class Numpy:
    """The equations of `bptt`, one product for [x, h]."""

    def __init__(self, case: Case, _: int) -> None:
        w = case.weights()
        self.W, self.U, self.b = (
            w["weight_ih_l0"],
            w["weight_hh_l0"],
            w["bias_ih_l0"] + w["bias_hh_l0"],
        )
        self.x = case.data()[0][0]
        self.state = (np.zeros((1, case.H), np.float32), np.zeros((1, case.H), np.float32))

    def __call__(self) -> Any:
        """The state of the next call."""
        z = self.x @ self.W.T + self.b
        self.state, _ = bptt.lstm_forward(np, z, self.state, self.U, None)
        return self.state


def makers() -> dict[str, Any]:
    """By engine, what makes a step of a case with a number of threads."""
    found: dict[str, Any] = {OURS: Minigrad, "torch": Torch}
    if "onnxruntime" not in absent():
        from . import onnx_step

        found["onnxruntime"] = onnx_step.Step
    if numpy_obeys:
        found["numpy"] = Numpy
    return found


def h(state: Any) -> Any:
    """Of the state that a call returns."""
    return np.array(state[0].numpy() if hasattr(state[0], "numpy") else state[0]).reshape(-1)


def run(bench: Bench) -> None:
    """Time against torch, onnxruntime and NumPy."""
    for hidden, targets in TARGETS.items():
        case = Case("LSTM", 1, 1, hidden, hidden)
        name = f"one step of an LSTM, B=1, I=H={hidden}"
        if not bench.wants(name):
            continue
        for threads in bench.threads:
            engines.set_threads(threads)
            with minigrad.no_grad(), torch.inference_mode():
                calls = {engine: make(case, threads) for engine, make in makers().items()}
                for _ in range(5):
                    found = {engine: {"h": h(call())} for engine, call in calls.items()}
                    for engine in calls:
                        same(found[OURS], found[engine], f"{name}, {OURS} and {engine}")
                peers = {engine: AHEAD for engine in calls if engine != OURS}
                peers["torch"] = targets[min(threads, 2) - 1]
                bench.doubt(bench.measure(name, calls, threads, peers))
