"""Accuracy of the vector functions (cextension/kernels/vmath.inc) through the Python door.

The functions and their bounds, in units in the last place (ULP), are read from tests/c/ulp_sweep.c.
References are NumPy's in a wider type: long double, where the machine has a real one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import minigrad
from minigrad import core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# NumPy warns of what is under test here: NaN, infinities, overflow
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")

SWEEP = Path(__file__).parent / "c" / "ulp_sweep.c"
ROOT = SWEEP.parents[2]
BOUNDS = {
    name: {"float32": float(f32), "float64": float(f64)}
    for name, f32, f64 in re.findall(r"(?:ONE|TWO)\((\w+), ([\d.]+), ([\d.]+)\)", SWEEP.read_text())
}
UNARY = sorted(set(BOUNDS) - {"pow"})
SLOW = ["erf", "gelu"]  # their references are
ALL_FLOATS = ["exp", "log", "tanh", "sigmoid"]  # checked for each of the 2^32


# ---- references --------------------------------------------------------------------------------


def _erfc(x: Any) -> Any:
    """erfc for x >= 2, by Lentz's continued fraction."""
    f = np.zeros_like(x)
    for n in range(120, 0, -1):
        f = n / 2 / (x + f)
    return np.exp(-x * x) / (x + f) / np.sqrt(np.arccos(x.dtype.type(-1)))


def _erf(x: Any) -> Any:
    """erf: up to 2 by the series 2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (1 3 5 ... (2n+1))."""
    a = np.minimum(np.abs(x), 2)
    term = total = a
    for n in range(1, 60):
        term = term * (2 * a * a) / (2 * n + 1)
        total = total + term
    near = 2 / np.sqrt(np.arccos(x.dtype.type(-1))) * np.exp(-a * a) * total
    far = 1 - _erfc(np.maximum(np.abs(x), 2))
    return np.copysign(np.where(np.abs(x) < 2, near, far), x)


def _gelu(x: Any) -> Any:
    """x Phi(x), the tail by erfc: 1 + erf would cancel there."""
    u = np.abs(x) / np.sqrt(x.dtype.type(2))
    tail = np.where(u < 2, 1 - _erf(u), _erfc(np.maximum(u, 2)))
    return np.where(x == -np.inf, 0, np.maximum(x, 0) - np.where(u < 30, np.abs(x) * tail / 2, 0))


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


REFERENCES: dict[str, Callable[[Any], Any]] = {
    "erf": _erf,
    "gelu": _gelu,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": _softplus,
    "logsigmoid": lambda x: -_softplus(-x),
}


def reference(name: str, x: Any) -> Any:
    """f(x) in the type of x."""
    return REFERENCES[name](x) if name in REFERENCES else getattr(np, name)(x)


def wide(dtype: str) -> Any:
    """A type with enough more digits than dtype."""
    if np.finfo(np.longdouble).nmant < 60:
        if dtype == "float64":
            pytest.skip("long double is no wider than float64 here")
        return np.float64
    return np.longdouble


def ulps(y: Any, ref: Any) -> Any:
    """|y - ref| in ULP of ref; infinity counts as the power of two where it begins."""
    kind = np.finfo(y.dtype)
    digits = kind.nmant + 1
    end = np.ldexp(ref.dtype.type(1), kind.maxexp)
    must_be_infinite = (np.abs(ref) > end * 1.0001) & ~np.isinf(y)
    ref = np.clip(ref, -end, end)
    exponent = np.maximum(np.frexp(ref)[1] - digits, kind.minexp - kind.nmant)
    error = np.ldexp(np.abs(np.clip(y.astype(ref.dtype), -end, end) - ref), -exponent)
    error = np.where(np.isnan(y) & np.isnan(ref), 0, error)
    return np.where(np.isnan(error) | must_be_infinite, np.inf, error)


def run(name: str, *x: Any) -> Any:
    """minigrad's function on NumPy arrays."""
    with minigrad.no_grad():
        return getattr(minigrad, name)(*map(minigrad.from_numpy, x)).numpy()


