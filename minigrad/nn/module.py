"""Module: a function with parameters.  A network is a tree of them.

A module is an ordinary object.  Its parameters are those of its attributes that are `Parameter`s,
its children those that are `Module`s, its buffers those that `register_buffer` named; there is no
other record of them, and reading `self.weight` in a loop over time costs what any attribute costs.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import numpy as np

from .. import core
from ..autograd import Tensor
from ..ops.create import float32, float64
from ..tape import written
from .parameter import Parameter, zero_grad

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base class of layers and networks: write `__init__` and `forward`.

    >>> import minigrad
    >>> from minigrad import nn
    >>> class Affine(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.a = nn.Parameter(minigrad.ones(3))
    ...         self.b = nn.Parameter(minigrad.zeros(3))
    ...     def forward(self, x):
    ...         return self.a * x + self.b
    >>> [name for name, _ in Affine().named_parameters()]
    ['a', 'b']
    """

    training: bool = True  #: set by train() and eval(); read by Dropout

    def _no_forward(self, *_: Any, **__: Any) -> Any:
        """What calling the module computes: every module defines it."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    forward: Callable[..., Any] = _no_forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """forward(*args, **kwargs)."""
        return self.forward(*args, **kwargs)

    # ---- parts -------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; TypeError if that would quietly undo a parameter, buffer or child."""
        old = self.__dict__.get(name)
        kind: type[Any] | None = Tensor if name in self._persistent else None
        kind = next((k for k in (Parameter, Module) if isinstance(old, k)), kind)
        if kind is not None and value is not None and not isinstance(value, kind):
            raise TypeError(
                f"{type(self).__name__}.{name} is a {kind.__name__} and cannot become a "
                f"{type(value).__name__}: assign a {kind.__name__}, or None; to change the values "
                f"of a tensor, use .data.copy_()"
            )
        object.__setattr__(self, name, value)

    @property
    def _persistent(self) -> dict[str, bool]:
        """{name of a buffer: whether it is part of the state}."""
        found: dict[str, bool] = self.__dict__.get("_buffers", {})
        return found

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make `tensor` the attribute `name`: part of the state (if persistent), but not learnt."""
        if name not in self._persistent:
            self._new_name(name)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"buffer {name}: a tensor is needed, not {type(tensor).__name__}")
        self.__dict__.setdefault("_buffers", {})[name] = persistent
        setattr(self, name, tensor)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make `param` the attribute `name`."""
        if not isinstance(self.__dict__.get(name), Parameter):
            self._new_name(name)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"parameter {name}: a Parameter is needed, not {type(param).__name__}")
        setattr(self, name, param)

    def add_module(self, name: str, module: Module | None) -> None:
        """Make `module` the attribute `name`, which need not be an identifier."""
        if not isinstance(self.__dict__.get(name), Module):
            self._new_name(name)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"module {name}: a Module is needed, not {type(module).__name__}")
        setattr(self, name, module)

    register_module = add_module

    def _new_name(self, name: str) -> None:
        if not name or "." in name:
            raise KeyError(f"{name!r}: the name of a part may be neither empty nor contain a dot")
        if getattr(self, name, None) is not None:
            raise KeyError(f"{type(self).__name__} already has an attribute {name!r}")

    def _parts(self, kind: type) -> Iterator[tuple[str, Any]]:
        """The attributes of this module that are of one kind."""
        return ((name, x) for name, x in list(vars(self).items()) if isinstance(x, kind))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of those directly below, each once."""
        seen = set()
        for name, child in self._parts(Module):
            if child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly below."""
        return (child for _, child in self.named_children())

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module, named `prefix`, and of all below."""
        memo = set() if memo is None else memo
        if remove_duplicate and self in memo:
            return
        memo.add(self)
        yield prefix, self
        for name, child in self._parts(Module):
            yield from child.named_modules(memo, _join(prefix, name), remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter), each once under the first of its names."""
        seen: set[Parameter] = set()
        for path, module in self._tree(prefix, recurse, remove_duplicate):
            for name, p in module._parts(Parameter):
                if p in seen and remove_duplicate:
                    continue
                if p not in seen:
                    p.name = _join(path, name)
                seen.add(p)
                yield _join(path, name), p

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """What this module and those below learn, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, buffer), each once."""
        seen: set[Tensor] = set()
        for path, module in self._tree(prefix, recurse, remove_duplicate):
            for name in module._persistent:
                x = vars(module).get(name)
                if x is None or (x in seen and remove_duplicate):
                    continue
                seen.add(x)
                yield _join(path, name), x

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and those below."""
        return (x for _, x in self.named_buffers(recurse=recurse))

    def _tree(self, prefix: str, recurse: bool, once: bool) -> Iterator[tuple[str, Module]]:
        return self.named_modules(None, prefix, once) if recurse else iter([(prefix, self)])

    def get_submodule(self, target: str) -> Module:
        """The module with this dotted name; AttributeError if there is none."""
        module = self
        for name in target.split(".") if target else ():
            found = vars(module).get(name)
            if not isinstance(found, Module):
                raise AttributeError(f"{type(self).__name__} has no module {target!r}")
            module = found
        return module

    # ---- for the whole tree ------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], Any]) -> Any:
        """Call fn(module) for all modules below, then for this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Any:
        """Set `training` here and in all modules below; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Any:
        """The same as train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Whether the parameters are to get gradients: False freezes them."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or fill them with zeros."""
        for p in self.parameters():
            zero_grad(p, set_to_none)

    def to(self, dtype: Any) -> Any:
        """Convert float parameters and buffers to float32 or float64; returns the module."""
        dtype = np.dtype(dtype)
        if dtype not in (float32, float64):
            raise TypeError(f"Module.to: {dtype}: float32 or float64")
        for p in self.parameters():
            p._convert(dtype)
        for module in self.modules():
            for name in module._persistent:
                x = vars(module).get(name)
                if x is not None and x.dtype in (float32, float64):
                    setattr(module, name, x.to(dtype))
        return self

    def float(self) -> Any:
        """Convert to float32."""
        return self.to(float32)

    def double(self) -> Any:
        """Convert to float64."""
        return self.to(float64)

    # ---- state -------------------------------------------------------------------------------

    def _state(self, prefix: str) -> Iterator[tuple[str, Tensor]]:
        for name, p in self._parts(Parameter):
            yield prefix + name, p
        for name, persistent in self._persistent.items():
            x = vars(self).get(name)
            if persistent and x is not None:
                yield prefix + name, x
        for name, child in self._parts(Module):
            yield from child._state(f"{prefix}{name}.")

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """{dotted name: parameter or persistent buffer}, on the same memory, not tracked.

        A shared parameter appears under each of its names.
        """
        return {name: x.detach() for name, x in self._state(prefix)}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy the values of a state_dict, tensors or ndarrays, into this module.

        If anything does not fit, one RuntimeError lists all of it and nothing is changed.  With
        strict=False, missing and unexpected names are returned instead.
        """
        mine = dict(self._state(""))
        missing = [name for name in mine if name not in state_dict]
        unexpected = [name for name in state_dict if name not in mine]
        problems = []
        if strict:
            problems += [f"missing: {name} ({core.describe(mine[name])})" for name in missing]
            problems += [f"unexpected: {name}" for name in unexpected]
        common = {name: state_dict[name] for name in mine if name in state_dict}
        first: dict[Tensor, str] = {}  # the first name of a shared parameter
        for name, x in common.items():
            other = first.setdefault(mine[name], name)
            if not isinstance(x, (Tensor, np.ndarray)):
                problems.append(f"no tensor: {name} is a {type(x).__name__}")
            elif x.shape != mine[name].shape:
                problems.append(f"shape: {name} {list(x.shape)}, here {list(mine[name].shape)}")
            elif x.dtype != mine[name].dtype:
                problems.append(f"dtype: {name} {x.dtype}, here {mine[name].dtype}")
            elif other != name and np.asarray(x).tobytes() != np.asarray(common[other]).tobytes():
                problems.append(f"values: {other} and {name} differ, here they are one parameter")
        if problems:
            name = type(self).__name__
            lines = "".join(f"\n  {problem}" for problem in problems)
            raise RuntimeError(f"{name}.load_state_dict: nothing was loaded, because of{lines}")
        for name, x in common.items():
            core.copy_into(mine[name], core.operand(x, mine[name]))
            written(mine[name])
        return IncompatibleKeys(missing, unexpected)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy with tensors of its own; what was shared within stays shared within."""
        memo[id(self)] = new = self.__class__.__new__(self.__class__)
        for name, x in vars(self).items():
            if isinstance(x, Tensor) and not isinstance(x, Parameter):
                value = memo.setdefault(id(x), core.astype(x, x.layout.code))
            else:
                value = copy.deepcopy(x, memo)
            new.__dict__[name] = value
        return new

    # ---- appearance --------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses: the arguments that made this module."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"  ({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self._parts(Module)
        ]
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        return "\n".join([f"{type(self).__name__}({extra}", *lines, ")"])


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
