"""The weights of a cell gate by gate: what the libraries have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...tape import no_grad
from ..cells import GRUCell, LSTMCell, RNNCell

_PARAMETERS = {"W", "U", "Un", "P", "b", "c", "p_i", "p_f", "p_o"}
#: what a single cell may have for itself, of which its weights tell nothing
_OTHER = {"step", "project", "activations", "zoneout"}


class Gates(NamedTuple):
    """{letter of a gate: array} each; a GRU's z is the share of the old state, as in all libraries.

    An LSTM has all of i, f, g, o here: of two coupled gates, one has the weights of the other with
    the opposite sign, since 1 - σ(a) = σ(-a).
    """

    W: dict[str, Any]  #: [I, H]
    U: dict[str, Any]  #: [P, H]
    b: dict[str, Any]  #: [H], on the side of x; zeros where there is none
    c: dict[str, Any]  #: [H], on the side of h
    p: dict[str, Any]  #: peepholes [H], or [H, H]; those that there are
    P: Any = None  #: [H, P]


def label(layer: Any, i: int) -> str:
    """What PyTorch calls the layer and direction of the i-th cell: l0, l0_reverse, l1 …"""
    k, back = divmod(i, 2) if layer.bidirectional else (i, 0)
    return f"l{k}" + "_reverse" * back


def cells_of(layer: Any, what: str) -> list[Any]:
    """The cells of the layer; ValueError if they are not Elman, LSTM or GRU cells and nothing else."""
    cells: list[Any] = layer.cells()
    for cell in cells:
        extra = [name for name, _ in cell.named_parameters() if name not in _PARAMETERS]
        extra += sorted(_OTHER & vars(cell).keys())
        if type(cell) not in (RNNCell, LSTMCell, GRUCell) or extra:
            of = f" with its {', '.join(extra)}" if extra else ""
            raise ValueError(
                f"{what}: RNNCell, LSTMCell and GRUCell can be converted, not {type(cell).__name__}{of}"
            )
        if isinstance(cell, RNNCell) and callable(cell.nonlinearity):
            raise ValueError(f"{what}: the nonlinearity must be 'tanh' or 'relu', not a function")
    return cells


def wiring(layer: Any) -> str:
    """How the layers hang together, if not simply one on top of the other, side by side."""
    said = [f"connect={how!r}" for how in layer.stack.connect]
    if layer.bidirectional:
        said += [f"merge={one.merge!r}" for one in layer.stack.layers if one.merge != "concat"]
    return ", ".join(dict.fromkeys(said))


def check_wiring(layer: Any, what: str, there: str) -> None:
    """ValueError unless the layers are of one width, and hang together as they do there."""
    said = wiring(layer) or ("" if layer.equal else f"hidden_size={list(layer.hidden_size)}")
    if said:
        raise ValueError(
            f"{what}: {said}: {there} has layers of one width, each on top of the other, its directions "
            f"side by side"
        )


def gates_of(cell: Any) -> Gates:
    """The cell's weights."""

    def parts(array: Any, axis: int = -1) -> dict[str, Any]:
        return dict(zip(cell.gates, np.split(array, len(cell.gates), axis)))

    values = {name: p.numpy() for name, p in cell.named_parameters()}
    zero = np.zeros(len(cell.gates) * cell.hidden_size, cell.W.dtype)
    recurrent = [values["U"], values["Un"]] if "Un" in values else [values["U"]]
    gates = Gates(
        parts(values["W"]),
        parts(np.concatenate(recurrent, -1)),
        parts(values.get("b", zero)),
        parts(zero),
        {name[2]: value for name, value in values.items() if name.startswith("p_")},
        values.get("P"),
    )
    if "c" in values:
        gates.c["n"] = values["c"]
    if isinstance(cell, GRUCell) and not cell.keep:
        _copy_negated(gates, "z", "z")
    if isinstance(cell, LSTMCell) and cell.coupled:
        _copy_negated(gates, *("fi" if cell.coupled == "input" else "if"))
    return gates


def _copy_negated(gates: Gates, here: str, there: str) -> None:
    for weights in gates[:5]:
        if here in weights:
            weights[there] = -weights[here]


