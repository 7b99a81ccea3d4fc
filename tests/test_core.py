"""The door to the C core: what it refuses, copies, memory, instruction sets.  No input aborts."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from draw import Draw
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad import core
from minigrad.ops import loss, reduce, shape

DTYPES = ("float32", "float64", "int64", "bool")


# ---- copies ------------------------------------------------------------------------------------


@given(data=st.data())
def test_copies_between_any_layouts(data: Any) -> None:
    """core.copy_into against NumPy: all pairs of types, permuted, strided, broadcast."""
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    whole = draw.shape(0, 4, most=5)
    part = tuple(n if draw.pick(0, 3) else 1 for n in whole)[draw.pick(0, len(whole)) :]
    source, target = draw.choice(*DTYPES), draw.choice(*DTYPES)
    x = draw.laid_out((draw.values(part) * 3).astype(source))
    y = draw.laid_out(np.ones(whole, target))
    core.copy_into(core.from_numpy(y), core.from_numpy(x))
    np.testing.assert_array_equal(y, np.broadcast_to(x.astype(target), whole))


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 31, 257, 70_001])
def test_conversions(source: str, target: str, n: int) -> None:
    x = ((np.arange(n) % 7 - 3) * 0.75).astype(source)
    y = minigrad.from_numpy(x).to(np.dtype(target))
    assert y.dtype == target
    np.testing.assert_array_equal(y.numpy(), x.astype(target))
    # a transposed copy, whose blocks do not divide it
    square = np.arange(53 * 37).reshape(53, 37).astype(source)
    np.testing.assert_array_equal(
        minigrad.from_numpy(square.T).to(np.dtype(target)).numpy(), square.T.astype(target)
    )


def test_views_share_memory_and_keep_it_alive() -> None:
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    x = minigrad.from_numpy(a)
    x[1, 2] = 100.0
    assert a[1, 2] == 100
    view = minigrad.tensor(a).T[1:, ::2]
    b = view.numpy()
    del view
    np.testing.assert_array_equal(b, a.T[1:, ::2])
    whole = x.numpy()
    whole[0, 0] = -1
    assert a[0, 0] == -1


def test_from_numpy_copies_what_it_must() -> None:
    a = np.arange(6, dtype=np.float32)
    for odd in (a[::-1], np.broadcast_to(np.float32(2), (3,)), a.astype(">f4")):
        np.testing.assert_array_equal(minigrad.from_numpy(odd).numpy(), odd)
    a.flags.writeable = False
    x = minigrad.from_numpy(a)
    x.zero_()
    assert a[5] == 5
    record = np.zeros(3, dtype=[("a", "i1"), ("b", "f8")])  # an unaligned field
    np.testing.assert_array_equal((minigrad.from_numpy(record["b"]) + 1.0).numpy(), [1, 1, 1])
    assert minigrad.from_numpy(np.int8([1, -2])).dtype == np.int64
    assert minigrad.from_numpy(np.float16([1, -2])).dtype == np.float32
    for unfit in (
        np.array(["a"]),
        np.array([1j]),
        np.array([None]),
        np.array(["2020-01-01"], "M8[D]"),
    ):
        with pytest.raises(TypeError, match="no tensor of"):
            minigrad.from_numpy(unfit)


# ---- sizes -------------------------------------------------------------------------------------


def test_too_much_is_a_memory_error() -> None:
    for make in (
        lambda: minigrad.empty(1 << 60),
        lambda: minigrad.empty(1 << 31, 1 << 31),
        lambda: minigrad.ones(1).expand(1 << 50) + 1.0,
        lambda: minigrad.ones(1 << 20, 1) @ minigrad.ones(1, 1).expand(1, 1 << 40),
        lambda: minigrad.ones(1).expand(1 << 45).clone(),
        lambda: core.scatter_add(
            minigrad.empty(1 << 58, 4), minigrad.zeros(1, dtype=minigrad.int64), minigrad.ones(1, 4)
        ),
    ):
        with pytest.raises(MemoryError):
            make()


def test_sizes_beyond_64_bits() -> None:
    for shape_ in ((1 << 62, 1 << 62), (1 << 70,), (3, 1 << 63)):
        with pytest.raises((MemoryError, ValueError, OverflowError)):
            minigrad.empty(*shape_)
        with pytest.raises((MemoryError, ValueError, OverflowError)):
            minigrad.ones(1).expand(*shape_) + 1.0


def test_odd_shapes() -> None:
    for wrong in ((-1,), (2, -3)):
        for make in (minigrad.zeros, minigrad.empty, minigrad.ones, minigrad.randn):
            with pytest.raises(ValueError, match="negative"):
                make(*wrong)
    with pytest.raises((TypeError, ValueError)):
        minigrad.zeros(2.5)
    many = minigrad.ones(*[1] * 40)  # more dimensions than NumPy 1 has
    assert (many + many.transpose(0, 39)).sum().item() == 2.0
    deep = minigrad.ones(*[2] * 12).permute(*reversed(range(12)))
    assert (deep + 1.0).sum().item() == 2 * 2**12
    for empty in ((0,), (3, 0), (0, 3), (2, 0, 2)):
        x = minigrad.zeros(*empty, requires_grad=True)
        y = ((x + 1.0).exp() * x.T.T).tanh()
        assert y.shape == empty
        y.sum().backward()
        assert x.grad is not None
        assert x.grad.shape == empty


def test_reductions_of_nothing() -> None:
    x = minigrad.zeros(2, 0)
    assert x.sum(1).tolist() == [0, 0]
    assert x.prod(1).tolist() == [1, 1]
    assert x.logsumexp(1).tolist() == [-math.inf] * 2
    assert all(map(math.isnan, x.mean(1).tolist()))
    assert all(map(math.isnan, x.var(1).tolist()))
    assert x.sum(0).shape == (0,)
    assert x.amax(0).shape == (0,)
    for f in (reduce.amax, reduce.amin, reduce.argmax, reduce.argmin, reduce.max):
        with pytest.raises(ValueError, match=r"no elements.*\[2, 0\]"):
            f(x, 1)


def classes(*values: int) -> Any:
    return minigrad.tensor(list(values))


# ---- arguments that make no sense --------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x.sum(2), IndexError, "dimension 2 of a tensor with 2"),
        (lambda x: x.sum((0, 0)), ValueError, "twice"),
        (lambda x: x.softmax(-3), IndexError, "dimension -3"),
        (lambda x: x.transpose(0, 2), IndexError, "dimension 2"),
        (lambda x: x.permute(0, 0), ValueError, "permute"),
        (lambda x: x.reshape(7), ValueError, r"\[2, 3\].*\[7\]"),
        (lambda x: x.reshape(-1, -1), ValueError, r"\[-1, -1\]"),
        (lambda x: x.reshape(-1, 4), ValueError, "6 elements"),
        (lambda x: x.expand(4, 3), ValueError, r"\[2, 3\] does not expand to \[4, 3\]"),
        (lambda x: x[2], IndexError, "index 2 is out of range for dimension 0 of size 2"),
        (lambda x: x[-3], IndexError, "index -3"),
        (lambda x: x[0, 0, 0], IndexError, "3 indices"),
        (lambda x: x[minigrad.tensor([0, 2])], IndexError, "index 2 at position"),
        (lambda x: x[minigrad.tensor([True, False, True])], IndexError, "."),
        (lambda x: x["a"], (IndexError, TypeError), "."),
        (lambda x: x[1.5], (IndexError, TypeError), "."),
        (lambda x: x[::-1], ValueError, "flip"),
        (lambda x: x[..., ...], IndexError, "ellips"),
        (lambda x: x.narrow(1, 2, 2), IndexError, "narrow"),
        (lambda x: x.split([1, 2]), ValueError, r"\[1, 2\] do not add up to 2"),
        (lambda x: x.split(0), ValueError, "at least 1"),
        (lambda x: x.chunk(0), ValueError, "at least 1"),
        (lambda x: shape.cat([x, x.T]), ValueError, r"cat: float32 \[2, 3\] and float32 \[3, 2\]"),
        (lambda _: shape.cat([]), ValueError, "at least one"),
        (lambda x: shape.stack([x, x[0]]), ValueError, "stack"),
        (lambda x: shape.cat([x, x.double()]), ValueError, "float64"),
        (lambda x: x @ 2.0, ValueError, "matmul"),
        (lambda x: x @ x, ValueError, r"matmul: \[2, 3\] @ \[2, 3\]"),
        (lambda x: x.item(), ValueError, "6 elements"),
        (bool, ValueError, "6 elements"),
        (lambda x: x.to(np.complex64), TypeError, "float32, float64, int64 and bool"),
        (lambda x: minigrad.take(x, x), TypeError, "indices must be int64"),
        (lambda x: x.gather(1, minigrad.tensor([[3]])), IndexError, "index 3"),
        (lambda x: x.gather(1, minigrad.tensor([[-1]])), IndexError, "index -1"),
        (lambda x: x.gather(1, minigrad.tensor([0])), ValueError, "gather"),
        (lambda x: minigrad.maximum(x, minigrad.ones(2)), ValueError, "maximum"),
        (lambda x: minigrad.where(x > 0, x, minigrad.ones(2)), ValueError, "where"),
        (lambda x: x.clip(minigrad.ones(2), 3.0), ValueError, "clip"),
        (lambda x: minigrad.max(x, x), TypeError, "maximum or minimum"),
        (lambda x: minigrad.gelu(x, approximate="erf"), ValueError, "'none' or 'tanh'"),
        (lambda x: loss.mse_loss(x, x, reduction="avg"), ValueError, "'mean', 'sum' or 'none'"),
        (lambda x: loss.mse_loss(x, x.T), ValueError, r"\[2, 3\] and target \[3, 2\]"),
        (lambda x: loss.cross_entropy(x, classes(0, 3)), IndexError, r"index 3 at position \[1\]"),
        (lambda x: loss.cross_entropy(x, minigrad.tensor([0, -1])), IndexError, "index -1"),
        (lambda x: loss.cross_entropy(x, minigrad.tensor([0.0, 1.0])), TypeError, "int64"),
        (lambda x: loss.cross_entropy(x, classes(0, 1, 2)), ValueError, r"\[2, 3\].*\[3\]"),
        (lambda x: loss.nll_loss(x, minigrad.tensor([0, 3])), IndexError, "index 3"),
        (lambda x: loss.nll_loss(x, minigrad.tensor([0, 1, 2])), ValueError, r"."),
        (lambda _: minigrad.tensor([[1.0], [1.0, 2.0]]), ValueError, "."),
        (lambda x: x.copy_(minigrad.ones(4)), ValueError, r"\[4\]"),
        (lambda x: x.__setitem__((0, 5), 1.0), IndexError, "index 5"),
        (lambda x: x.__setitem__(0, minigrad.ones(4)), ValueError, r"\[4\]"),
        (lambda x: x.long().mean(), TypeError, "float"),
        (lambda x: (x > 0).logsumexp(), TypeError, "float"),
        (lambda _: core.use_isa("mmx"), ValueError, "'mmx'.*baseline"),
        (lambda _: core.use_isa(""), ValueError, "instruction set"),
        (lambda _: core.set_num_threads(0), ValueError, "from 1 on"),
        (lambda _: core.set_num_threads(-3), ValueError, "-3"),
    ],
)  # fmt: skip
def test_nonsense_is_an_exception(call: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        call(minigrad.ones(2, 3))


def test_indices_are_checked_before_any_write() -> None:
    table = minigrad.zeros(3, 2)
    for bad in (3, -4, 1 << 62, -(1 << 62)):
        with pytest.raises(IndexError, match=str(bad)):
            core.scatter_add(table, minigrad.tensor([0, bad]), minigrad.ones(2, 2))
        with pytest.raises(IndexError, match=str(bad)):
            minigrad.take(table, minigrad.tensor([0, bad]))
    with pytest.raises(IndexError):
        minigrad.take(minigrad.zeros(0, 2), minigrad.tensor([0]))
    assert minigrad.take(minigrad.zeros(0, 2), minigrad.zeros(0, dtype=minigrad.int64)).shape == (
        0,
        2,
    )


def test_in_place_sums_refuse_what_does_not_fit() -> None:
    """add_into and muladd_into hand C memory to write to: shapes and types are checked first."""
    y = minigrad.zeros(2, 1)
    with pytest.raises(ValueError, match="add"):
        core.add_into(y, minigrad.ones(2, 1, dtype=minigrad.float64))
    core.muladd_into(y, minigrad.ones(2, 3), minigrad.ones(2, 3))  # summed over what y lacks
    assert y.tolist() == [[3.0], [3.0]]
    with pytest.raises(ValueError, match="sum_to"):
        core.gemm_tn_into(minigrad.zeros(3, 3), minigrad.ones(2, 3), minigrad.ones(2, 2))
    with pytest.raises(ValueError, match="scatter_add"):
        core.scatter_add(y, minigrad.tensor([0, 1]), minigrad.ones(1, 1))
    with pytest.raises(ValueError, match="softmax_grad"):
        core.rows("softmax_grad", minigrad.ones(3, 2), minigrad.ones(2, 2))
    with pytest.raises(ValueError, match="sgd"):
        core.Update("sgd", [(minigrad.zeros(4), minigrad.ones(2), None)])
    with pytest.raises(ValueError, match=r"step: a gradient float32 \[2\] for \[4\]"):
        core.Update("sgd", [(minigrad.zeros(4), None, None)])([minigrad.ones(2)], [0.1] * 8)
    with pytest.raises(ValueError, match="strided"):
        core.Arrays([minigrad.ones(2, 3)[:, ::2]])
    with pytest.raises(TypeError, match="int64"):
        core.Arrays([minigrad.arange(3)])
    with pytest.raises(ValueError, match="add"):  # C writes results in order
        core.add_into(minigrad.zeros(3, 2)[:, 1], minigrad.ones(3))


# ---- the special values of what is reduced -----------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 16, 33, 200])
def test_nan_and_infinity_in_reductions(n: int, dtype: str, isa: str) -> None:
    """NaN wins everywhere, its place is the argmax; infinities are numbers like others."""
    del isa
    for place in {0, n // 2, n - 1}:
        for inner in (1, 5):
            a = np.random.default_rng(n).standard_normal((3, n, inner)).astype(dtype)
            a[1, place, 0] = np.nan
            a[2, place, 0] = np.inf
            x = minigrad.from_numpy(a)
            np.testing.assert_array_equal(x.amax(1).numpy(), np.max(a, 1))
            np.testing.assert_array_equal(x.amin(1).numpy(), np.min(a, 1))
            np.testing.assert_array_equal(x.argmax(1).numpy(), np.argmax(a, 1))
            np.testing.assert_array_equal(x.argmin(1).numpy(), np.argmin(a, 1))
            for y in (x.sum(1), x.mean(1), x.logsumexp(1), x.prod(1), x.var(1)):
                assert np.isnan(y.numpy()[1, 0])
                assert not np.isfinite(y.numpy()[2, 0]).any()
                assert np.isfinite(y.numpy()[0]).all() or n == 1
            for y in (x.softmax(1), x.log_softmax(1)):
                assert np.isnan(y.numpy()[1, :, 0]).all()
                assert np.isfinite(y.numpy()[0]).all()


def test_infinities_in_logsumexp_and_softmax(dtype: str, isa: str) -> None:
    del isa
    inf = math.inf
    x = minigrad.tensor(
        [[-inf] * 3, [inf, 0, 1], [-inf, 0.0, -inf], [1e30, 1e30, -1e30]], dtype=dtype
    )
    log_2 = np.log(np.array(2, dtype))
    np.testing.assert_array_equal(
        x.logsumexp(1).numpy(), np.array([-inf, inf, 0, 1e30 + log_2], dtype)
    )
    y = x.softmax(1).numpy()
    assert np.isnan(y[0]).all()
    assert np.isnan(y[1]).any()
    np.testing.assert_array_equal(y[2:], [[0, 1, 0], [0.5, 0.5, 0]])
    np.testing.assert_array_equal(x[2].log_softmax(0).numpy(), [-inf, 0, -inf])


@pytest.mark.parametrize(
    "shape_", [(100_003,), (3, 40_000, 2), (5000, 17), (17, 5000), (2, 3, 9000)]
)
def test_large_reductions(shape_: tuple[int, ...], dtype: str) -> None:
    """Sizes beyond the blocks that the kernels cut: n ε Σ|x| bounds any order of summing, and the
    kernels' blocks keep the error far below: 100 ε Σ|x|."""
    a = np.random.default_rng(0).standard_normal(shape_).astype(dtype)
    x, wide = minigrad.from_numpy(a), a.astype(np.longdouble)
    eps = np.finfo(dtype).eps
    for axes in {None, 0, len(shape_) - 1, tuple({0, len(shape_) - 1})}:
        size = np.abs(wide).sum(axes)
        count = a.size / size.size
        assert (abs(x.sum(axes).numpy() - wide.sum(axes)) <= 100 * eps * size).all()
        assert (abs(x.mean(axes).numpy() - wide.mean(axes)) <= 100 * eps * size / count).all()
        np.testing.assert_array_equal(x.amax(axes).numpy(), a.max(axes))
        np.testing.assert_allclose(x.var(axes).numpy(), wide.var(axes, ddof=1), rtol=1000 * eps)
        lse = np.log(np.exp(wide).sum(axes))
        np.testing.assert_allclose(x.logsumexp(axes).numpy(), lse, rtol=100 * eps, atol=100 * eps)
    for axis in range(a.ndim):
        np.testing.assert_array_equal(x.argmax(axis).numpy(), a.argmax(axis))
    assert x.argmax().item() == a.argmax()


