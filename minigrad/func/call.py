"""A function called with stand-ins for its arguments, and what is derived from what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, Union

from .. import autograd, core
from ..autograd import Tensor
from ..ops.create import zeros_like
from ..ops.shape import reshape
from ..tape import enable_grad, is_grad_enabled

Argnums = Union[int, Sequence[int]]

# ---- tensors in dicts, tuples and lists ----------------------------------------------------------


def _leaves(tree: Any) -> list[Tensor]:
    """The tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        return [x for part in tree.values() for x in _leaves(part)]
    if isinstance(tree, (tuple, list)):
        return [x for part in tree for x in _leaves(part)]
    raise TypeError(
        f"a tensor, or a dict, tuple or list of them, is needed, not {type(tree).__name__}"
    )


def like(tree: Any, leaves: Any) -> Any:
    """A tree of the same form; `leaves`, an iterator, gives its tensors."""
    if isinstance(tree, Tensor):
        return next(leaves)
    if isinstance(tree, dict):
        return {key: like(part, leaves) for key, part in tree.items()}
    parts = [like(part, leaves) for part in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)


class Call:
    """func(*primals), recorded: outputs `y`, with the tensors `xs` of those arguments to derive by."""

    def __init__(self, func: Callable[..., Any], primals: Sequence[Any], argnums: Argnums) -> None:
        chosen = [argnums] if isinstance(argnums, int) else list(argnums)
        if not all(-len(primals) <= i < len(primals) for i in chosen):
            raise ValueError(f"argnums={argnums} of {len(primals)} arguments")
        self.single = isinstance(argnums, int)
        self.trees = [primals[i] for i in chosen]
        given = [_leaves(tree) for tree in self.trees]
        self.again = is_grad_enabled() and any(x.requires_grad for g in given for x in g)
        self.xs: list[Tensor] = []
        arguments = list(primals)
        with enable_grad():
            for i, tree, leaves in zip(chosen, self.trees, given):
                stand_ins = [_stand_in(x) for x in leaves]
                self.xs += stand_ins
                arguments[i] = like(tree, iter(stand_ins))
            self.y = func(*arguments)
        self.ys = _leaves(self.y)
        if not self.xs:
            raise ValueError("there is no tensor to derive by")

    def output(self) -> Any:
        """What the function returned; not tracked, unless it is to be differentiated again."""
        return self.y if self.again else like(self.y, iter([y.detach() for y in self.ys]))

    def pull(self, gs: Sequence[Any], again: bool = False) -> list[Any]:
        """Σ gᵀ ∂y/∂x for each x."""
        again = again or self.again
        pairs = [(y, g) for y, g in zip(self.ys, gs) if y.requires_grad]
        if not pairs:
            return [zeros_like(x) for x in self.xs]
        ys, weights = zip(*pairs)
        found = autograd.grad(ys, self.xs, weights, True, again, allow_unused=True)
        return [zeros_like(x) if dx is None else dx for x, dx in zip(self.xs, found)]

    def shaped(self, leaves: Sequence[Any]) -> Any:
        """One tensor for each x, in the form of the arguments."""
        each = iter(leaves)
        trees = [like(tree, each) for tree in self.trees]
        return trees[0] if self.single else tuple(trees)

    def scalar(self, name: str) -> Any:
        """The output, which must be one number."""
        if not isinstance(self.y, Tensor) or self.y.shape:
            shape = list(self.y.shape) if isinstance(self.y, Tensor) else type(self.y).__name__
            raise ValueError(f"{name}: the function must give one number, [], not {shape}")
        return self.y


def _stand_in(x: Tensor) -> Tensor:
    """The same values as a variable of its own; derivatives go on to x where x is tracked."""
    if x.layout.code > core.F64:
        raise TypeError(f"only floats can be derived by, not {core.describe(x)}")
    if x.requires_grad and is_grad_enabled():
        return reshape(x, x.shape)
    return x.detach().requires_grad_()


def matching(name: str, given: Any, wanted: Sequence[Tensor]) -> list[Any]:
    """The tensors of `given`; ValueError where they are not of the shapes and types wanted."""
    leaves = _leaves(given)
    if [(g.shape, g.dtype) for g in leaves] != [(x.shape, x.dtype) for x in wanted]:
        has, needed = (", ".join(map(core.describe, each)) for each in (leaves, wanted))
        raise ValueError(f"{name} {has}: {needed} is needed")
    return leaves
