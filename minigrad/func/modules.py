"""Modules as functions of their parameters, and gradients sample by sample."""

from __future__ import annotations

from typing import Any, Callable

from .. import autograd, core
from ..autograd import Tensor
from ..ops.create import zeros_like
from ..ops.index import narrow
from ..tape import enable_grad
from .transforms import stacked


def functional_call(
    module: Any, parameters: dict[str, Any], args: Any = (), kwargs: Any = None
) -> Any:
    """module(*args, **kwargs) with `parameters`, by name, in place of its own.

    Those not named stay.  So a network is a function of its parameters, as the transforms here take
    them.  KeyError where a name is none of the module's, ValueError where a shape differs.

    >>> import minigrad
    >>> layer = minigrad.nn.Linear(2, 1)
    >>> parameters = {name: p.detach() for name, p in layer.named_parameters()}
    >>> def loss(parameters, x):
    ...     return minigrad.func.functional_call(layer, parameters, (x,)).sum()
    >>> minigrad.func.grad(loss)(parameters, minigrad.ones(3, 2))["bias"]
    tensor([3.])
    """
    own = dict(module.named_parameters())
    owners = [vars(m) for m in module.modules()]
    before = []
    try:
        for name, x in parameters.items():
            if name not in own:
                raise KeyError(
                    f"functional_call: {type(module).__name__} has no parameter {name!r}"
                )
            p = own[name]
            if (x.shape, x.dtype) != (p.shape, p.dtype):
                raise ValueError(
                    f"functional_call: {name} {core.describe(x)}: {core.describe(p)} is needed"
                )
            for attributes in owners:
                for key in [k for k, value in attributes.items() if value is p]:
                    before.append((attributes, key, p))
                    attributes[key] = x
                    attributes.pop("stream", None)  # of a cell: it relies on the parameters
        arguments = args if isinstance(args, tuple) else (args,)
        return module(*arguments, **(kwargs or {}))
    finally:
        for attributes, key, p in before:
            attributes[key] = p
            attributes.pop("stream", None)


def per_sample_grad(
    loss_fn: Callable[..., Any], module: Any, *batch: Tensor, in_dims: Any = 0
) -> dict[str, Any]:
    """The gradient of the loss of each sample: {name of a parameter: [N, …]}.

    `loss_fn(module, *sample)` gives the loss, one number, of a batch of one.  in_dims says which
    dimension of each tensor of the batch counts the samples, as in torch.vmap: one number for all, or
    a tuple; None: every sample gets the whole.  For sequences [T, N, …] that is 1.  Parameters that
    do not take part have zeros.

    One forward and one backward pass per sample, fused layers at full speed: what is shared between
    samples is the parameters, and their gradients are what is asked for one by one.  (For the mean of
    squares, clipping by sample as in differentially private training, or influence functions.)
    ValueError where the tensors do not have the same number of samples.

    >>> import minigrad
    >>> from minigrad import nn
    >>> lstm, x = nn.LSTM(2, 3), minigrad.randn(5, 4, 2)
    >>> g = minigrad.func.per_sample_grad(lambda lstm, x: lstm(x)[0].sum(), lstm, x, in_dims=1)
    >>> all(g[name].shape == (4, *p.shape) for name, p in lstm.named_parameters())
    True
    """
    dims = (in_dims,) * len(batch) if isinstance(in_dims, int) else tuple(in_dims)
    if len(dims) != len(batch):
        raise ValueError(f"per_sample_grad: in_dims {dims} for {len(batch)} tensors")
    sizes = {x.shape[d] for x, d in zip(batch, dims) if d is not None}
    if len(sizes) != 1:
        raise ValueError(
            f"per_sample_grad: {', '.join(core.describe(x) for x in batch)} with in_dims {dims}: one "
            f"number of samples is needed"
        )
    named = dict(module.named_parameters())
    tracked = {name: p for name, p in named.items() if p.requires_grad}
    rows: list[Any] = []
    for n in range(sizes.pop()):
        sample = [x if d is None else narrow(x, d, n, 1) for x, d in zip(batch, dims)]
        with enable_grad():
            loss = loss_fn(module, *sample)
        found = autograd.grad(loss, list(tracked.values()), allow_unused=True)
        rows.append([zeros_like(p) if g is None else g for p, g in zip(tracked.values(), found)])
    columns = zip(*rows) if rows else [[] for _ in tracked]
    return {
        name: stacked(list(column), (len(rows), *p.shape), p)
        for (name, p), column in zip(tracked.items(), columns)
    }
