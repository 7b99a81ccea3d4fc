"""onnxruntime: one step of an LSTM, its buffers bound once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .cases import Case

OPSET = 17


def model(case: Case) -> bytes:
    """x [1, 1, I], h and c [1, 1, H] -> h and c after."""
    w, size = case.weights(), case.H

    def iofc(a: Any) -> Any:
        """ONNX's order of the gates; PyTorch's is i, f, g, o."""
        i, f, g, o = np.split(a, 4)
        return np.concatenate([i, o, f, g])

    arrays = {
        "W": iofc(w["weight_ih_l0"])[None],
        "R": iofc(w["weight_hh_l0"])[None],
        "B": np.concatenate([iofc(w["bias_ih_l0"]), iofc(w["bias_hh_l0"])])[None],
    }
    names = ["x", "W", "R", "B", "", "h", "c"]
    node = helper.make_node("LSTM", names, ["", "h_after", "c_after"], hidden_size=size)

    def info(name: str, width: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, width])

    graph = helper.make_graph(
        [node],
        "step",
        [info("x", case.I), info("h", size), info("c", size)],
        [info("h_after", size), info("c_after", size)],
        [numpy_helper.from_array(a, name) for name, a in arrays.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


class Step:
    """Two bindings that take turns: what one writes the other reads."""

    def __init__(self, case: Case, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            model(case), options, providers=["CPUExecutionProvider"]
        )
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        x = value(case.data()[0])
        states = [
            {name: value(np.zeros((1, 1, case.H), np.float32)) for name in "hc"} for _ in range(2)
        ]
        self.turns = []
        for before, after in (states, states[::-1]):
            binding = self.session.io_binding()
            binding.bind_ortvalue_input("x", x)
            for name in "hc":
                binding.bind_ortvalue_input(name, before[name])
                binding.bind_ortvalue_output(f"{name}_after", after[name])
            self.turns.append((binding, (after["h"], after["c"])))

    def __call__(self) -> Any:
        """The state of the next call."""
        binding, state = self.turns[0]
        self.session.run_with_iobinding(binding)
        self.turns.reverse()
        return state
