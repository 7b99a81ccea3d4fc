"""Layers on layers, both directions, connections between layers, the right last slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cell_table import KINDS, Kind, as_tuple, every_kind, flat, parameters, same, weighted
from draw import Draw, seeded
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn

#: those whose state is as wide as the hidden layer
GROWING = {name: kind for name, kind in KINDS.items() if "output_size" not in kind.options}
every_growing_kind = pytest.mark.parametrize("kind", GROWING.values(), ids=GROWING)


def deep(kind: Kind, sizes: Any, inputs: int = 2, **options: Any) -> Any:
    """Layers of the kind, of these hidden sizes, as `Layers` and the fronts make them."""
    layers = kind.layers(inputs, sizes, bidirectional=True, **options)
    for cell in layers.cells():
        parameters(cell, seeded(1))
    return layers


def example(net: Any, steps: int = 5, n: int = 4) -> tuple[Any, Any]:
    """x, and a mask with holes in which one sequence has no valid step and one all."""
    mask = seeded(3).rng.random((steps, n)) < 0.7
    mask[:, 0], mask[:, 1] = True, False
    x = np.where(mask[..., None], seeded(2).normal(steps, n, net.input_size), np.nan)
    return mg.from_numpy(x), mask


# ---- both directions ---------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("fused", ["auto", False])
def test_every_output_depends_on_every_input(kind: Kind, fused: Any) -> None:
    """R10: the Jacobian of y_t by x_s is zero nowhere; in one direction it is for s > t."""
    if 1 not in kind.options.get("periods", [1]):
        pytest.skip("no unit of it reads every input")
    steps = 4
    x = mg.from_numpy(0.1 * abs(seeded(0).normal(steps, 1, 2))).requires_grad_()
    for both in (True, False):
        layer = kind.layers(2, 3, bidirectional=both, fused=fused)
        for p in layer.parameters():
            nn.init.uniform_(p, 0.1, 0.5)
        y, _ = layer(x)
        for t in range(steps):
            (g,) = mg.grad(weighted(y[t]), x, retain_graph=True)
            seen = abs(g.numpy()).sum((1, 2)) > 0
            assert seen.tolist() == [both or s <= t for s in range(steps)]


@every_kind
def test_ways_to_merge(kind: Kind) -> None:
    cells = kind.make(2, 3), kind.make(2, 3)
    layers = {m: nn.Bidirectional(*cells, merge=m) for m in ("concat", "sum", "both")}
    x, mask = example(layers["sum"])
    (a, b), state = layers["both"](x, mask=mask)
    pair = layers["both"].final(state)
    for merge, join in (("concat", lambda *parts: mg.cat(parts, -1)), ("sum", mg.add)):
        y, same_state = layers[merge](x, mask=mask)
        same((y, same_state), (join(a, b), state), tolerance=0)
        same(layers[merge].final(state), join(*pair), tolerance=0)
    assert layers["both"].output_size == (a.shape[-1], b.shape[-1])


@pytest.mark.parametrize("batch_first", [False, True])
def test_the_front_merges_too(batch_first: bool) -> None:
    """ "both" is for the topmost layer: what is between layers is one tensor."""
    x = mg.randn(5, 3, 2)
    for merge, width in (("concat", 8), ("sum", 4), ("both", (4, 4))):
        options = {"bidirectional": True, "merge": merge, "batch_first": batch_first}
        layer = nn.GRU(2, 4, 2, **options)
        assert layer.output_size == width
        assert layer.cells()[2].input_size == (4 if merge == "sum" else 8)
        y, h = layer(x.transpose(0, 1) if batch_first else x)
        ys = flat(y)
        widths = width if isinstance(width, tuple) else (width,)
        time_and_batch = (3, 5) if batch_first else (5, 3)
        assert [a.shape for a in ys] == [(*time_and_batch, w) for w in widths]
        alone, last = layer(x[:, 0])
        first = [a[0] if batch_first else a[:, 0] for a in ys]
        same((flat(alone), last), (first, h[:, 0]), 1e-6)
        same(flat(layer.final(last)), [f[0] for f in flat(layer.final(h))], 1e-6)


# ---- final -------------------------------------------------------------------------------------


CONNECTIONS = [(), "residual", "input", "output", ("residual", "input", "output")]


@every_kind
@pytest.mark.parametrize("connect", CONNECTIONS, ids=str)
def test_final_is_where_each_direction_ends(kind: Kind, connect: Any) -> None:
    """Forwards in the last valid step, backwards in the first one: half by half, for each layer whose
    output is part of y.
    """
    layers = deep(kind, [3, 3, 3], connect=connect)
    x, mask = example(layers)
    y, state = layers(x, mask=mask)
    got, want = layers.final(state).detach().numpy(), y.detach().numpy()
    parts = 3 if "output" in layers.stack.connect else 1
    ahead = np.tile(np.repeat([True, False], y.shape[-1] // parts // 2), parts)
    for i in (0, 2, 3):
        valid = np.flatnonzero(mask[:, i])
        np.testing.assert_array_equal(
            got[i], np.where(ahead, want[valid[-1], i], want[valid[0], i])
        )
    assert not got[1].any()  # no valid step: what it began with
    one_way = kind.layers(2, [3, 3, 3], connect=connect)
    y, state = one_way(x[:, :1])
    same(one_way.final(state), y[-1], tolerance=0)


# ---- layers on layers --------------------------------------------------------------------------


@every_kind
@given(data=st.data())
def test_connections_are_what_they_say(kind: Kind, data: Any) -> None:
    """Layer by layer: y_l = layer(what it reads) + y_{l-1} if residual; it reads y_{l-1}, and x if
    "input"; the result is y_L, or all of them if "output".  And the gradients.
    """
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    connect = tuple(c for c in ("residual", "input", "output") if draw.flag())
    size = kind.hidden(draw)
    sizes = [size if "residual" in connect else max(size, draw.pick(2, 4)) for _ in range(3)]
    layers = deep(kind, sizes, connect=connect)
    x, mask = example(layers)
    y, state = layers(x, mask=mask)
    below, ys, states = x, [], []
    for layer in layers.stack.layers:
        out, s = layer(below, None, None, mask)
        ys.append(out + ys[-1] if ys and "residual" in connect else out)
        below = mg.cat([ys[-1], x], -1) if "input" in connect else ys[-1]
        states += list(s)
    want = mg.cat(ys, -1) if "output" in connect else ys[-1]
    letters = (state,) if len(layers.cells()[0].states) == 1 else state
    same((y, flat(zip(*letters))), (want, states), tolerance=0)
    wanted = list(layers.parameters())
    same(*(mg.grad(weighted(r), wanted) for r in (y, want)))


@every_growing_kind
def test_layers_of_different_widths(kind: Kind) -> None:
    """States are tuples, [N, H] for each layer and direction; they go in as they come out."""
    layers = deep(kind, [2, 4, 3])
    x, mask = example(layers, steps=6)
    _, state = layers(x, mask=mask)
    cells = layers.cells()
    states = as_tuple(state) if len(cells[0].states) > 1 else (state,)
    for letter, parts in zip(cells[0].states, states):
        assert [s.shape for s in parts] == [(4, cell.state_size(letter)) for cell in cells]
    first, between = kind.layers(2, [2, 4, 3]), None
    parts = []
    for cut in (slice(0, 2), slice(2, 6)):
        out, between = first(x[cut], between, mask=mask[cut])
        parts.append(out)
    whole, final = first(x, mask=mask)
    same((mg.cat(parts), flat(between)), (whole, flat(final)))
    alone, last = layers(x[:, 0])
    want, final = layers(x[:, :1])
    same((alone, flat(last)), (want[:, 0], [s[0] for s in flat(final)]), tolerance=0)
    again, _ = layers(x[:, 0], last)
    want, _ = layers(x[:, :1], final)
    same(again, want[:, 0], tolerance=0)
    same(layers.final(last), layers.final(final)[0], tolerance=0)


def test_dropout_spares_the_connections() -> None:
    """With everything dropped between layers, x and what lies below still arrive."""
    x = mg.randn(5, 3, 2)
    for connect in ("residual", "input", "output"):
        layers = nn.RNN(2, 4, 2, dropout=1.0, connect=connect, bias=False)
        below, top = layers.stack.layers
        a, _ = below(x)
        read = mg.zeros(5, 3, 4)
        b, _ = top(mg.cat([read, x], -1) if connect == "input" else read)
        want = {"residual": a + b, "input": b, "output": mg.cat([a, b], -1)}[connect]
        same(layers(x)[0], want, tolerance=0)


# ---- errors ------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused() -> None:
    rnn = nn.RNNCell

    def layer(inputs: int, hidden: int, **options: Any) -> Any:
        return nn.Bidirectional(rnn(inputs, hidden), rnn(inputs, hidden), **options)

    wrong: list[tuple[Any, str]] = [
        (lambda: nn.Stack([]), "Stack: at least one layer"),
        (lambda: nn.Stack([layer(2, 3)], connect="skip"), 'connect=\'skip\': "residual", "input"'),
        (
            lambda: nn.RNN(2, [3, 4], connect="residual"),
            'connect="residual": layer 1 gives 4 features, the one below 3: one width is needed',
        ),
        (
            lambda: nn.Stack([layer(2, 3), layer(6, 3)], connect="input"),
            "layer 1 reads what has 8 features; it was made for input_size=6",
        ),
        (
            lambda: nn.Stack([layer(2, 3, merge="both"), layer(6, 3)]),
            'merge="both" is for the topmost layer, not for layer 0',
        ),
        (
            lambda: nn.Stack([layer(2, 3), layer(6, 3, merge="both")], connect="output"),
            'connect="output" needs merge="concat" or "sum", not "both"',
        ),
        (
            lambda: nn.Stack([layer(2, 3), layer(6, 3, merge="both")], connect="residual"),
            r"layer 1 gives \(3, 3\) features, the one below 6",
        ),
        (lambda: layer(2, 3, merge="mean"), 'merge=\'mean\': "concat", "sum" or "both"'),
        (
            lambda: nn.Bidirectional(rnn(2, 3), rnn(2, 4), merge="sum"),
            'merge="sum" of 3 and 4 features: one width is needed',
        ),
        (lambda: nn.LSTM(2, 3, merge="sum"), "LSTM: merge='sum': bidirectional=True is needed"),
        (lambda: nn.GRU(2, []), "GRU: num_layers=0: at least 1"),
        (lambda: nn.GRU(2, [3, 4], 3), "GRU: 2 hidden sizes for num_layers=3: one for each"),
        (
            lambda: nn.GRU(2, [3, 4])(mg.zeros(5, 1, 2), (mg.zeros(1, 3), mg.zeros(1, 3))),
            r"GRU: state h \[\[1, 3\], \[1, 3\]\]: \[\[1, 3\], \[1, 4\]\] is needed",
        ),
        (
            lambda: nn.GRU(2, 3)(mg.zeros(5, 1, 2), targets=mg.zeros(5, 1, 3)),
            "targets: GRUCell does not feed back its output",
        ),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()


def test_they_say_what_they_are() -> None:
    layers = nn.LSTM(2, 3, 2, bidirectional=True, merge="sum", connect="residual", dropout=0.5)
    text = repr(layers)
    assert "Stack(dropout=0.5, connect=('residual',)" in text
    assert text.count("Bidirectional(merge='sum'") == 2
