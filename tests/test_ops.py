"""Every op: values against NumPy, derivatives against differences, both against PyTorch."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import oracles
import pytest
from draw import Domain, Draw, seeded
from hypothesis import given
from hypothesis import strategies as st
from op_row import Fixed, Row
from op_table import ROWS

import minigrad
from minigrad import Tensor
from minigrad.ops import loss as loss_ops
from minigrad.ops import rows

WIDE = np.longdouble
every_row = pytest.mark.parametrize("row", ROWS, ids=[r.id for r in ROWS])
elementwise_rows = pytest.mark.parametrize(
    "row", [r for r in ROWS if r.ulps], ids=[r.id for r in ROWS if r.ulps]
)
differentiable_rows = pytest.mark.parametrize(
    "row", [r for r in ROWS if r.differentiable], ids=[r.id for r in ROWS if r.differentiable]
)


def converted(args: Any, array: Callable[[Any, bool], Any]) -> Any:
    """The arguments with array(values, whether a gradient is wanted) in place of each array."""
    if isinstance(args, Fixed):
        return array(args.values, False)
    if isinstance(args, np.ndarray):
        return array(args, args.dtype == np.float64)
    if isinstance(args, dict):
        return {k: converted(v, array) for k, v in args.items()}
    return type(args)(converted(a, array) for a in args) if type(args) in (list, tuple) else args


def call(f: Any, sample: Any, array: Callable[[Any, bool], Any], *first: Any) -> list[Any]:
    """f on the sample, its arrays converted; a list of results in any case."""
    args, options = converted(sample, array)
    y = f(*first, *args, **options)
    return list(y) if isinstance(y, (tuple, list)) else [y]


def cast(a: Any, dtype: str) -> Any:
    """Floats as dtype; integers and bools as they are."""
    return a.astype(dtype) if a.dtype == np.float64 else a


def inputs(
    draw: Draw, dtype: str, *, grad: bool = False
) -> tuple[Callable[[Any, bool], Any], list[Tensor]]:
    """(array -> tensor in some memory layout, where the tensors that want gradients are listed)"""
    tracked: list[Tensor] = []

    def array(a: Any, wanted: bool) -> Tensor:
        x = minigrad.from_numpy(draw.laid_out(cast(a, dtype)))
        if grad and wanted:
            tracked.append(x.requires_grad_())
        return x

    return array, tracked


def wide(dtype: str) -> Callable[[Any, bool], Any]:
    """Array -> the same numbers, rounded to dtype, in the precision of the oracles."""
    return lambda a, _: cast(a, dtype).astype(WIDE) if a.dtype == np.float64 else a


def agree(y: Any, expected: Any, dtype: str, digits: float = 64) -> None:
    """Equal shapes, and |y - expected| <= digits ε (1 + max |expected|).

    The operands have up to 64 elements of size up to 3: 64 terms' rounding errors, each ε/2 of what
    has been added up so far, stay below 64 ε times the largest partial result.
    """
    y, expected = np.asarray(y), np.asarray(expected)
    assert y.shape == expected.shape
    if y.dtype.kind in "bi":
        np.testing.assert_array_equal(y, expected)
        return
    finite = np.abs(expected[np.isfinite(expected)], dtype=float)
    bound = digits * np.finfo(dtype).eps * (1 + max(finite, default=0))
    np.testing.assert_allclose(y.astype(WIDE), expected, rtol=0, atol=bound)


# ---- values ------------------------------------------------------------------------------------


@every_row
@given(data=st.data())
def test_values(row: Row, dtype: str, data: Any) -> None:
    """What NumPy gives, in a wider type."""
    check_values(row, Draw(lambda low, high: data.draw(st.integers(low, high))), dtype)


def check_values(row: Row, draw: Draw, dtype: str) -> None:
    sample = row.sample(draw)
    results = call(row.f, sample, inputs(draw, dtype)[0])
    expected = call(row.oracle, sample, wide(dtype))
    assert len(results) == len(expected)
    for y, e in zip(results, expected):
        assert y.dtype == dtype or y.dtype.kind in "bi" or row.name == "to"
        agree(y, e, dtype)


@every_row
def test_values_with_each_instruction_set(row: Row, dtype: str, isa: str) -> None:
    """The same for the kernels that this machine does not use by default."""
    del isa
    for seed in range(20):
        check_values(row, seeded(seed), dtype)


def spread(draw: Draw, n: int, dtype: str, domain: Any) -> Any:
    """Numbers from everywhere: the domain, all exponents, any bits at all, and the special ones."""
    info = np.finfo(dtype)
    low, high = (domain.low, domain.high) if isinstance(domain, Domain) else (-3, 3)
    bits = draw.rng.integers(0, 256, n * info.dtype.itemsize, dtype=np.uint8).view(dtype)
    exponents = draw.rng.uniform(info.minexp - info.nmant, info.maxexp, n)
    signs = draw.rng.choice([-1.0, 1.0], n)
    tiny, most = info.smallest_subnormal, info.max
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny, info.tiny, -info.tiny, most, -most]
    special += [
        1.0,
        -1.0,
        0.5,
        2.0,
        3.0,
        -2.0,
        -3.0,
        info.tiny - tiny,
        1 + info.eps,
        1 - info.epsneg,
    ]
    with np.errstate(all="ignore"):
        parts = (
            draw.rng.uniform(low, high, n),
            draw.rng.uniform(-100, 100, n),
            signs * np.exp2(exponents),
            bits,
            draw.rng.choice(special, n),
        )
        return np.choose(draw.rng.integers(0, len(parts), n), [p.astype(dtype) for p in parts])


def ulps(y: Any, exact: Any) -> Any:
    """|y - exact| in units in the last place of `exact`, 0 if both are the same infinity or NaN."""
    rounded = exact.astype(y.dtype)  # overflows to infinity where the exact result does
    same = (y == rounded) | (np.isnan(y) & np.isnan(rounded))
    info = np.finfo(y.dtype)
    unit = np.maximum(np.spacing(np.minimum(np.abs(rounded), info.max)), info.smallest_subnormal)
    # an infinity counts as the next number after the largest
    near = np.where(np.isinf(y), np.sign(y) * WIDE(info.max) * (1 + WIDE(info.eps)), y.astype(WIDE))
    error = np.abs(near - exact) / unit
    return np.where(same, 0, np.where(np.isnan(error), np.inf, error))


#: Rows whose zeros may have either sign: maximum(0, -0) and the like, and 0 · (-1) by another way.
EITHER_ZERO = {
    "logsigmoid",
    "sign",
    "relu",
    "maximum",
    "minimum",
    "clip",
    "leaky_relu",
    "elu",
    "gelu",
}


@elementwise_rows
def test_any_float(row: Row, dtype: str, isa: str) -> None:
    """NaN, infinities, zeros, denormals and all the rest: within bounds on each instruction set."""
    del isa
    draw = seeded(0)
    n = 20_000
    args = [spread(draw, n, dtype, domain) for domain in row.domains]
    y = np.asarray(row.f(*map(minigrad.from_numpy, args)))
    with np.errstate(all="ignore"):
        exact = np.asarray(row.oracle(*(a.astype(WIDE) for a in args)), WIDE)
        error = ulps(y, exact)
    assert row.ulps is not None
    worst = int(np.argmax(error))
    assert error[worst] <= row.ulps[dtype == "float64"], (
        f"{error[worst]} ULP: {row.id}({[a[worst] for a in args]}) = {y[worst]}, not {exact[worst]}"
    )
    zero = (exact == 0) & (y == 0)
    if row.name not in EITHER_ZERO:
        np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(exact[zero]))


SIZES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 257, 1000)


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.domains], ids=[r.id for r in ROWS if r.domains]
)
def test_place_and_layout_change_nothing(row: Row, dtype: str, isa: str) -> None:
    """An element's result has the same bits in vectors of any size and in any memory layout."""
    del isa
    draw = seeded(1)
    args = [spread(draw, 1000, dtype, domain) for domain in row.domains]

    def bits(*arrays: Any) -> Any:
        y = np.asarray(row.f(*map(minigrad.from_numpy, arrays)))
        y = np.where(np.isnan(y), np.nan, y).astype(y.dtype)  # whichever NaN
        return np.ascontiguousarray(y).view(f"u{y.itemsize}")

    whole = bits(*args)
    for n in SIZES:
        np.testing.assert_array_equal(bits(*(a[:n] for a in args)), whole[:n])
        np.testing.assert_array_equal(bits(*(a[1000 - n :] for a in args)), whole[1000 - n :])
    cube, tensor = whole.reshape(10, 4, 25), [a.reshape(10, 4, 25) for a in args]
    np.testing.assert_array_equal(bits(*(a.T for a in tensor)), cube.T)
    np.testing.assert_array_equal(bits(*(a.swapaxes(0, 1) for a in tensor)), cube.swapaxes(0, 1))
    np.testing.assert_array_equal(
        bits(*(a[1::2, ::3, 2::2] for a in tensor)), cube[1::2, ::3, 2::2]
    )
    mixed = [a if i % 2 else np.array(a.T).T for i, a in enumerate(tensor)]  # strides that differ
    np.testing.assert_array_equal(bits(*mixed), cube)
    if len(args) > 1:
        a, b, *rest = tensor
        for x, y in (
            (a, b[:, :1, :]),
            (a[:1], b),
            (a[..., :1], b[:, :1]),
            (a[0, 0], b),
            (a[0, 0, 0], b),
        ):
            full = [np.array(v) for v in np.broadcast_arrays(x, y)]
            np.testing.assert_array_equal(bits(x, y, *rest), bits(*full, *rest))


