"""The three libraries: their threads and their tensors."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np

import minigrad

try:
    import torch
except ImportError:
    sys.exit(
        "benchmarks: PyTorch is what minigrad is compared with, and it is not installed: "
        "pip install torch --index-url https://download.pytorch.org/whl/cpu"
    )


def _openblas() -> Any:
    """The function that sets the threads of NumPy's BLAS, if that is the OpenBLAS of its wheels."""
    for path in (Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*"):
        library = ctypes.CDLL(str(path))
        for name in ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads"):
            if hasattr(library, name):
                return getattr(library, name)
    return None


_set_blas_threads = _openblas()
numpy_obeys = _set_blas_threads is not None  # if not, NumPy's products are left out


def set_threads(n: int) -> None:
    """The same number of threads for minigrad, PyTorch and NumPy's BLAS."""
    minigrad.set_num_threads(n)
    torch.set_num_threads(n)
    if _set_blas_threads is not None:
        _set_blas_threads(n)


def triple(a: Any) -> tuple[Any, Any, Any]:
    """An ndarray as minigrad's tensor, PyTorch's, and itself; each in memory of its own library."""
    return minigrad.tensor(a), torch.tensor(a), a


def random(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Any:
    """Normal numbers, the same at every call."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
