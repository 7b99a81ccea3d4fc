"""Layers with parameters, and those that behave differently in training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..ops import linalg, rows, shape
from ..ops.create import ones, zeros
from . import functional, init
from .module import Module, Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..autograd import Tensor


class Identity(Module):
    """y = x, whatever the arguments."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        """X itself."""
        return x


class Linear(Module):
    """y = x Wᵀ + b: x [..., I], weight W [O, I], bias b [O] -> [..., O].

    W and b start uniform in ±1/√I.

    >>> import minigrad
    >>> minigrad.nn.Linear(4, 3)(minigrad.zeros(2, 4)).shape
    (2, 3)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(zeros(out_features, in_features, dtype=dtype))
        self.bias = Parameter(zeros(out_features, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new values."""
        bound = 1 / math.sqrt(max(self.in_features, 1))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Any:
        """[..., I] -> [..., O]."""
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(
                f"Linear: {list(x.shape)} does not end in in_features={self.in_features}"
            )
        return linalg.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Embedding(Module):
    """The rows of a table [V, D] that int64 indices name: [...] -> [..., D].

    The table starts with N(0, 1); the row padding_idx with 0, and it gets no gradient.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx: int | None = None
        if padding_idx is not None:
            self.padding_idx = functional.padding_index(padding_idx, num_embeddings)
        self.weight = Parameter(zeros(num_embeddings, embedding_dim, dtype=dtype))
        self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """A layer whose table is `embeddings` [V, D]; frozen: not learnt."""
        if len(embeddings.shape) != 2:
            raise ValueError(f"from_pretrained: {list(embeddings.shape)}: a table [V, D] is needed")
        rows, width = embeddings.shape
        layer = cls(0, width, dtype=embeddings.dtype)  # draws nothing
        layer.num_embeddings = rows
        if padding_idx is not None:
            layer.padding_idx = functional.padding_index(padding_idx, rows)
        layer.weight = Parameter(embeddings, not freeze)
        return layer

    def reset_parameters(self) -> None:
        """Draw new values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.detach()[self.padding_idx])

    def forward(self, index: Tensor) -> Any:
        """[...] -> [..., D]."""
        return functional.embedding(index, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """The arguments."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Dropout(Module):
    """In training, 0 with probability p, else x / (1 - p); in evaluation, x."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p={p}: a probability is needed, from 0 to 1")
        self.p = p

    def forward(self, x: Tensor) -> Any:
        """[...] -> [...]."""
        return functional.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"p={self.p}"


class LayerNorm(Module):
    """y = (x - mean) / √(var + eps) weight + bias over the last dimensions, normalized_shape.

    var divides by n; weight starts with 1, bias with 0.  Ba, Kiros and Hinton, 2016.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        whole = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        self.normalized_shape, self.eps = whole, eps
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(ones(whole, dtype=dtype)) if elementwise_affine else None
        self.bias = Parameter(zeros(whole, dtype=dtype)) if elementwise_affine and bias else None

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Any:
        """[..., normalized_shape] -> the same."""
        return rows.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The arguments."""
        affine = f"elementwise_affine={self.elementwise_affine}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class Flatten(Module):
    """The dimensions from start_dim to end_dim made one: [N, C, D] -> [N, C D]."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Any:
        """A view where possible."""
        return shape.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
