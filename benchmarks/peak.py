"""The rate of fused multiply-adds that one core can reach: what a matrix product is measured by.

A loop of independent multiply-adds on registers, compiled here, for the instruction set that
minigrad uses.  Twelve chains hide the latency of 4 cycles of two units.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from minigrad import core

SOURCE = """
typedef REAL vec __attribute__((vector_size(BYTES)));
double spin(long n) {
    vec x[12], a, b;
    for (int j = 0; j < (int)(BYTES / sizeof(REAL)); j++) a[j] = (REAL)0.999, b[j] = (REAL)1e-3;
    for (int i = 0; i < 12; i++) x[i] = b * (REAL)i;
    for (long t = 0; t < n; t++)
        for (int i = 0; i < 12; i++) x[i] = x[i] * a + b;
    double sum = 0;
    for (int i = 0; i < 12; i++) sum += x[i][0];
    return sum;
}
"""
CHAINS = 12
TARGETS = {  # bytes of a vector and flags, by minigrad's instruction set
    "baseline": (16, []),
    "avx2": (32, ["-mavx2", "-mfma"]),
    "avx512": (64, ["-mavx512f", "-mprefer-vector-width=512"]),
    "neon": (16, []),
}


def gflops(dtype: str, seconds: float = 0.3) -> float | None:
    """10⁹ floating-point operations per second of one core; None without a C compiler."""
    width, flags = TARGETS[core.isa()]
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        return None
    real, size = ("float", 4) if dtype == "float32" else ("double", 8)
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "peak.c"), Path(folder, "peak.so")
        source.write_text(SOURCE)
        define = [f"-DREAL={real}", f"-DBYTES={width}"]
        options = ["-O3", "-ffp-contract=fast", "-shared", "-fPIC", *flags, *define]
        subprocess.run([compiler, *options, str(source), "-o", str(library)], check=True)
        spin = ctypes.CDLL(str(library)).spin
        spin.argtypes, spin.restype = [ctypes.c_long], ctypes.c_double
        n, best, end = 200_000, float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            spin(n)
            best = min(best, time.perf_counter() - start)
    return 2e-9 * n * CHAINS * (width // size) / best
