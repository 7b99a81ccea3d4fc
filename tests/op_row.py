"""What a row of the table of ops is, and how it gets there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable

from draw import Draw

Sample = tuple[list[Any], dict[str, Any]]  # positional and keyword arguments


@dataclass(frozen=True)
class Fixed:
    """A float operand that is handed on without asking for its gradient."""

    values: Any


@dataclass(frozen=True)
class Row:
    """An op.  Arrays among the arguments that `sample` draws become tensors, of any type."""

    name: str  #: as exported; several rows may show different sides of one op
    f: Callable[..., Any]
    oracle: Callable[..., Any]
    sample: Callable[[Draw], Sample]
    torch: Any = None  #: how PyTorch spells it: its name there, or a function of (torch, arguments)
    differentiable: bool = True
    side: str = ""  #: which side of the op this row shows
    #: for elementwise ops: bounds of the error in ULP (float32, float64), for any input whatever
    ulps: tuple[float, float] | None = None
    domains: tuple[Any, ...] = field(default=())

    @property
    def id(self) -> str:
        """For pytest."""
        return f"{self.name}-{self.side}" if self.side else self.name


ROWS: list[Row] = []


def row(f: Any, oracle: Any, torch: Any = "", **rest: Any) -> Callable[[Any], Any]:
    """Put a row into the table; the function decorated draws its sample."""

    def put(sample: Callable[[Draw], Sample]) -> Callable[[Draw], Sample]:
        name = rest.pop("name", f.__name__)
        ROWS.append(Row(name, f, oracle, sample, name if torch == "" else torch, **rest))
        return sample

    return put