def test_integers_mix_with_floats(dtype: str) -> None:
    """int64 and bool operands take the type of their float partner."""
    x = minigrad.tensor([1.5, -2.0], dtype=dtype, requires_grad=True)
    counts, mask = minigrad.tensor([2, 3]), minigrad.tensor([True, False])
    for y, expected in (
        (x * counts, [3.0, -6.0]),
        (counts - x, [0.5, 5.0]),
        (x * mask, [1.5, 0.0]),
        (mask + x, [2.5, -2.0]),
        (minigrad.where(mask, x, 0), [1.5, 0.0]),
    ):
        assert y.dtype == dtype
        assert y.tolist() == expected
        x.grad = None
        y.sum().backward()
        assert x.grad.dtype == dtype
    assert (counts + mask).dtype == minigrad.int64
    assert (counts * 2 - 1).tolist() == [3, 5]
    assert (counts / 2).dtype == minigrad.float32


def test_conversion_and_back() -> None:
    """Gradients come back in the type of the operand."""
    for source, target in (("float32", "float64"), ("float64", "float32")):
        x = minigrad.tensor([1.0, 2.0], dtype=source, requires_grad=True)
        y = x.to(np.dtype(target)) * 3.0
        assert y.dtype == target
        (dx,) = minigrad.grad(y.sum(), x)
        assert dx.dtype == source
        assert dx.tolist() == [3.0, 3.0]
    assert minigrad.tensor([2.7, -2.7, 0.0]).to(minigrad.int64).tolist() == [2, -2, 0]
    assert minigrad.tensor([2.7, -0.0]).to(minigrad.bool_).tolist() == [True, False]


