"""Echo state networks: a reservoir that is not trained, and a readout that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..ops.create import from_numpy, zeros
from ..ops.elementwise import where
from ..ops.index import take
from ..ops.shape import cat, reshape, stack
from ..tape import no_grad
from .cells import EchoStateCell
from .cells.echo import scales_of
from .module import Module, Parameter
from .recurrent import Recurrent, checked_valid

PARTS = ("bias", "input", "state", "output")


class Readout(Module):
    """y = [1, u, h, y'] W, of which `parts` names some: "bias", "input", "state", "output".

    u [..., I] is the input, h [..., H] the state, y' [..., O] the output of the step before.  W [K, O],
    the parameter, starts as zeros: see `learn.readout.fit`.  MISSION E2.
    """

    def __init__(
        self, inputs: int, units: int, outputs: int, parts: Sequence[str], dtype: Any = None
    ) -> None:
        super().__init__()
        self.parts = tuple(part for part in PARTS if part in parts)
        if len(self.parts) != len(parts) or not self.parts:
            raise ValueError(f"Readout: parts {list(parts)}: some of {', '.join(PARTS)}, each once")
        self.sizes = dict(zip(PARTS, (1, inputs, units, outputs)))
        rows = sum(self.sizes[part] for part in self.parts)
        self.W = Parameter(zeros(rows, outputs, dtype=dtype))

    def forward(self, u: Any, h: Any, y: Any = None) -> Tensor:
        """[..., O]"""
        given = {"input": u, "state": h, "output": y}
        total: Any = None
        at = 0
        for part in self.parts:
            size = self.sizes[part]
            W = self.W[at : at + size]
            at += size
            if size:
                term = W[0] if part == "bias" else given[part] @ W
                total = term if total is None else total + term
        if self.parts == ("bias",):
            total = total + zeros(*h.shape[:-1], 1, dtype=h.dtype)
        return total

    def features(self, u: Any, h: Any, y: Any = None) -> Any:
        """What W multiplies, the bias left out: an ndarray [..., K - 1], or K."""
        given = {"input": u, "state": h, "output": y}
        parts = [given[part] for part in self.parts if part != "bias" and self.sizes[part]]
        return np.concatenate([np.asarray(p) for p in parts] or [np.zeros((*h.shape[:-1], 0))], -1)

    def extra_repr(self) -> str:
        """For repr()."""
        return f"{' + '.join(self.parts)} -> {self.W.shape[1]}"


class EchoStateNetwork(Module):
    """h = the state of an `EchoStateCell` that hears u, and y' if feedback;  y = [1, u, h, y'] W_out.

    inputs 0 is possible with feedback.  outputs: their number, or {name: number} for several readouts
    of one reservoir, which are trained together and whose outputs are a dict of tensors.  feedback:
    the output of the step before is an input of the reservoir, its weights W_back from
    U(-feedback_scale, feedback_scale).  readout: what W_out reads, of "bias", "input", "state" and
    "output" (that of the step before, with feedback).  Further `options`: see `EchoStateCell`.

    The parameters are W_out alone; all else are buffers.  `learn.readout.fit` trains W_out in closed
    form; any optimiser does it step by step.

    H. Jaeger and H. Haas, Harnessing Nonlinearity, Science 304, 2004.  MISSION E1-E6.

    >>> import minigrad
    >>> esn = minigrad.nn.EchoStateNetwork(2, 100, 3, leak=0.5)
    >>> y, (h,) = esn(minigrad.randn(7, 4, 2))
    >>> y.shape, h.shape, [name for name, _ in esn.named_parameters()]
    ((7, 4, 3), (4, 100), ['readout.W'])
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        outputs: int | Mapping[str, int],
        feedback: bool = False,
        input_scale: float | Sequence[float] = 0.5,
        feedback_scale: float = 0.5,
        readout: Sequence[str] = ("bias", "input", "state"),
        dtype: Any = None,
        fused: Any = "auto",
        **options: Any,
    ) -> None:
        super().__init__()
        self.names = dict(outputs) if isinstance(outputs, Mapping) else None
        self.outputs = sum(outputs.values()) if isinstance(outputs, Mapping) else outputs
        if inputs < (0 if feedback else 1) or self.outputs < 1:
            raise ValueError(
                f"EchoStateNetwork: inputs={inputs}, outputs={self.outputs}: at least 1 (inputs with "
                f"feedback=True: 0)"
            )
        if "output" in readout and not feedback:
            raise ValueError(
                'EchoStateNetwork: readout with "output", that of the step before: feedback=True is '
                "needed"
            )
        self.inputs, self.feedback = inputs, feedback
        scales = scales_of("EchoStateNetwork", input_scale, inputs)
        if feedback:
            scales += [feedback_scale] * self.outputs
        cell = EchoStateCell(len(scales), units, input_scale=scales, dtype=dtype, **options)
        self.reservoir = Recurrent(cell, fused=fused)
        self.readout = Readout(inputs, units, self.outputs, readout, dtype)

    @property
    def cell(self) -> Any:
        """The reservoir's cell."""
        return self.reservoir.cell

    # ---- the call --------------------------------------------------------------------------------

    def forward(
        self,
        u: Any,
        state: Any = None,
        lengths: Any = None,
        teacher: Any = None,
        mask: Any = None,
    ) -> tuple[Any, Any]:
        """u [T, N, I], or [T, I] without batch -> y [T, N, O] and the state (h,).

        With feedback the state is (h, y), and with teacher [T, N, O], the outputs wanted, the reservoir
        hears these (teacher forcing), else its own outputs (free running).  State, lengths [N], mask
        [T, N] or [T]: see minigrad.nn.recurrent; what is fed back is that of the last valid step.
        """
        single = len(u.shape) == 2
        if single:
            u, teacher, state = self._batched(u, teacher, state)
        if len(u.shape) != 3 or u.shape[2] != self.inputs:
            raise ValueError(
                f"EchoStateNetwork: input {list(u.shape)}: [T, N, {self.inputs}] is needed, or "
                f"[T, {self.inputs}]"
            )
        steps, n = u.shape[:2]
        valid = checked_valid(lengths, mask, steps, n, "T" if single else "TN")
        if self.feedback and teacher is None:
            y, state = self._run_free(u, state, valid)
        else:
            h, back, state = self.states(u, state, None, teacher, valid)
            y = self.readout(u, h, back)
            if valid is not None:
                y = where(from_numpy(valid[..., None]), y, 0.0)
        if single:
            y, state = y[:, 0], tuple(s[0] for s in state)
        return self.split(y), state

    def states(
        self,
        u: Any,
        state: Any = None,
        lengths: Any = None,
        teacher: Any = None,
        mask: Any = None,
    ) -> tuple[Any, Any, Any]:
        """(h [T, N, H], y' [T, N, O] or None, the state after); with feedback, of teacher forcing."""
        h0, y = self._checked(state, u.shape[1])
        if not self.feedback:
            if teacher is not None:
                raise ValueError("EchoStateNetwork: teacher: the network has no feedback=True")
            h, new = self.reservoir(u, h0, lengths, mask)
            return h, None, new
        if teacher is None or teacher.shape != (*u.shape[:2], self.outputs):
            raise ValueError(
                f"EchoStateNetwork: teacher {None if teacher is None else list(teacher.shape)}: "
                f"{[*u.shape[:2], self.outputs]} is needed"
            )
        back = cat([reshape(y, (1, *y.shape)), teacher], 0)
        steps, n = u.shape[:2]
        valid = checked_valid(lengths, mask, steps, n)
        if valid is not None:  # of the last valid step, as a state that is held
            done = np.where(valid, np.arange(1, steps + 1)[:, None], 0)
            done = np.maximum.accumulate(np.concatenate([np.zeros((1, n), np.int64), done]))
            places = from_numpy((done * n + np.arange(n)).reshape(-1))
            back = reshape(take(reshape(back, (-1, self.outputs)), places), back.shape)
        before = back[:-1]
        h, (last,) = self.reservoir(self._heard(u, before), h0, None, valid)
        return h, before, (last, back[-1])

    def _run_free(self, u: Any, state: Any, valid: Any) -> tuple[Any, Any]:
        h, y = self._checked(state, u.shape[1])
        steps, n = u.shape[:2]
        ys = []
        for t in range(steps):
            h_new = self.cell(self._heard(u[t], y), h)
            y_new = self.readout(u[t], h_new, y)
            out = y_new
            if valid is not None and not valid[t].all():
                mask = from_numpy(valid[t, :, None])
                out = where(mask, y_new, 0.0)
                h_new, y_new = where(mask, h_new, h), where(mask, y_new, y)
            ys.append(out)
            h, y = h_new, y_new
        if not ys:
            return zeros(0, n, self.outputs, dtype=y.dtype), (h, y)
        return stack(ys), (h, y)

    def generate(self, steps: int, state: Any = None, u: Any = None, n: int = 1) -> tuple[Any, Any]:
        """Run freely from `state`, without gradients -> y [steps, n, O] and the state after.

        `state` as after teacher forcing: (h [N, H], y [N, O]), or (h [H], y [O]) without batch: then
        the result is [steps, O].  u [steps, N, I] is needed if the network has inputs.
        """
        if not self.feedback:
            raise ValueError("EchoStateNetwork.generate: the network has no feedback=True")
        if state is not None:
            n = state[0].shape[0] if len(state[0].shape) == 2 else 0
        if u is None:
            if self.inputs:
                raise ValueError(
                    f"EchoStateNetwork.generate: u [{steps}, N, {self.inputs}] is needed, the inputs"
                )
            u = zeros(steps, n, 0, dtype=self.cell.W.dtype) if n else zeros(steps, 0)
        with no_grad():
            return self.forward(u, state)

    # ---- parts -----------------------------------------------------------------------------------

    def _heard(self, u: Any, y: Any) -> Any:
        return cat([u, y], -1) if self.inputs else y

    def _batched(self, u: Any, teacher: Any, state: Any) -> tuple[Any, Any, Any]:
        """The same as a batch of one."""
        if state is not None:
            state = tuple(reshape(s, (1, -1)) for s in self._parts_of(state))
        if teacher is not None:
            teacher = reshape(teacher, (teacher.shape[0], 1, *(teacher.shape[1:] or (1,))))
        return reshape(u, (u.shape[0], 1, u.shape[1])), teacher, state

    def _parts_of(self, state: Any) -> tuple[Any, ...]:
        return (state,) if isinstance(state, Tensor) else tuple(state)

    def start(self, state: Any, n: int) -> tuple[Any, ...]:
        """`state`, checked, for a batch of n; zeros for None."""
        h, y = self._checked(state, n)
        return (h, y) if self.feedback else (h,)

    def _checked(self, state: Any, n: int) -> tuple[Any, Any]:
        """(h, y): zeros for None."""
        wanted = [(n, self.cell.hidden_size), (n, self.outputs)][: 1 + self.feedback]
        if state is None:
            state = [zeros(*shape, dtype=self.cell.W.dtype) for shape in wanted]
        state = self._parts_of(state)
        if [s.shape for s in state] != wanted:
            raise ValueError(
                f"EchoStateNetwork: state {', '.join(str(list(s.shape)) for s in state)}; needed h "
                + " and y ".join(str(list(shape)) for shape in wanted)
            )
        return state[0], state[1] if self.feedback else None

    def split(self, y: Any) -> Any:
        """y [..., O] as {name: tensor}, where the readouts have names."""
        if self.names is None:
            return y
        parts, at = {}, 0
        for name, size in self.names.items():
            parts[name] = y[..., at : at + size]
            at += size
        return parts

    def joined(self, y: Any) -> Any:
        """The reverse, for targets: an ndarray [..., O]."""
        if self.names is None:
            return np.asarray(y)
        if set(y) != set(self.names):
            raise ValueError(
                f"EchoStateNetwork: targets {sorted(y)}: {', '.join(self.names)} are needed"
            )
        return np.concatenate([np.asarray(y[name]) for name in self.names], -1)
