"""Two layers with the same weights, one fused, one readable; how near their results must be."""

from __future__ import annotations

from typing import Any

import numpy as np
from cell_table import Kind, flat, leaf, state_of, weighted
from draw import Draw
from oracles import valid_steps

import minigrad as mg

SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 33)  # around the widths of vectors

#: |fused - readable| <= this times (1 + the largest number of the array).  Both round, in another
#: order; gates and states are below 1, gradients add up what T steps and N sequences give.
TOLERANCE = {"float64": 1e-12, "float32": 2e-4}


def agree(got: Any, want: Any, dtype: str, what: str, times: float = 1) -> None:
    """Equal shapes and types; values within `times` the tolerance."""
    assert (got.shape, got.dtype) == (want.shape, want.dtype), what
    got, want = got.detach().numpy(), want.detach().numpy()
    bound = times * TOLERANCE[dtype] * (1 + abs(want).max(initial=0))
    np.testing.assert_allclose(got, want, rtol=0, atol=bound, err_msg=what)


class Pair:
    """Layers of random size twice, fused and readable, with the same weights; their operands."""

    def __init__(self, kind: Kind, draw: Draw, dtype: str = "float64", **options: Any) -> None:
        self.dtype, self.tolerance = dtype, kind.tolerance
        size = {"most": 3, "steps": 6, **options}
        hidden = draw.choice(*SIZES[1:]) if "proj_size" in kind.options else draw.choice(*SIZES)
        inputs, count, both = draw.choice(*SIZES), draw.pick(1, size["most"]), draw.flag()
        layers = [
            kind.layers(inputs, hidden, count, bidirectional=both, dtype=dtype, fused=fused)
            for fused in (True, False)
        ]
        self.fused, self.readable = layers
        with mg.no_grad():
            for name, p in self.fused.named_parameters():
                scale = 1.5 / np.sqrt(p.shape[0] if len(p.shape) > 1 else 1)
                p.copy_((scale * draw.normal(*p.shape)).astype(dtype))
                dict(self.readable.named_parameters())[name].copy_(p)
        self.steps, self.n = draw.pick(1, size["steps"]), draw.choice(*SIZES[:-1])
        self.x = draw.normal(self.steps, self.n, inputs).astype(dtype)
        self.lengths = self.mask = None
        if draw.flag():
            self.lengths = draw.integers(0, self.steps + 1, (self.n,))
        if draw.flag():
            self.mask = draw.rng.random((self.steps, self.n)) < 0.7
        valid = valid_steps(self.x, self.lengths, self.mask)[..., None]
        self.x = np.where(valid, self.x, self.x.dtype.type(np.nan))
        cells = self.fused.cells()
        states = [state_of(cell, self.n, draw, dtype) for cell in cells]
        self.states = [np.stack(parts) for parts in zip(*states)] if draw.flag() else []

    def run(self, layer: Any, count: int = 1) -> Any:
        """(outputs, {name: gradient})"""
        x, states = leaf(self.x), [leaf(s) for s in self.states]
        mg.manual_seed(0)  # the same masks, where a cell draws any
        results = layer(x, tuple(states) or None, self.lengths, self.mask)
        leaves = {"x": x, **dict(zip(("h0", "c0"), states)), **dict(layer.named_parameters())}
        loss = weighted([r.double() for r in flat(results)])
        for k in range(count):
            loss.backward(retain_graph=k < count - 1)
        gradients = {name: p.grad for name, p in leaves.items() if p.grad is not None}
        layer.zero_grad()
        return flat(results), gradients

    def compare(self) -> None:
        """Fused with readable."""
        got, gradients = self.run(self.fused)
        want, wanted = self.run(self.readable)
        for k, (a, b) in enumerate(zip(got, want)):
            agree(a, b, self.dtype, f"result {k}", self.tolerance)
        assert gradients.keys() == wanted.keys()
        for name, g in gradients.items():
            agree(g, wanted[name], self.dtype, f"gradient of {name}", self.tolerance)
        # without recording C saves nothing, and works in rooms of its own
        with mg.no_grad():
            mg.manual_seed(0)
            states = tuple(map(mg.from_numpy, self.states))
            silent = self.fused(mg.from_numpy(self.x), states or None, self.lengths, self.mask)
        for k, (a, b) in enumerate(zip(flat(silent), got)):
            agree(a, b, self.dtype, f"result {k} without recording", self.tolerance)
