"""Parameter: a tensor that a module learns."""

from __future__ import annotations

from typing import Any

from .. import core
from ..autograd import Tensor
from ..tape import no_grad, written


class Parameter(Tensor):
    """A tensor that a module learns: an attribute of this kind is one of its parameters.

    It shares the memory of `data` where that is contiguous.  What is computed from it is an
    ordinary `Tensor`.
    """

    __slots__ = ("name",)

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: a tensor is needed, not {type(data).__name__}")
        self.node = None
        self.name = ""  #: the name under which a module last listed it, for messages
        self._hold(core.contiguous(data))
        self.requires_grad = requires_grad

    def _hold(self, x: Any) -> None:
        """Be on the memory of `x` from now on."""
        self.ptr, self.layout = x.ptr, x.layout
        self.base = x.ptr if x.base is None else x.base

    def _convert(self, dtype: Any) -> None:
        """Change the element type in place, that of the gradient as well."""
        code = core.DTYPES.index(dtype)
        if code == self.layout.code:
            return
        g, tracked = self.grad, self.requires_grad
        self.node = None
        self._hold(core.astype(self, code))
        self.requires_grad = tracked
        if g is not None:
            self.grad = core.astype(g, code)
        written(self)  # a graph recorded before is no longer about this tensor

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """A parameter with a copy of the values, without the gradient."""
        memo[id(self)] = new = Parameter(core.astype(self, self.layout.code), self.requires_grad)
        new.name = self.name
        return new

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def zero_grad(p: Any, set_to_none: bool) -> None:
    """Forget the gradient of `p`, or fill it with zeros."""
    g = p.grad
    if g is not None:
        with no_grad():
            p.grad = None if set_to_none else g.detach().zero_()
