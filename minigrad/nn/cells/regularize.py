"""Options of every cell: what is normalised, dropped, held or learnt besides its equation, and where.

    layer_norm=True      LN(x W) ∘ gW + LN(h U) ∘ gU + b         J. Ba, J. Kiros, G. Hinton, 2016
    recurrent_dropout=p  (h ∘ m) U, one mask m per sequence         Y. Gal, Z. Ghahramani, 2016
    weight_drop=p        h (U ∘ M), one mask M per call             S. Merity et al., 2018
    zoneout=p            h' = k ∘ h + (1 - k) ∘ h̃, k anew each step  D. Krueger et al., 2017
    learn_initial=True   h0, the state before the first step, is a parameter [H] (LSTM: c0, too)

There is one normalisation for each matrix product, jointly over all its gates: LN(v) = (v - mean) /
√(var + 1e-5), the gain has one number per column, and the bias stays outside.  x W is normalised
apart from h U, so that it can be done for a whole sequence at once.

m and M are 0 with probability p, else 1 / (1 - p), so that the mean stays; m is for h in products with
recurrent matrices alone: what a GRU copies of h is not masked.  k is 1 with probability p, and then
the old value stays; h̃ is what the plain cell gives.  zoneout=(p, q) has one probability for each
state.  In eval() nothing is dropped, and k is its mean, p.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ...autograd import Tensor
from ...ops.create import ones, rand, zeros
from ...ops.elementwise import lt, mul, to
from ...ops.linalg import matmul
from ...ops.rows import layer_norm as normalize
from ...ops.shape import expand
from .. import functional as F
from ..module import Module, Parameter

State = tuple[Tensor, ...]
OPTIONS = "layer_norm", "recurrent_dropout", "weight_drop", "zoneout", "learn_initial"


class Regularized(Module):
    """The options, for `Cell` to inherit: each method says what one of them does."""

    W: Any
    states = "h"
    products: tuple[str, ...] = ()  #: the matrices that `step` multiplies with by `product`
    layer_norm = learn_initial = False
    recurrent_dropout = weight_drop = 0.0
    zoneout: tuple[float, ...] = ()  #: one probability for each state, or none at all
    draws = False  #: whether a call draws anything in training
    h_mask: Tensor | None = None  #: m [N, H], where it has been drawn
    is_drawn = False

    def _take_options(
        self,
        layer_norm: bool = False,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: Any = 0.0,
        learn_initial: bool = False,
        **unknown: Any,
    ) -> None:
        """Set those that are not off; ValueError for what is no probability, or cannot be."""
        name = type(self).__name__
        if unknown:
            raise TypeError(
                f"{name}: no option {', '.join(unknown)}; what all cells can have is "
                f"{', '.join(OPTIONS)}"
            )
        each = tuple(zoneout) if isinstance(zoneout, Sequence) else (zoneout,) * len(self.states)
        if len(each) != len(self.states):
            raise ValueError(
                f"{name}: zoneout={zoneout}: a probability, or one for each of the states "
                f"{', '.join(self.states)}"
            )
        for p in (recurrent_dropout, weight_drop, *each):
            if not 0 <= p <= 1:
                raise ValueError(f"{name}: {p} is no probability, from 0 to 1")
        if (layer_norm or recurrent_dropout) and not self.products:
            raise ValueError(
                f"{name}: for layer_norm and recurrent_dropout, step must compute its products with "
                f'the past by self.product(h), and the class list their matrices: products = ("U",)'
            )
        if layer_norm:
            self.layer_norm = True
        if recurrent_dropout or weight_drop:
            self.recurrent_dropout, self.weight_drop = float(recurrent_dropout), float(weight_drop)
            self.draws = True
        if any(each):
            self.zoneout = tuple(map(float, each))
        if learn_initial:
            self.learn_initial = True

    def state_size(self, name: str) -> int:
        """The width of the state `name`."""
        raise NotImplementedError

    def step(self, z: Tensor, state: State) -> tuple[Tensor, State]:
        """(output, new state) from the projected input z [N, G H] and the state."""
        raise NotImplementedError

    def _gain(self, matrix: str) -> None:
        """For layer_norm: the gain gX of the products with the matrix X."""
        if self.layer_norm:
            X = getattr(self, matrix)
            setattr(self, f"g{matrix}", Parameter(ones(X.shape[1], dtype=X.dtype)))

    def normalized(self, product: Tensor, matrix: str) -> Tensor:
        """LN(x X) ∘ gX for the product of x with the matrix X: [..., G H]; without layer_norm, x X."""
        if not self.layer_norm:
            return product
        return normalize(product, product.shape[-1], getattr(self, f"g{matrix}"))

    def product(self, h: Tensor, matrix: str = "U") -> Tensor:
        """h U with the options: [N, H] -> [N, …], LN((h ∘ m) U) ∘ gU."""
        if self.h_mask is not None:
            h = mul(h, self.h_mask)
        return self.normalized(matmul(h, getattr(self, matrix)), matrix)

    def drawn(self, n: int) -> Any:
        """The cell for one call with n sequences: with its mask m, and with what is left of U.

        Itself in eval(), where there is nothing to draw, and where that has been done: a cell that
        is fed step by step in training is drawn once for each sequence, `cell = cell.drawn(n)`.
        """
        if not (self.draws and self.training) or self.is_drawn:
            return self
        twin = copy.copy(self)
        new: dict[str, Any] = {"is_drawn": True}
        if self.recurrent_dropout:
            new["h_mask"] = F.dropout(
                ones(*self._sizes(n)[0], dtype=self.W.dtype), self.recurrent_dropout
            )
        if self.weight_drop:
            for name in self.products or ("U",):
                new[name] = F.dropout(getattr(self, name), self.weight_drop)
        vars(twin).update(new)
        return twin

    def kept(self, steps: int, n: int) -> tuple[Any, ...] | None:
        """k for each state: [T, N, H], drawn in training, else a number; None without zoneout."""
        if not self.zoneout or not self.training:
            return self.zoneout or None
        dtype = self.W.dtype
        return tuple(
            to(lt(rand(steps, *size, dtype=dtype), p), dtype) if p else p
            for p, size in zip(self.zoneout, self._sizes(n))
        )

    def advance(self, z: Tensor, state: State, kept: Any = None) -> tuple[Tensor, State]:
        """One `step` with its zoneout; kept: k for one step, where it has been drawn."""
        y, new = self.step(z, state)
        if not self.zoneout:
            return y, new
        k: Any = self.kept(1, z.shape[0]) if kept is None else kept
        return hold(k, 0, y, new, state)

    def initial(self, n: int) -> State:
        """The state before the first step, for a batch of n: zeros, or the one that is learnt."""
        if self.learn_initial:
            return tuple(
                expand(getattr(self, f"{s}0"), *size)
                for s, size in zip(self.states, self._sizes(n))
            )
        return tuple(zeros(*size, dtype=self.W.dtype) for size in self._sizes(n))

    def options_repr(self) -> str:
        """Those that are on, for repr()."""
        return "".join(f", {name}={value}" for name in OPTIONS if (value := getattr(self, name)))

    def _sizes(self, n: int) -> list[tuple[int, int]]:
        return [(n, self.state_size(s)) for s in self.states]


def hold(kept: Sequence[Any], t: int, y: Tensor, new: State, old: State) -> tuple[Tensor, State]:
    """Zoneout at step t: k ∘ old + (1 - k) ∘ new; the output, too, where it is one of the states."""
    held = []
    for k, s, before in zip(kept, new, old):
        share: Any = k[t] if isinstance(k, Tensor) else k
        held.append(share * before + (1 - share) * s)
    return next((h for s, h in zip(new, held) if s is y), y), tuple(held)