def test_ties(dtype: str) -> None:
    """argmax and max: the first; amax: all share; maximum: halves.  prod with 0, 1, 2 zeros."""
    x = minigrad.tensor([[2.0, 5.0, 5.0, 1.0]], dtype=dtype, requires_grad=True)

    def slope(y: Any) -> Any:
        return minigrad.grad(y.sum(), x)[0].tolist()[0]

    assert x.argmax(1).tolist() == [1]
    assert slope(x.max(1).values) == [0, 1, 0, 0]
    assert slope(x.amax(1)) == [0, 0.5, 0.5, 0]
    assert slope(minigrad.maximum(x, x.detach())) == [0.5] * 4
    assert slope(minigrad.maximum(x, 5.0)) == [0, 0.5, 0.5, 0]
    assert slope(x.clip(2.0, 4.0)) == [1, 0, 0, 0]
    for values, expected in (
        ([2.0, 3.0, 4.0], [12, 8, 6]),
        ([0.0, 3.0, 4.0], [12, 0, 0]),
        ([0.0, 3.0, 0.0], [0, 0, 0]),
    ):
        p = minigrad.tensor(values, dtype=dtype, requires_grad=True)
        assert minigrad.grad(p.prod(), p)[0].tolist() == expected


def test_powers_at_their_edges(dtype: str) -> None:
    a = minigrad.tensor([0.0, 0.0, 2.0, -2.0, 0.0, 1.0], dtype=dtype, requires_grad=True)
    b = minigrad.tensor([0.0, 2.0, 0.0, 3.0, 1.0, 5.0], dtype=dtype, requires_grad=True)
    y = a**b
    assert y.tolist() == [1, 0, 1, -8, 0, 1]
    y[:3].sum().backward(retain_graph=True)
    assert a.grad is not None
    assert b.grad is not None
    assert a.grad.tolist()[:3] == [0, 0, 0]
    np.testing.assert_allclose(b.grad.tolist()[1:3], [0, math.log(2)], rtol=1e-6)
    assert minigrad.grad((a**2).sum(), a)[0].tolist() == [0, 0, 4, -4, 0, 2]
    assert minigrad.grad((a**1).sum(), a)[0].tolist() == [1] * 6
    assert minigrad.grad((a**0).sum(), a)[0].tolist() == [0] * 6
    assert minigrad.grad((2.0**b).sum(), b)[0].shape == (6,)