def worst(name: str, x: Any, ref: Any) -> float:
    """The largest error over x; shown with its place if the test fails."""
    y = run(name, x)
    error = ulps(y, ref)
    i = int(error.argmax())
    where = f"{name} {x.dtype} {core.isa()}"
    print(f"{where}: {error[i]:.3f} ULP at {x[i]!r}: {y[i]!r} for {ref[i]!r}")
    return float(error[i])


# ---- samples -----------------------------------------------------------------------------------

# where something changes: clamps, overflow, underflow, ends of the intervals of the polynomials
SPECIAL = [0, 0.5, 0.75, 0.8, 1, 1.5, 2, 3, 4, 9.02, 10, 15, 16.6, 17.4, 19.1, 22, 25, 36.8, 38.5]
SPECIAL += [39.5, 50, 87.33, 88.72, 89, 103.97, 104, 708.39, 709.78, 745.13, 745.2, 2**17, 2**30]
SPECIAL += [k / 8 for k in range(1, 8, 2)] + [k + 1 / 8 for k in (1, 2, 3, 5, 7, 9, 11, 13)]
SPECIAL += [1e-45, 1.1754944e-38, 2.3e-308, 5e-324, 3.4028235e38, np.inf]


def around_special(dtype: str) -> Any:
    """The special values, 30 neighbours on each side of them, the same negative, and NaN."""
    up = down = np.array(SPECIAL, dtype)
    found = [up]
    for _ in range(30):
        up, down = np.nextafter(up, np.inf, dtype=dtype), np.nextafter(down, 0, dtype=dtype)
        found += [up, down]
    x = np.concatenate(found)
    return np.concatenate([x, -x, np.array([np.nan], dtype)])