# ---- sizes beyond one vector, one tile, one block -----------------------------------------------


@pytest.mark.parametrize("n", [*SIZES[1:], 5000])
def test_rows_of_any_length(n: int, dtype: str, isa: str) -> None:
    """Softmax and its kin with their gradients, against the equations in a wider type.

    Every element comes out of at most two sums over the row, whose rounding errors average out:
    64 ε of the largest element holds for 5000 terms as for 2.
    """
    del isa
    rng = np.random.default_rng(n)
    a, g = (rng.standard_normal((3, n)).astype(dtype) for _ in range(2))
    t = rng.integers(0, n, 3)
    x = minigrad.from_numpy(a).requires_grad_()
    wide_a, wide_g = a.astype(WIDE), g.astype(WIDE)
    p = oracles.softmax(wide_a)
    d = wide_a - wide_a.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5)
    y = d * rstd
    back = wide_g - wide_g.mean(-1, keepdims=True) - y * (wide_g * y).mean(-1, keepdims=True)
    hot = np.eye(n, dtype=WIDE)[t] if n <= 1000 else (np.arange(n) == t[:, None]).astype(WIDE)
    for f, value, slope in (
        (lambda x: x.softmax(-1), p, p * (wide_g - (wide_g * p).sum(-1, keepdims=True))),
        (
            lambda x: x.log_softmax(-1),
            np.log(p),
            wide_g - p * wide_g.sum(-1, keepdims=True),
        ),
        (lambda x: rows.layer_norm(x, n), y, rstd * back),
    ):
        result = f(x)
        agree(result, value, dtype)
        agree(minigrad.grad(result, x, minigrad.from_numpy(g))[0], slope, dtype)
        turned = f(minigrad.from_numpy(np.array(a.T)).T)  # rows that are not contiguous
        np.testing.assert_array_equal(turned.numpy(), result.detach().numpy())
    loss = loss_ops.cross_entropy(x, minigrad.from_numpy(t), reduction="none")
    agree(loss, -(np.log(p) * hot).sum(-1), dtype)
    (dx,) = minigrad.grad(loss, x, minigrad.from_numpy(g[:, 0].copy()))
    agree(dx, wide_g[:, :1] * (p - hot), dtype)


