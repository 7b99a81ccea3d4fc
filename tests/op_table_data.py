"""Rows of the table of ops: rearranging, joining, cutting, indexing; losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
from draw import REAL, Domain, Draw
from op_row import Fixed, Sample, row

from minigrad.ops import index, loss, shape, sparse

# ---- rearranging ---------------------------------------------------------------------------------


def _factors(d: Draw, size: int) -> tuple[int, ...]:
    """A shape of this size, perhaps with a -1."""
    to = d.choice(
        (size,), (1, size), (size, 1, 1), *[(n, size // n) for n in (2, 3) if size % n == 0]
    )
    return (-1, *to[1:]) if size and d.flag() else to


@row(shape.reshape, np.reshape)
def _(d: Draw) -> Sample:
    s = d.shape()
    return [d.values(s), _factors(d, int(np.prod(s)))], {}


@row(
    lambda x, *to: x.view(*to),
    lambda x, *to: x.reshape(to),
    lambda _, x, *to: x.view(to),
    name="reshape",
    side="view",
)
def _(d: Draw) -> Sample:
    return [d.values((4, 3)), *d.choice((12,), (2, -1), (3, 2, 2))], {}


@row(shape.flatten, lambda x, i, j: x.reshape((*x.shape[:i], -1, *x.shape[j + 1 :])))
def _(d: Draw) -> Sample:
    s = d.shape(1, 3, least=1)
    first = d.pick(0, len(s) - 1)
    return [d.values(s), first, d.pick(first, len(s) - 1)], {}


@row(
    shape.squeeze,
    lambda x, dim=None: x if dim is not None and x.shape[dim] != 1 else np.squeeze(x, dim),
)
def _(d: Draw) -> Sample:
    s = d.shape(1, 3)
    return [d.values(s)], d.choice({}, {"dim": d.dim(len(s))})


@row(shape.unsqueeze, np.expand_dims)
def _(d: Draw) -> Sample:
    s = d.shape()
    return [d.values(s), d.dim(len(s) + 1)], {}


@row(shape.expand, np.broadcast_to, lambda _, x, to: x.expand(to))
def _(d: Draw) -> Sample:
    s = d.shape()
    return [d.values(s), (*d.shape(0, 1), *(d.pick(0, 3) if n == 1 else n for n in s))], {}


@row(shape.permute, np.transpose)
def _(d: Draw) -> Sample:
    s = d.shape(1, 3)
    order = [int(i) for i in d.rng.permutation(len(s))]
    return [d.values(s), [i - len(s) if d.flag() else i for i in order]], {}


@row(shape.transpose, np.swapaxes)
def _(d: Draw) -> Sample:
    s = d.shape(1, 3)
    return [d.values(s), d.dim(len(s)), d.dim(len(s))], {}


@row(
    lambda x: (x.T, x.t(), x.mT),
    lambda x: (x.T, x.T, x.T),
    lambda _, x: (x.T, x.t(), x.mT),
    name="transpose",
    side="short",
)
def _(d: Draw) -> Sample:
    return [d.values(d.shape(2, 2))], {}


@row(shape.contiguous, np.ascontiguousarray, lambda _, x: x.contiguous())
def _(d: Draw) -> Sample:
    return [d.values(d.shape(1, 3))], {}


@row(shape.clone, np.copy)
def _(d: Draw) -> Sample:
    return [d.values(d.shape())], {}


@row(index.flip, np.flip)
def _(d: Draw) -> Sample:
    s = d.shape(1, 3)
    return [d.values(s), tuple(i for i in range(len(s)) if d.flag()) or (0,)], {}


# ---- joining and cutting -------------------------------------------------------------------------


def weighted(parts: Any) -> Any:
    """Use only every other part: the others have no gradient of their own."""
    return [part for i, part in enumerate(parts) if i % 2 == 0]


@row(shape.cat, np.concatenate)
def _(d: Draw) -> Sample:
    s = d.shape(1, 3)
    dim = d.dim(len(s))
    parts = []
    for _ in range(d.pick(1, 3)):
        each = list(s)
        each[dim] = d.pick(0, 3)
        parts.append(d.values(tuple(each)))
    return [parts, dim], {}


@row(
    lambda a, b: shape.cat([a, b, a, b * 0.5]),
    lambda a, b: np.concatenate([a, b, a, b / 2]),
    None,
    name="cat",
    side="twice",
)
def _(d: Draw) -> Sample:
    s = d.shape(1, 2)
    return [d.values(s), d.values(s)], {}


@row(shape.stack, np.stack)
def _(d: Draw) -> Sample:
    s = d.shape()
    return [[d.values(s) for _ in range(d.pick(1, 3))], d.dim(len(s) + 1)], {}


@row(
    lambda x, size, dim: weighted(shape.split(x, size, dim)),
    lambda x, size, dim: weighted(oracles.split(x, size, dim)),
    lambda torch, x, size, dim: weighted(torch.split(x, size, dim)),
    name="split",
)
def _(d: Draw) -> Sample:
    s = d.shape(1, 3)
    dim = d.dim(len(s))
    first = d.pick(0, s[dim])
    return [d.values(s), d.choice(d.pick(1, 4), [first, 0, s[dim] - first]), dim], {}


@row(shape.chunk, oracles.chunk)
def _(d: Draw) -> Sample:
    s = d.shape(1, 3, least=1)
    return [d.values(s), d.pick(1, 4), d.dim(len(s))], {}


@row(
    lambda x, dim: weighted(shape.unbind(x, dim)),
    lambda x, dim: weighted(np.moveaxis(x, dim, 0)),
    lambda torch, x, dim: weighted(torch.unbind(x, dim)),
    name="unbind",
)
def _(d: Draw) -> Sample:
    s = d.shape(1, 3)
    return [d.values(s), d.dim(len(s))], {}


# ---- indexing ----------------------------------------------------------------------------------


def _item(x: Any, key: Any) -> Any:
    return x[key]


@row(_item, _item, lambda _, x, key: x[key], name="getitem", side="basic")
def _(d: Draw) -> Sample:
    s = d.shape(1, 3, least=1)
    key: list[Any] = []
    for n in s:
        part = slice(d.pick(-n - 1, n), d.pick(-n, n + 1), d.pick(1, 3))
        key.append(d.choice(d.pick(-n, n - 1), part, slice(None)))
    first = d.pick(0, len(s))
    last = d.pick(first, len(s))
    key = d.choice(key[:first], [*key[:first], Ellipsis, *key[last:]])
    for _ in range(d.pick(0, 2)):
        key.insert(d.pick(0, len(key)), None)
    return [d.values(s), tuple(key)], {}


@row(_item, _item, lambda _, x, key: x[key], name="getitem", side="arrays")
def _(d: Draw) -> Sample:
    n, m = d.pick(1, 3), d.pick(1, 3)
    x = d.values((n, m, 2))
    i, j = d.integers(-n, n, (3,)), d.integers(-m, m, (2, 1))
    keys = (
        i,
        (i, j),
        (slice(None), j),
        (Ellipsis, j, 1),
        (i, None, slice(0, 1)),
        (0, slice(None), d.integers(-2, 2, ())),
    )
    return [x, keys[d.pick(0, len(keys) - 1)]], {}


@row(_item, _item, lambda _, x, key: x[key], name="getitem", side="masks")
def _(d: Draw) -> Sample:
    n, m = d.pick(0, 3), d.pick(0, 3)
    keys = (d.mask((n, m)), d.mask((n,)), (slice(None), d.mask((m,))))
    return [d.values((n, m)), keys[d.pick(0, 2)]], {}


@row(index.narrow, lambda x, dim, start, n: np.take(x, range(start, start + n), dim))
def _(d: Draw) -> Sample:
    s = d.shape(1, 3)
    dim = d.dim(len(s))
    start = d.pick(0, s[dim])
    return [d.values(s), dim, start, d.pick(0, s[dim] - start)], {}


@row(
    index.take,
    lambda table, i: table[i],
    lambda torch, table, i: torch.nn.functional.embedding(i % table.shape[0], table),
)
def _(d: Draw) -> Sample:
    n = d.pick(1, 4)
    return [d.values((n, d.pick(0, 3))), d.integers(-n, n, d.shape(0, 2, most=4))], {}


def _scattered(x: Any, i: Any, to: Any) -> Any:
    y = np.zeros(to, x.dtype)
    np.add.at(y, i, x)
    return y


@row(index.scatter, _scattered, None)
def _(d: Draw) -> Sample:
    n, width = d.pick(1, 4), d.pick(0, 3)
    i = d.integers(-n, n, d.shape(0, 2, most=4))
    return [d.values((*i.shape, width)), i, (n, width)], {}


@row(
    index.embedding,
    lambda i, weight: weight[i],
    lambda torch, i, weight: torch.nn.functional.embedding(i, weight),
)
def _(d: Draw) -> Sample:
    n = d.pick(1, 4)
    return [d.integers(0, n, d.shape(0, 2, most=4)), d.values((n, d.pick(0, 3)))], {}


@row(index.gather, oracles.gather)
def _(d: Draw) -> Sample:
    s = d.shape(1, 3, least=1)
    dim = d.dim(len(s))
    rows = [d.pick(0, n) for n in s]
    return [d.values(s), dim, d.integers(0, s[dim], tuple(rows))], {}


# ---- losses ------------------------------------------------------------------------------------


def _functional(name: str) -> Any:
    return lambda torch, *args, **options: getattr(torch.nn.functional, name)(*args, **options)


def _classes(d: Draw) -> tuple[Any, Any, dict[str, Any], int]:
    """Scores, targets, options and the number of classes; one target in four is ignored."""
    c = d.pick(1, 4)
    s = d.choice((), (d.pick(1, 4),), (d.pick(1, 3), d.pick(1, 2)))
    ignore = d.choice(-100, 0)
    target = np.asarray(np.where(d.rng.random(s) < 0.25, ignore, d.integers(0, c, s)))
    options = {"ignore_index": ignore, "reduction": d.choice("none", "sum", "mean")}
    if (target == ignore).all() and options["reduction"] == "mean":
        options["reduction"] = "sum"  # the mean of nothing: test_ops.py looks at that
    x = d.values((*s[:1], c, *s[1:]))
    return x, target, options, c


@row(loss.cross_entropy, oracles.cross_entropy, _functional("cross_entropy"))
def _(d: Draw) -> Sample:
    x, target, options, _ = _classes(d)
    return [x, target], options


@row(loss.cross_entropy, oracles.cross_entropy, _functional("cross_entropy"), side="weight")
def _(d: Draw) -> Sample:
    x, target, options, c = _classes(d)
    return [x, target], {**options, "weight": Fixed(d.values((c,), Domain(0.2, 2.0)))}


@row(loss.nll_loss, oracles.nll_loss, _functional("nll_loss"))
def _(d: Draw) -> Sample:
    x, target, options, _ = _classes(d)
    return [x, target], options


@row(
    loss.mse_loss,
    lambda x, t, reduction: oracles.reduced((x - t) ** 2, reduction),
    _functional("mse_loss"),
)
def _(d: Draw) -> Sample:
    s = d.shape(least=1)
    return [d.values(s), d.values(s)], {"reduction": d.choice("none", "sum", "mean")}


@row(
    loss.l1_loss,
    lambda x, t, reduction: oracles.reduced(abs(x - t), reduction),
    _functional("l1_loss"),
)
def _(d: Draw) -> Sample:
    s = d.shape(least=1)
    return [d.values(s, Domain(-2, -0.1)), d.values(s, Domain(0.1, 2))], {
        "reduction": d.choice("none", "sum", "mean")
    }


@row(
    loss.binary_cross_entropy_with_logits,
    oracles.bce_with_logits,
    _functional("binary_cross_entropy_with_logits"),
)
def _(d: Draw) -> Sample:
    s = d.shape(1, 2, least=1)
    options: dict[str, Any] = {"reduction": d.choice("none", "sum", "mean")}
    if d.flag():
        options["weight"] = Fixed(d.values(s[-1:], Domain(0.2, 2.0)))
    if d.flag():
        options["pos_weight"] = Fixed(d.values(s[-1:], Domain(0.2, 2.0)))
    return [d.values(s, REAL), d.values(s, Domain(0.0, 1.0))], options


# ---- sparse products -------------------------------------------------------------------------------


def _spmm(values: Any, x: Any, mask: Any) -> Any:
    first = np.concatenate([[0], np.cumsum(mask.numpy().sum(1))])
    pattern = sparse.Pattern(first, np.nonzero(mask.numpy())[1], mask.shape)
    return sparse.spmm(values, x, pattern)


def _spmm_oracle(values: Any, x: Any, mask: Any) -> Any:
    A = np.zeros(mask.shape)
    A[mask] = values
    return x @ A.T


@row(_spmm, _spmm_oracle, None, name="spmm")
def _(d: Draw) -> Sample:
    mask = d.mask((d.pick(1, 4), d.pick(1, 4)))
    x = d.values((*d.shape(0, 2, least=1), mask.shape[1]))
    return [d.values((int(mask.sum()),)), x, mask], {}