def test_mean_over_no_targets_is_nan() -> None:
    x, ignored = minigrad.ones(2, 3), minigrad.tensor([-100, -100])
    for f in (loss.cross_entropy, loss.nll_loss):
        assert math.isnan(f(x, ignored).item())
        assert f(x, ignored, reduction="sum").item() == 0.0


# ---- memory, threads, instruction sets ---------------------------------------------------------


def test_blocks_are_reused() -> None:
    core.trim()
    x = minigrad.ones(1 << 18)
    used, kept = core.memory()
    for _ in range(10):
        x + 1.0
        assert core.memory()[0] == used
    assert core.memory()[1] <= kept + (1 << 20)
    core.trim()
    assert core.memory() == (used, 0)


def test_same_bits_for_any_number_of_threads() -> None:
    before = core.get_num_threads()
    x, w = minigrad.randn(300, 400), minigrad.randn(400, 500)
    results = []
    try:
        for n in (1, 2, 3):
            core.set_num_threads(n)
            assert core.get_num_threads() == n
            y = ((x @ w).tanh() + 1.0).softmax(-1)
            results.append((y.numpy().tobytes(), y.sum(0).numpy().tobytes(), y.sum().item()))
    finally:
        core.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_instruction_sets() -> None:
    before = core.isa()
    assert core.isas()[0] == "baseline"
    assert before in core.isas()
    try:
        for name in core.isas():
            core.use_isa(name)
            assert core.isa() == name
    finally:
        core.use_isa(before)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [("MINIGRAD_ISA", "sse9"), ("MINIGRAD_NUM_THREADS", "many"), ("MINIGRAD_NUM_THREADS", "0"),
     ("MINIGRAD_NUM_THREADS", "-2"), ("MINIGRAD_NUM_THREADS", "1e9")],
)  # fmt: skip
def test_garbage_in_the_environment(variable: str, value: str) -> None:
    done = run("import minigrad", **{variable: value})
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert variable in last
    assert value in last


