"""Keras' and ONNX' recurrent layers, from the equations in their documentation, in their own words.

A cell is f(weights, x [N, I], state) -> new state, as in oracles.py; its first part is the output.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from oracles import relu, sigmoid

# ---- Keras: x kernel + h recurrent_kernel + bias ---------------------------------------------------


def keras_rnn(w: dict[str, Any], x: Any, state: Any, activation: str = "tanh") -> Any:
    """SimpleRNN"""
    (h,) = state
    f = np.tanh if activation == "tanh" else relu
    return (f(x @ w["kernel"] + w.get("bias", 0) + h @ w["recurrent_kernel"]),)


def keras_lstm(w: dict[str, Any], x: Any, state: Any) -> Any:
    """LSTM: i, f, c, o"""
    h, c = state
    z = x @ w["kernel"] + h @ w["recurrent_kernel"] + w.get("bias", 0)
    z0, z1, z2, z3 = np.split(z, 4, 1)
    c = sigmoid(z1) * c + sigmoid(z0) * np.tanh(z2)
    return sigmoid(z3) * np.tanh(c), c


def keras_gru(w: dict[str, Any], x: Any, state: Any, reset_after: bool) -> Any:
    """GRU: z, r, h; reset_after: input_bias and recurrent_bias are the rows of bias"""
    (h,) = state
    bias = w.get("bias", 0)
    input_bias, recurrent_bias = bias if np.ndim(bias) == 2 else (bias, 0)
    x_z, x_r, x_h = np.split(x @ w["kernel"] + input_bias, 3, 1)
    kernels = np.split(w["recurrent_kernel"], 3, 1)
    if reset_after:
        inner = np.split(h @ w["recurrent_kernel"] + recurrent_bias, 3, 1)
        z, r = sigmoid(x_z + inner[0]), sigmoid(x_r + inner[1])
        hh = np.tanh(x_h + r * inner[2])
    else:
        z, r = sigmoid(x_z + h @ kernels[0]), sigmoid(x_r + h @ kernels[1])
        hh = np.tanh(x_h + (r * h) @ kernels[2])
    return (z * h + (1 - z) * hh,)


# ---- ONNX: Xt Wᵀ + Ht-1 Rᵀ + Wb + Rb; w holds W, R, B, P of one direction, and the attributes ------


def _onnx_parts(w: dict[str, Any], count: int) -> Any:
    biases = w.get("B", np.zeros(2 * len(w["W"])))
    return (
        [part.T for part in np.split(w["W"], count)],
        [part.T for part in np.split(w["R"], count)],
        np.split(biases, 2 * count)[:count],
        np.split(biases, 2 * count)[count:],
    )


def onnx_rnn(w: dict[str, Any], x: Any, state: Any) -> Any:
    """RNN"""
    (h,) = state
    (W,), (R,), (Wb,), (Rb,) = _onnx_parts(w, 1)
    f = {"Tanh": np.tanh, "Relu": relu}[w["activations"][0]]
    return (f(x @ W + h @ R + Wb + Rb),)


def onnx_lstm(w: dict[str, Any], x: Any, state: Any) -> Any:
    """LSTM: i, o, f, c; peepholes i, o, f"""
    h, c = state
    W, R, Wb, Rb = _onnx_parts(w, 4)
    Pi, Po, Pf = np.split(w.get("P", np.zeros(3 * c.shape[1])), 3)
    i = sigmoid(x @ W[0] + h @ R[0] + Pi * c + Wb[0] + Rb[0])
    f = sigmoid(x @ W[2] + h @ R[2] + Pf * c + Wb[2] + Rb[2])
    if w.get("input_forget"):
        f = 1 - i
    c = f * c + i * np.tanh(x @ W[3] + h @ R[3] + Wb[3] + Rb[3])
    o = sigmoid(x @ W[1] + h @ R[1] + Po * c + Wb[1] + Rb[1])
    return o * np.tanh(c), c


def onnx_gru(w: dict[str, Any], x: Any, state: Any) -> Any:
    """GRU: z, r, h"""
    (h,) = state
    W, R, Wb, Rb = _onnx_parts(w, 3)
    z = sigmoid(x @ W[0] + h @ R[0] + Wb[0] + Rb[0])
    r = sigmoid(x @ W[1] + h @ R[1] + Wb[1] + Rb[1])
    if w.get("linear_before_reset"):
        candidate = np.tanh(x @ W[2] + r * (h @ R[2] + Rb[2]) + Wb[2])
    else:
        candidate = np.tanh(x @ W[2] + (r * h) @ R[2] + Rb[2] + Wb[2])
    return ((1 - z) * candidate + z * h,)


def onnx_directions(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The node once for each direction, with the arrays of that."""
    return [
        {name: value[d] if name in ("W", "R", "B", "P") else value for name, value in node.items()}
        for d in range(len(node["W"]))
    ]
