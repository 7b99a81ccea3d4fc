"""Regularised layers in the kernels for whole sequences, with what they draw in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cell_table import Kind, every_noisy_kind, same, weighted
from draw import Draw, seeded
from fused_pair import Pair
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import core, nn
from minigrad._core import ffi, lib


@pytest.mark.usefixtures("machine")
@every_noisy_kind
@given(data=st.data())
def test_fused_is_readable(kind: Kind, data: Any) -> None:
    """Over sizes, layers, directions, lengths, types, instruction sets and threads."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    core.use_isa(draw.choice(*core.isas()))
    core.set_num_threads(draw.pick(1, 2))
    Pair(kind, draw, draw.choice("float64", "float32")).compare()


@every_noisy_kind
def test_fused_is_readable_with_each_instruction_set(kind: Kind, isa: str, dtype: str) -> None:
    del isa
    for seed in range(2):
        Pair(kind, seeded(seed), dtype, most=2, steps=12).compare()


@pytest.mark.usefixtures("machine")
@every_noisy_kind
@pytest.mark.parametrize("sizes", [(20, 64, 256), (5, 4, 512)], ids=["rows", "columns"])
def test_threads_give_the_same_bits(kind: Kind, sizes: Any) -> None:
    """Large enough to be cut: the rows of a batch, or the columns of each product."""
    t, n, h = sizes
    layer = nn.Recurrent(kind.make(h, h, dtype="float32"), fused=True)
    x, results = mg.randn(t, n, h, requires_grad=True), []
    for threads in (1, 3):
        core.set_num_threads(threads)
        mg.manual_seed(0)
        y, state = layer(x, None, np.arange(n) % (t + 1))
        results.append((y, state, mg.grad(weighted((y.double(),)), [x, *layer.parameters()])))
    same(results[0], results[1], tolerance=0)


def test_the_door_refuses_options_that_do_not_fit() -> None:
    """Those that a cell does not have; gains beside W; an x that is no x W."""
    there = ffi.new("double[]", 1)

    def statuses(cell: str, options: Any, arrays: Any = (), steps: int = 0) -> set[int]:
        form = ffi.new("int64_t[]", [core.F64, core.SEQ[cell], steps, 0, 3, 5, 5, 0, 0, 1, 5, 1])
        given = ffi.new(f"void *[{lib.MG_ARG_DC0 + 1}]")
        more = ffi.new(f"void *[{lib.MG_OPT_DBC + 1}]")
        for places, to in ((arrays, given), (options, more)):
            for place in places:
                to[place] = there
        calls = (lib.mg_sequence_forward, lib.mg_sequence_backward)
        return {call(form, given, more, ffi.NULL) for call in calls}

    W, U, Un = lib.MG_ARG_W, lib.MG_ARG_U, lib.MG_ARG_UN
    assert statuses("lstm", [lib.MG_OPT_GU, lib.MG_OPT_GC, lib.MG_OPT_KEEP_C], [U]) == {lib.MG_OK}
    assert statuses("gru", [lib.MG_OPT_GU, lib.MG_OPT_GUN, lib.MG_OPT_MASK], [U, Un]) == {lib.MG_OK}
    for cell, options, arrays in (
        ("lstm", [lib.MG_OPT_GU], [W, U]),
        ("lstm", [lib.MG_OPT_GUN], [U]),
        ("gru", [lib.MG_OPT_GC], [U, Un]),
        ("rnn_tanh", [lib.MG_OPT_KEEP_C], [W, U]),
        ("clockwork_tanh", [lib.MG_OPT_KEEP_H], [W, U]),
    ):
        assert statuses(cell, options, arrays) == {lib.MG_BAD_OP}, cell
    assert statuses("rnn_tanh", [lib.MG_OPT_MASK], [U], steps=1) == {lib.MG_BAD_OP}
