"""Long short-term memory, with peepholes and coupled gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...autograd import Tensor
from ...ops.create import ones, zeros
from ...ops.elementwise import sigmoid, tanh
from ...ops.rows import layer_norm
from ...ops.shape import cat, chunk, split
from ...tape import no_grad
from ..module import Parameter
from .base import Cell, State

_GATES = {None: "ifgo", "input": "fgo", "forget": "igo"}  # by what is coupled


class LSTMCell(Cell):
    """i, f, o = σ(x W + h U + b);  g = tanh(x W + h U + b);  c' = f ∘ c + i ∘ g;  h' = o ∘ tanh(c').

    The forget gate f remembers where it is 1 and forgets where it is 0.  The columns of W, U and b
    are those of i, f, g, o in this order.  x [N, I], (h, c) [N, H] each -> (h', c').

    * **proj_size** > 0: a matrix P [H, proj_size], and h' = (o ∘ tanh(c')) P.
    * **peephole**: gates that see the cell state, those named in `peephole_gates` (None: all there
      are).  i and f see c, o sees the new c'.  "diagonal": each unit its own, p_i ∘ c is added
      before σ, with p_i, p_f, p_o [H]; "full": each unit all of c, c p_i with matrices [H, H].
    * **coupled**="input": i = 1 - f; new is written exactly where old is forgotten.  "forget":
      f = 1 - i (ONNX's input_forget).  There is one gate fewer: the columns are those of f, g, o, or
      of i, g, o.
    * **layer_norm** (one of `Cell`'s further `options`): h' = o ∘ tanh(LN(c') ∘ gc + bc).
    * **forget_bias**: what b_f begins with, 1 or more so that an untrained cell remembers.  With
      coupled="forget", where f = σ(-z_i), it is -b_i.

    ValueError for a choice that there is not, a peephole of a gate that is coupled, and a
    forget_bias without bias.  Full peepholes have no kernel: time is unrolled step by step.

    S. Hochreiter and J. Schmidhuber, Long Short-Term Memory, 1997; the forget gate: F. Gers,
    J. Schmidhuber and F. Cummins, Learning to Forget, 2000; peepholes: F. Gers, N. Schraudolph and
    J. Schmidhuber, Learning Precise Timing with LSTM Recurrent Networks, 2002; coupled gates: K. Greff
    et al., LSTM: A Search Space Odyssey, 2015; projection: H. Sak et al., 2014.

    >>> import minigrad
    >>> cell = minigrad.nn.LSTMCell(3, 5, peephole="diagonal", peephole_gates="fo")
    >>> h, c = cell(minigrad.zeros(2, 3))
    >>> h.shape, c.shape
    ((2, 5), (2, 5))
    >>> [name for name, _ in cell.named_parameters()]
    ['W', 'U', 'b', 'p_f', 'p_o']
    >>> minigrad.nn.LSTMCell(3, 5, coupled="input").W.shape
    (3, 15)
    """

    gates, states, products = "ifgo", "hc", ("U",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        proj_size: int = 0,
        dtype: Any = None,
        peephole: str | None = None,
        peephole_gates: str | None = None,
        coupled: str | None = None,
        forget_bias: float | None = None,
        **options: Any,
    ) -> None:
        if coupled not in _GATES:
            raise ValueError(f"LSTMCell: coupled={coupled!r}: None, 'input' or 'forget'")
        self.gates = _GATES[coupled]
        self.proj_size = proj_size  # the width of h, which __init__ asks for
        super().__init__(input_size, hidden_size, bias, dtype, **options)
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"LSTMCell: proj_size={proj_size}: from 0 (none) to below hidden_size={hidden_size}"
            )
        self.coupled = coupled
        if proj_size:
            self.U = self._weight(proj_size, len(self.gates) * hidden_size, dtype=dtype)
            self.P = self._weight(hidden_size, proj_size, dtype=dtype)
        if self.layer_norm:
            self.gc = Parameter(ones(hidden_size, dtype=dtype))
            self.bc = Parameter(zeros(hidden_size, dtype=dtype))
        self._make_peepholes(peephole, peephole_gates, dtype)
        if forget_bias is not None:
            self._set_forget_bias(forget_bias)

    def _make_peepholes(self, kind: str | None, gates: str | None, dtype: Any) -> None:
        self.peephole = kind
        if kind not in (None, "diagonal", "full"):
            raise ValueError(f"LSTMCell: peephole={kind!r}: None, 'diagonal' or 'full'")
        if kind is None and gates is not None:
            raise ValueError(
                f"LSTMCell: peephole_gates={gates!r} without peephole='diagonal' or 'full'"
            )
        there = self.gates.replace("g", "")
        gates = there if gates is None else gates
        if len(set(gates)) < len(gates) or not set(gates) <= set(there):
            raise ValueError(
                f"LSTMCell: peephole_gates={gates!r}: some of {there!r}, each once"
                + (f": with coupled={self.coupled!r} there are no others" if self.coupled else "")
            )
        shape = (self.hidden_size,) * (2 if kind == "full" else 1)
        for gate in sorted(gates, key="ifo".index) if kind else ():
            setattr(self, f"p_{gate}", self._weight(*shape, dtype=dtype))

    def _set_forget_bias(self, value: float) -> None:
        if self.b is None:
            raise ValueError(f"LSTMCell: forget_bias={value} needs bias=True")
        gate, value = ("i", -value) if self.coupled == "forget" else ("f", value)
        start = self.gates.index(gate) * self.hidden_size
        with no_grad():
            self.b[start : start + self.hidden_size] = value

    @property
    def output_size(self) -> int:
        """The width of h."""
        return self.proj_size or self.hidden_size

    def state_size(self, name: str) -> int:
        """h has the width of the projection, if there is one; c that of the cell."""
        return self.output_size if name == "h" else self.hidden_size

    def activations(self, z: Tensor, state: State) -> tuple[Tensor, ...]:
        """i, f, g, o, of coupled gates one, from z = x W + b."""
        h, c = state
        *past, g, o = chunk(z + self.product(h), len(self.gates), -1)
        past = [sigmoid(self._peek(gate, a, c)) for gate, a in zip(self.gates, past)]
        g = tanh(g)
        if self.p_o is not None:
            i, f, _, _ = self._all_gates((*past, g, o))
            o = self._peek("o", o, f * c + i * g)
        return (*past, g, sigmoid(o))

    def seen(self, c: Tensor) -> Tensor:
        """What the output sees of the cell state: c; layer_norm: LN(c) ∘ gc + bc."""
        return layer_norm(c, self.hidden_size, self.gc, self.bc) if self.layer_norm else c

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """h', (h', c') from z = x W + b."""
        _, c = state
        i, f, g, o = self._all_gates(self.activations(z, state))
        c = f * c + i * g
        h = o * tanh(self.seen(c))
        if self.P is not None:
            h = h @ self.P
        return h, (h, c)

    def _peek(self, gate: str, a: Tensor, c: Tensor) -> Tensor:
        """The pre-activation of a gate, and what it sees of c."""
        p = getattr(self, f"p_{gate}")
        if p is None:
            return a
        return a + (c @ p if self.peephole == "full" else c * p)

    def _all_gates(self, gates: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """i, f, g, o: with the one that is 1 minus the other."""
        if self.coupled == "input":
            f, g, o = gates
            return 1 - f, f, g, o
        if self.coupled == "forget":
            i, g, o = gates
            return i, 1 - i, g, o
        return gates

    # ---- the concatenated form

    def to_concat(self) -> dict[str, tuple[Tensor, Any]]:
        """{gate: (W, b)} of the form σ([h, x] W + b), h first, tanh for g; copies.

        W [H + I, H] (with a projection [P + I, H]) is the gate's part of U above that of W; b [H], or
        None.  A gate with a full peephole has W [H + H + I, H], for [c, h, x].

        >>> cell = LSTMCell(3, 5)
        >>> W, b = cell.to_concat()["f"]
        >>> W.shape, b.shape
        ((8, 5), (5,))
        """
        with no_grad():
            return {
                gate: (cat(parts), None if b is None else b.clone())
                for gate, (parts, b) in self._parts_of_gates().items()
            }

    def from_concat(self, weights: Mapping[str, tuple[Tensor, Any]]) -> None:
        """Take the weights of the gates from `to_concat`'s form; diagonal peepholes stay as they are.

        ValueError where gates or shapes differ, in which case nothing is changed.
        """
        there = self._parts_of_gates()
        if set(weights) != set(there):
            raise ValueError(
                f"from_concat: gates {', '.join(weights)}; this cell has {', '.join(there)}"
            )
        copies: list[tuple[Tensor, Tensor]] = []
        for gate, (W, b) in weights.items():
            parts, bias = there[gate]
            wanted = (sum(p.shape[0] for p in parts), self.hidden_size)
            if (
                W.shape != wanted
                or (b is None) != (bias is None)
                or (b is not None and b.shape != wanted[1:])
            ):
                raise ValueError(
                    f"from_concat: {gate}: W {list(W.shape)}, b {b if b is None else list(b.shape)}; "
                    f"needed W {list(wanted)}, b {bias if bias is None else list(wanted[1:])}"
                )
            copies += zip(parts, split(W, [p.shape[0] for p in parts]))
            copies += [] if b is None else [(bias, b)]
        with no_grad():
            for part, value in copies:
                part.copy_(value)

    def _parts_of_gates(self) -> dict[str, tuple[list[Tensor], Any]]:
        """{gate: (the matrices that c, h and x are multiplied by, b)}, parts of the parameters."""
        count = len(self.gates)
        with no_grad():
            U, W = chunk(self.U, count, -1), chunk(self.W, count, -1)
            b = [None] * count if self.b is None else chunk(self.b, count, -1)
        sees = {g: getattr(self, f"p_{g}", None) for g in self.gates if self.peephole == "full"}
        return {
            g: ([p for p in (sees.get(g), U[k], W[k]) if p is not None], b[k])
            for k, g in enumerate(self.gates)
        }

    def kernel(self) -> str | None:
        """See nn/fused.py."""
        if self.peephole == "full":
            return None
        return "lstm" if self.coupled is None else f"lstm_coupled_{self.coupled}"

    def extra_repr(self) -> str:
        """For repr()."""
        options = {"proj_size": self.proj_size or None, "coupled": self.coupled}
        if self.peephole:
            gates = [k for k in "ifo" if getattr(self, f"p_{k}") is not None]
            options.update(peephole=self.peephole, peephole_gates="".join(gates))
        told = [f", {k}={v!r}" for k, v in options.items() if v is not None]
        return super().extra_repr() + "".join(told)
