"""What all optimisers share: groups of parameters, their options, the state of each parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from .. import core
from ..autograd import Tensor
from ..nn.parameter import zero_grad
from ..tape import Leaf, enable_grad
from .plan import Buffers, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping


class Optimizer:
    """Base class.  An algorithm is a kernel, its state, its numbers, and the defaults of its options.

    `params` are tensors, pairs (name, tensor), or dicts: {"params": …, "lr": …} is a group with
    options of its own.  `param_groups` is the list of such dicts, with every option filled in.
    """

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._plans: dict[int, Plan] = {}  # by the id of a group, to which the plan refers
        if isinstance(params, (Tensor, dict)):
            raise TypeError(
                f"{type(self).__name__}: a list of tensors or of groups is needed, not one "
                f"{type(params).__name__}"
            )
        given = list(params)
        if not given:
            raise ValueError(f"{type(self).__name__}: the list of parameters is empty")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    kernel: str  #: which of `core.UPD`
    clock: str | None = None  #: the entry of a parameter's state that counts its steps, if any

    def buffers(self, group: dict[str, Any]) -> Buffers:
        """What the kernel keeps for each parameter: at most two state tensors, in its order.

        (name, 1) is as large as the parameter, (name, k) k times as large, [k, *shape].  Equal ones
        are the same object at each call.
        """
        raise NotImplementedError

    def hyper(self, group: dict[str, Any], t: int) -> list[float]:
        """The kernel's numbers for step t = 1, 2, … of a parameter (kernels/update.inc)."""
        raise NotImplementedError

    def check(self, group: dict[str, Any]) -> None:
        """ValueError for an option out of range."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add {"params": tensors, option: value, …}; options left out take the defaults."""
        name = type(self).__name__
        unknown = set(param_group) - {*self.defaults, "params", "initial_lr", "name"}
        if unknown or "params" not in param_group:
            options = ", ".join(self.defaults)
            wrong = f"no option {sorted(unknown)}" if unknown else "'params' is missing"
            raise ValueError(
                f"{name}: parameter group: {wrong}; besides 'params' it may have {options}"
            )
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        params = [item[1] if isinstance(item, tuple) else item for item in params]
        if not params:
            raise ValueError(f"{name}: the list of parameters of a group is empty")
        seen = {p for group in self.param_groups for p in group["params"]}
        for i, p in enumerate(params):
            _check_parameter(f"{name}: parameter {i}", p)
            if p in seen:
                raise ValueError(
                    f"{name}: parameter {i} ({core.describe(p)}) appears twice: list it once"
                )
            seen.add(p)
        group = {**self.defaults, **param_group, "params": params}
        self.check(group)
        self.param_groups.append(group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient; returns what `closure` does.

        `closure` computes the loss anew and goes backward.
        """
        loss = None if closure is None else enable_grad()(closure)()
        for group in self.param_groups:
            plan = self._plans.get(id(group))
            work = None if plan is None else plan.work(self, group)
            if work is None:
                plan = self._plans[id(group)] = Plan(self, group)
                work = plan.work(self, group) or []
            for run, gradients in work:
                run.update(gradients, self.hyper(group, run.done + 1))
                run.has_stepped(self.clock)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none and p.node.__class__ is Leaf:
                    p.node.grad = None
                else:
                    zero_grad(p, set_to_none)

    # ---- state -------------------------------------------------------------------------------

    def _parameters(self) -> list[Any]:
        return [p for group in self.param_groups for p in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number of the parameter: its state}, "param_groups": options and numbers}.

        Tensors in it are the optimiser's own.  What `minigrad.save` stores of it is enough to go on
        exactly.
        """
        number = {p: i for i, p in enumerate(self._parameters())}
        groups = [{**g, "params": [number[p] for p in g["params"]]} for g in self.param_groups]
        state = {number[p]: dict(s) for p, s in self.state.items() if p in number}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over copies of the state and the options of another optimiser of the same model.

        If anything does not fit, one ValueError lists all of it and nothing is changed.
        """
        problems = []
        theirs, params = state_dict["param_groups"], self._parameters()
        sizes = [[len(g["params"]) for g in groups] for groups in (theirs, self.param_groups)]
        if sizes[0] != sizes[1]:
            problems.append(f"groups of {sizes[0]} parameters, here {sizes[1]}")
        numbers = [i for g in theirs for i in g["params"]]
        loaded: dict[Tensor, dict[str, Any]] = {}
        for i, p in zip(numbers, params):
            entries = state_dict["state"].get(i)
            if entries is None:
                continue
            for name, x in entries.items():
                if isinstance(x, (Tensor, np.ndarray)) and not _fits(x, p):
                    here = core.describe(p)
                    problems.append(
                        f"{name} of parameter {i}: {x.dtype} {list(x.shape)}, here {here}"
                    )
            loaded[p] = {name: _copy(x) for name, x in entries.items()}
        for g, mine in zip(theirs, self.param_groups):
            if lacking := sorted(set(mine) - set(g) - {"initial_lr", "name"}):
                problems.append(f"no options {lacking}: was it another optimiser?")
        if problems:
            lines = "".join(f"\n  {problem}" for problem in problems)
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: nothing was loaded, because of{lines}"
            )
        self.state = loaded
        for g, mine in zip(theirs, self.param_groups):
            mine.update({name: value for name, value in g.items() if name != "params"})

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            options = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            lines.append(f"  {i}: {len(group['params'])} parameters, {options}\n")
        return f"{type(self).__name__}(\n{''.join(lines)})"


def at_least_zero(group: dict[str, Any], *names: str) -> None:
    """ValueError for an option that is negative or NaN."""
    for name in names:
        if not group[name] >= 0:
            raise ValueError(f"{name}={group[name]}: a number from 0 on is needed")


def _check_parameter(what: str, p: Any) -> None:
    if not isinstance(p, Tensor):
        raise TypeError(f"{what}: a tensor is needed, not {type(p).__name__}")
    if not p.is_leaf:
        raise ValueError(
            f"{what} ({core.describe(p)}) is the result of an op: only leaves can be learnt"
        )
    if p.layout.code > core.F64:
        raise TypeError(f"{what} ({core.describe(p)}): only float tensors can be learnt")
    if p.layout.strides is not None:
        raise ValueError(
            f"{what} ({core.describe(p)}) is a strided view: the steps are computed on contiguous "
            f"memory, so make it a tensor of its own with .contiguous().detach()"
        )


def _fits(x: Any, p: Any) -> bool:
    """Whether x is a possible state tensor of p: of its type and shape, or several of them."""
    return bool(x.dtype == p.dtype and x.shape[len(x.shape) - len(p.shape) :] == p.shape)


def _copy(x: Any) -> Any:
    if isinstance(x, (Tensor, np.ndarray)):
        x = core.operand(x, x)
        return core.astype(x, x.layout.code)
    return x