def parameters_of(cell: Any, gates: Gates, where: str) -> dict[str, Any]:
    """{name: value} of the cell that computes the same; ValueError if it cannot."""
    W, U, b, c, p = (dict(weights) for weights in gates[:5])
    gates, own = Gates(W, U, b, c, p, gates.P), dict(cell.named_parameters())
    after = isinstance(cell, GRUCell) and cell.reset_after
    if isinstance(cell, GRUCell) and not cell.keep:
        _copy_negated(gates, "z", "z")
    if isinstance(cell, LSTMCell) and cell.coupled:
        _check_coupled(gates, where)
    result = {
        "W": np.concatenate([W[g] for g in cell.gates], -1),
        "U": np.concatenate([U[g] for g in cell.gates], -1),
        "b": np.concatenate([b[g] if after and g == "n" else b[g] + c[g] for g in cell.gates]),
    }
    if isinstance(cell, GRUCell):
        result["U"], result["Un"] = np.split(result["U"], [2 * len(U["n"])], -1)
    if after:
        result["c"] = c["n"]
    if gates.P is not None:
        result["P"] = gates.P
    result.update({name: np.zeros(a.shape) for name, a in own.items() if name.startswith("p_")})
    result.update({f"p_{g}": a for g, a in p.items() if g in cell.gates})
    for name in list(result):  # what the layer does not have must be zero
        if name not in own and name != "P" and not result[name].any():
            del result[name]
    return result


def _check_coupled(gates: Gates, where: str) -> None:
    """ValueError unless i = 1 - f."""
    W, U, b, c, p = gates[:5]
    total = {g: b[g] + c[g] for g in "if"}
    for weights in (W, U, total, p):
        i, f = (weights.get(g, np.zeros(1)) for g in "if")
        if (i.any() or f.any()) and not np.array_equal(i, -f):
            raise ValueError(
                f"{where}: the gates i and f are coupled here, but not there: make this layer without "
                f"coupled=…"
            )


def assign(layer: Any, what: str, every: list[Gates]) -> None:
    """Give each cell its gates; ValueError if something does not fit, and then nothing is changed."""
    values = []
    for i, (cell, gates) in enumerate(zip(cells_of(layer, what), every)):
        where = f"{what}: {label(layer, i)}"
        found, own = parameters_of(cell, gates, where), dict(cell.named_parameters())
        compare(where, found, own)
        values += [(own[name], value) for name, value in found.items()]
    with no_grad():
        for parameter, value in values:
            parameter.copy_(np.ascontiguousarray(value, parameter.dtype))


def compare(where: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """ValueError for the first array that is not there, not wanted, or of another shape."""
    for name in [*wanted, *(name for name in found if name not in wanted)]:
        theirs, ours = (str(list(d[name].shape)) if name in d else "none" for d in (found, wanted))
        if theirs != ours:
            raise ValueError(
                f"{where}: {name}: {theirs} there, {ours} here: both must be made with the same sizes, "
                f"bias, and number of layers and directions"
            )


def copy_weights(source: Any, target: Any) -> None:
    """Give one layer the weights of another, converted between the forms that compute the same.

    Such are z on the candidate and z on the old state in a GRU, with the same reset; coupled gates
    and two with opposite weights; a peephole of zero and none.  ValueError where the target cannot
    compute what the source does, and then it is unchanged.

    >>> import minigrad
    >>> from minigrad import nn
    >>> paper, cho = nn.GRU(3, 5), nn.GRU(3, 5, convention="cho")
    >>> nn.convert.copy_weights(paper, cho)
    >>> x = minigrad.randn(7, 2, 3)
    >>> (paper(x)[0] - cho(x)[0]).abs().max().item() < 1e-6
    True
    """
    what = "copy_weights"
    sources, targets = cells_of(source, what), cells_of(target, what)
    forms = [[_form(layer, cell) for cell in layer.cells()] for layer in (source, target)]
    if forms[0] != forms[1]:
        one, other = (", ".join(dict.fromkeys(form)) for form in forms)
        raise ValueError(
            f"{what}: from {len(sources)} cells ({one}) to {len(targets)} ({other}): no choice of "
            f"weights makes them compute the same"
        )
    assign(target, what, [gates_of(cell) for cell in sources])


def _form(layer: Any, cell: Any) -> str:
    """What the weights alone cannot change."""
    name = type(cell).__name__
    if isinstance(cell, RNNCell):
        name += f", {cell.nonlinearity}"
    if isinstance(cell, GRUCell):
        name += f", reset_after={cell.reset_after}"
    name += ", bidirectional" * layer.bidirectional
    return ", ".join(filter(None, (name, wiring(layer))))
