"""Activation functions as modules; the equations are in minigrad/ops/elementwise.py and rows.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import functional as F
from .module import Module

if TYPE_CHECKING:
    from ..autograd import Tensor


class Tanh(Module):
    """y = tanh x."""

    def forward(self, x: Tensor) -> Any:
        """[...] -> [...]."""
        return F.tanh(x)


class Sigmoid(Module):
    """y = 1 / (1 + e⁻ˣ)."""

    def forward(self, x: Tensor) -> Any:
        """[...] -> [...]."""
        return F.sigmoid(x)


class ReLU(Module):
    """y = max(x, 0)."""

    def forward(self, x: Tensor) -> Any:
        """[...] -> [...]."""
        return F.relu(x)


class LeakyReLU(Module):
    """y = x where x > 0, else negative_slope x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Any:
        """[...] -> [...]."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """y = x where x > 0, else alpha (eˣ - 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Any:
        """[...] -> [...]."""
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"alpha={self.alpha}"


class GELU(Module):
    """y = x Φ(x), Φ the normal distribution function; approximate="tanh" is the usual formula."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Any:
        """[...] -> [...]."""
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """y = ln(1 + eˣ)."""

    def forward(self, x: Tensor) -> Any:
        """[...] -> [...]."""
        return F.softplus(x)


class LogSigmoid(Module):
    """y = ln(1 / (1 + e⁻ˣ))."""

    def forward(self, x: Tensor) -> Any:
        """[...] -> [...]."""
        return F.logsigmoid(x)


class Softmax(Module):
    """y = eˣ / Σ eˣ along `dim`."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Any:
        """[...] -> [...]."""
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """y = x - ln Σ eˣ along `dim`."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Any:
        """[...] -> [...]."""
        return F.log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"dim={self.dim}"