def test_the_environment_chooses() -> None:
    for name in core.isas():
        code = "from minigrad import core; print(core.isa(), core.get_num_threads())"
        done = run(code, MINIGRAD_ISA=name, MINIGRAD_NUM_THREADS="3")
        assert done.stdout.split() == [name, "3"], done.stderr


# ---- making tensors ----------------------------------------------------------------------------


def test_types_of_new_tensors() -> None:
    f32, f64, i64, b8 = minigrad.float32, minigrad.float64, minigrad.int64, minigrad.bool_
    for x, dtype in (
        (minigrad.tensor(1.0), f32),
        (minigrad.tensor([1, 2]), i64),
        (minigrad.tensor([True]), b8),
        (minigrad.tensor(np.ones(2)), f64),
        (minigrad.tensor(minigrad.ones(2, dtype=f64)), f64),
        (minigrad.tensor([1, 2], dtype=f64), f64),
        (minigrad.zeros(2), f32),
        (minigrad.full((2,), 3), i64),
        (minigrad.full((2,), 3.0), f32),
        (minigrad.full((2,), True), b8),
        (minigrad.arange(3), i64),
        (minigrad.arange(0, 1, 0.25), f32),
        (minigrad.randint(5, size=(2,)), i64),
        (minigrad.eye(2), f32),
    ):
        assert x.dtype == dtype
    minigrad.set_default_dtype(f64)
    try:
        assert (
            minigrad.tensor(1.0).dtype == minigrad.zeros(1).dtype == minigrad.randn(1).dtype == f64
        )
    finally:
        minigrad.set_default_dtype(f32)
    with pytest.raises(TypeError, match="float32 or float64"):
        minigrad.set_default_dtype(i64)


def test_random_numbers_repeat() -> None:
    minigrad.manual_seed(3)
    state = minigrad.get_rng_state()
    first = [
        minigrad.randn(4).tolist(),
        minigrad.rand(2, 2).tolist(),
        minigrad.randperm(5).tolist(),
    ]
    minigrad.manual_seed(3)
    assert first == [
        minigrad.randn(4).tolist(),
        minigrad.rand(2, 2).tolist(),
        minigrad.randperm(5).tolist(),
    ]
    minigrad.set_rng_state(state)
    assert first[0] == minigrad.randn(4).tolist()