def sample(dtype: str, count: int = 1 << 20) -> Any:
    """Each sign and exponent with evenly spaced, then random bits below, and the usual range."""
    random = np.random.default_rng(0)
    bits, shift = ("u4", 32) if dtype == "float32" else ("u8", 64)
    step = shift - (count.bit_length() - 1)
    x = (np.arange(count, dtype=bits) << step) | random.integers(0, 1 << step, count, dtype=bits)
    uniform = [random.uniform(-limit, limit, count // 8) for limit in (1e-3, 1, 4, 20, 120, 800)]
    return np.concatenate([x.view(dtype), np.concatenate(uniform).astype(dtype)])


@pytest.fixture
def each_isa() -> Iterator[Callable[[], Iterator[str]]]:
    """All instruction sets within one test, which can then share its reference."""
    before = core.isa()

    def in_turn() -> Iterator[str]:
        for isa in core.isas():
            core.use_isa(isa)
            yield isa

    yield in_turn
    core.use_isa(before)


@pytest.mark.parametrize("name", UNARY)
def test_dense_sample(name: str, dtype: str, each_isa: Callable[[], Iterator[str]]) -> None:
    """Every function, on every instruction set, stays within its bound."""
    x = np.concatenate([around_special(dtype), sample(dtype, 1 << (17 if name in SLOW else 20))])
    if name in ("sin", "cos"):  # beyond, each is libm's: slow, and as good as libm
        x = np.concatenate([x[np.abs(x) <= 1e5], around_special(dtype)])
    ref = reference(name, x.astype(wide(dtype)))
    errors = {isa: worst(name, x, ref) for isa in each_isa()}
    assert max(errors.values()) <= BOUNDS[name][dtype], errors


@pytest.mark.slow
@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", ALL_FLOATS)
def test_all_floats(name: str) -> None:
    """float32: each of the 2^32 inputs, at most 2.5 ULP."""
    block = 1 << 22
    for start in range(0, 1 << 32, block):
        x = np.arange(start, start + block, dtype=np.uint32).view(np.float32)
        assert worst(name, x, reference(name, x.astype(np.float64))) <= 2.5


# ---- what a bound in ULP does not say ----------------------------------------------------------


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", ["expm1", "log1p", "sin", "tanh", "erf", "gelu"])
def test_odd_functions_keep_the_sign_of_zero(name: str, dtype: str) -> None:
    """f(-0) = -0 and f(0) = 0; subnormal numbers are not flushed."""
    y = run(name, np.array([-0.0, 0.0], dtype))
    assert list(np.signbit(y)) == [True, False]
    tiny = np.finfo(dtype).smallest_subnormal
    if name != "gelu":
        assert (run(name, np.array([tiny, -3 * tiny], dtype)) / tiny).tolist() == [1, -3]


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", ["sin", "cos", "tanh", "erf", "sigmoid"])
def test_range(name: str, dtype: str) -> None:
    """Rounding does not lead out of [-1, 1]."""
    random = np.random.default_rng(1)
    near_turns = np.arange(-2000, 2000) * np.pi / 2 + random.uniform(-1e-3, 1e-3, (50, 4000))
    assert np.abs(run(name, near_turns.astype(dtype).ravel())).max() <= 1


@pytest.mark.usefixtures("isa")
def test_huge_angles(dtype: str) -> None:
    """Sin and cos beyond the reduction by three pieces of pi: as exact as libm."""
    random = np.random.default_rng(2)
    x = np.exp(random.uniform(11, 87 if dtype == "float32" else 700, 1000)).astype(dtype)
    for name in ("sin", "cos"):
        ref = reference(name, x.astype(wide(dtype)))
        assert ulps(run(name, x), ref).max() <= BOUNDS[name][dtype]


@pytest.mark.usefixtures("isa")
def test_pow_sample(dtype: str) -> None:
    """a^b over all exponents of a with results over the whole range."""
    random = np.random.default_rng(3)
    top = np.finfo(dtype).maxexp
    a = np.exp2(random.uniform(-top, top, 1 << 18)).astype(dtype)
    a[: 1 << 16] = random.uniform(0.5, 2, 1 << 16)
    b = (random.uniform(-1.1, 1.05, 1 << 18) * top / np.log2(a)).astype(dtype)
    b[~np.isfinite(b)] = 1
    exact = wide(dtype)
    ref = a.astype(exact) ** b.astype(exact)
    error = ulps(run("pow", a, b), ref)
    i = int(error.argmax())
    assert error[i] <= BOUNDS["pow"][dtype], (a[i], b[i])


@pytest.mark.usefixtures("isa")
def test_pow_special_cases(dtype: str) -> None:
    """C99, Annex F: all pairs of zeros, ones, infinities, NaN, even, odd and fractional numbers."""
    odd = 2.0 ** np.finfo(dtype).nmant + 1
    values = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, odd, 2 * odd, 1e30, np.inf]
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    x = np.array([*values, tiny, huge, *[-v for v in values], -tiny, -huge, np.nan], dtype)
    a, b = (v.ravel() for v in np.meshgrid(x, x))
    exact = wide(dtype)
    ref = a.astype(exact) ** b.astype(exact)
    y = run("pow", a, b)
    error = ulps(y, ref)
    i = int(error.argmax())
    assert error[i] <= BOUNDS["pow"][dtype], (a[i], b[i], y[i], ref[i])
    number = ~np.isnan(y)
    assert (np.signbit(y) == np.signbit(ref))[number].all()


# ---- the sweep in C ----------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_sweep_in_c(tmp_path: Path, dtype: str) -> None:
    """tests/c/ulp_sweep.c builds and finds nothing, here for the baseline instruction set."""
    program = tmp_path / "sweep"
    options = ["-O3", "-std=gnu11", "-ffp-contract=fast", "-Wno-psabi", "-DMG_VBYTES=16"]
    kind = f"-DMG_DTYPE={'f32' if dtype == 'float32' else 'f64'}"
    source = ["-I", str(ROOT / "cextension"), str(SWEEP), "-lm", "-o", str(program)]
    subprocess.run(["cc", *options, kind, *source], check=True)
    result = subprocess.run([program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