@pytest.mark.parametrize(
    ("m", "k", "n"),
    [
        *[(1, s, 1) for s in (1, 7, 64, 257)],
        *[(s, 3, s) for s in (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65)],
        *[(s, 65, 130) for s in (1, 2, 5, 6, 8, 13)],
        *[(70, s, 49) for s in (0, 1, 2, 31, 100, 300)],
        *[(37, 20, s) for s in (1, 47, 48, 49, 95, 97, 200)],
        (0, 4, 5),
        (5, 4, 0),
    ],
)
def test_products_of_any_size(m: int, k: int, n: int, dtype: str, isa: str) -> None:
    """A B, operands plain, transposed, strided: |error| <= k ε |A| |B| for any order of summing."""
    del isa
    rng = np.random.default_rng(m + k + n)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    exact = (
        a.astype(np.float64) @ b.astype(np.float64)
        if dtype == "float32"
        else (a.astype(WIDE) @ b.astype(WIDE))
    )
    bound = k * np.finfo(dtype).eps * (np.abs(a).astype(float) @ np.abs(b).astype(float))
    for left in (a, np.array(a.T).T, np.repeat(a, 2, 1)[:, ::2]):
        for right in (b, np.array(b.T).T, np.repeat(b, 2, 0)[::2]):
            y = minigrad.from_numpy(left) @ minigrad.from_numpy(right)
            assert y.shape == (m, n)
            assert (np.abs(y.numpy() - exact) <= bound).all()


# ---- derivatives -------------------------------------------------------------------------------


@differentiable_rows
@given(data=st.data())
def test_gradient(row: Row, data: Any) -> None:
    """Backward agrees with central differences."""
    check_gradient(minigrad.gradcheck, row, data)


@differentiable_rows
@given(data=st.data())
def test_second_gradient(row: Row, data: Any) -> None:
    """So does the derivative of backward."""
    check_gradient(minigrad.gradgradcheck, row, data)


def check_gradient(check: Any, row: Row, data: Any) -> None:
    draw = Draw(lambda low, high: data.draw(st.integers(low, high)))
    sample = row.sample(draw)
    array, tracked = inputs(draw, "float64", grad=True)
    args, options = converted(sample, array)
    # eps 1e-6, values up to 3 and derivatives up to some 50: differences err by about 1e-9.  The
    # default tolerance is far above that and far below a wrong factor.
    check(lambda *_: row.f(*args, **options), tracked)


SMOOTH = {"exp", "log", "sin", "sqrt", "sigmoid", "tanh", "gelu", "softplus", "pow", "div", "mul"}
SMOOTH |= {"matmul", "prod", "logsumexp", "softmax", "log_softmax", "layer_norm", "var"}
SMOOTH |= {"cross_entropy"}


@pytest.mark.parametrize("row", [r for r in ROWS if r.name in SMOOTH], ids=lambda r: r.id)
def test_third_gradient(row: Row) -> None:
    """The second derivative of a function of the op, differentiated once more."""
    for seed in range(4):
        draw = seeded(seed)
        array, tracked = inputs(draw, "float64", grad=True)
        args, options = converted(row.sample(draw), array)
        x = tracked[0]
        if x.numel() == 0:
            continue

        def slope(*_: Any, x: Any = x, args: Any = args, options: Any = options) -> Any:
            y = row.f(*args, **options)
            total = (y[0] if isinstance(y, tuple) else y).square().sum()
            return minigrad.grad(total, x, create_graph=True)[0]

        minigrad.gradgradcheck(slope, tracked)


# ---- PyTorch -----------------------------------------------------------------------------------


@every_row
def test_same_as_pytorch(row: Row, dtype: str) -> None:
    """Values and gradients, for the same operands and the same gradient of the result."""
    if row.torch is None:
        pytest.skip("PyTorch spells it differently")
    torch = pytest.importorskip("torch")
    f = row.torch
    if isinstance(f, str):

        def f(torch: Any, *args: Any, **options: Any) -> Any:
            return getattr(torch, row.torch)(*args, **options)

    for seed in range(30):
        draw = seeded(seed)
        sample = row.sample(draw)
        array, ours = inputs(draw, dtype, grad=row.differentiable)
        theirs: list[Any] = []

        def foreign(a: Any, wanted: bool, theirs: Any = theirs) -> Any:
            x = torch.tensor(cast(a, dtype))
            if row.differentiable and wanted:
                theirs.append(x.requires_grad_())
            return x

        results, expected = call(row.f, sample, array), call(f, sample, foreign, torch)
        assert len(results) == len(expected)
        total, torch_total = (
            minigrad.tensor(0.0, dtype=dtype),
            torch.tensor(0.0, dtype=getattr(torch, dtype)),
        )
        for y, e in zip(results, expected):
            agree(y, e.detach().numpy(), dtype)
            if y.requires_grad:
                g = draw.normal(*y.shape).astype(y.dtype)
                total = total + (y * minigrad.from_numpy(g)).sum().to(np.dtype(dtype))
                torch_total = torch_total + (e * torch.tensor(g)).sum().to(torch_total.dtype)
        if not total.requires_grad:
            continue
        total.backward()
        torch_total.backward()
        for x, t in zip(ours, theirs):
            # both sides round, and gradients have more steps than values: 1000 ε
            zero = np.zeros(x.shape)
            agree(
                zero if x.grad is None else x.grad, zero if t.grad is None else t.grad, dtype, 1000
            )
