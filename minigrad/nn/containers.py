"""Modules that hold modules."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from .module import Module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class _Row(Module):
    """Modules named "0", "1", …"""

    def _items(self) -> list[Module]:
        return [module for _, module in self._parts(Module)]

    def _name(self, index: int) -> str:
        n = len(self)
        i = operator.index(index)
        if not -n <= i < n:
            raise IndexError(f"index {i} in a {type(self).__name__} of {n} modules")
        return str(i % n)

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._of(self._items()[index])
        return vars(self)[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), module)

    def _of(self, modules: list[Module]) -> Any:
        """Those modules in a row of this kind."""
        raise NotImplementedError

    def append(self, module: Module) -> Any:
        """Add one at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add several at the end."""
        for module in modules:
            self.append(module)
        return self


class Sequential(_Row):
    """One module after the other: y = m_n(… m_1(x)).

    Made of modules, or of one dict of named modules.

    >>> from minigrad import nn
    >>> nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): Tanh()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], dict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self.extend(args)

    def _name(self, index: int) -> str:
        i = int(super()._name(index))
        return [name for name, _ in self._parts(Module)][i]

    def _of(self, modules: list[Module]) -> Sequential:
        return Sequential(*modules)

    def forward(self, x: Any) -> Any:
        """Pass x through all."""
        for module in self._items():
            x = module(x)
        return x


class ModuleList(_Row):
    """A list whose modules are parts of the model."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def _of(self, modules: list[Module]) -> ModuleList:
        return ModuleList(modules)

    def __delitem__(self, index: Any) -> None:
        items = self._items()
        for i in range(len(items)):
            delattr(self, str(i))
        del items[index]
        self.extend(items)

    def insert(self, index: int, module: Module) -> None:
        """Put one before the one at `index`."""
        items = self._items()
        items.insert(index, module)
        self.append(module)  # the checks, before anything is moved
        for i, item in enumerate(items):
            setattr(self, str(i), item)


class ModuleDict(Module):
    """A dict whose modules are parts of the model."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add or replace several."""
        for name, module in modules.items():
            self[name] = module

    def keys(self) -> Any:
        """The names."""
        return dict(self._parts(Module)).keys()

    def values(self) -> Any:
        """The modules."""
        return dict(self._parts(Module)).values()

    def items(self) -> Any:
        """(name, module) of each."""
        return dict(self._parts(Module)).items()

    def __getitem__(self, name: str) -> Any:
        return dict(self._parts(Module))[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        del dict(self._parts(Module))[name]
        delattr(self, name)

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: str) -> bool:
        return name in self.keys()
