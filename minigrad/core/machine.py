"""What the machine offers: instruction sets, threads, memory."""

from __future__ import annotations

import os

from minigrad._core import ffi, lib


def _names() -> list[str]:
    names: list[str] = []
    while (p := lib.mg_isa_name(len(names))) != ffi.NULL:
        names.append(ffi.string(p).decode())
    return names


def compiled_isas() -> list[str]:
    """The instruction sets that are compiled in, worst first, whether this machine has them or not."""
    return _names()


def isas() -> list[str]:
    """The instruction sets that are compiled in and that this machine has, worst first."""
    return [name for i, name in enumerate(_names()) if lib.mg_isa_supported(i)]


def isa() -> str:
    """The instruction set in use."""
    return _names()[lib.mg_isa()]


def use_isa(name: str) -> None:
    """Compute with the kernels for `name` from now on, in every thread.

    ValueError if this build or this machine does not have them.
    """
    if name not in isas():
        raise ValueError(
            f"instruction set {name!r}: this machine and build have {', '.join(isas())}"
        )
    lib.mg_isa_use(_names().index(name))


def set_num_threads(n: int) -> None:
    """Let the C core use up to `n` threads.  Results do not depend on it.  ValueError if n < 1."""
    if n < 1 or lib.mg_set_threads(n) != lib.MG_OK:
        raise ValueError(f"number of threads: {n}: an integer from 1 on is needed")


def get_num_threads() -> int:
    """How many threads the C core may use."""
    return int(lib.mg_threads())


def memory() -> tuple[int, int]:
    """(bytes in use, bytes kept for reuse) of the pool that holds all but small arrays."""
    used, kept = ffi.new("size_t *"), ffi.new("size_t *")
    lib.mg_memory(used, kept)
    return int(used[0]), int(kept[0])


def trim() -> None:
    """Give the memory kept for reuse back to the system."""
    lib.mg_trim()


def _read_environment() -> None:
    """MINIGRAD_ISA and MINIGRAD_NUM_THREADS, or a sentence that says what is wrong with them."""
    if name := os.environ.get("MINIGRAD_ISA"):
        try:
            use_isa(name)
        except ValueError as e:
            raise ImportError(f"MINIGRAD_ISA: {e}") from None
    if text := os.environ.get("MINIGRAD_NUM_THREADS"):
        try:
            set_num_threads(int(text))
        except ValueError:
            raise ImportError(f"MINIGRAD_NUM_THREADS={text!r} is not a number of threads") from None


_read_environment()
