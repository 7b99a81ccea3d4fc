"""Builds ``minigrad._core``: the cffi door to the C core, and the PEP 517 backend that pip calls.

Nothing is declared twice.  cffi parses ``cextension/minigrad.h`` itself, and the numbers of the
kernels are the enums that ``cextension/kernels.def`` expands to, here as in C.
``MINIGRAD_SANITIZE=1`` builds with AddressSanitizer and UndefinedBehaviorSanitizer.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import setuptools
from cffi import FFI
from setuptools.build_meta import _BuildMetaBackend
from setuptools.command.build_ext import build_ext
from setuptools.errors import PlatformError

CORE = Path("cextension")
RELEASE = ["-O3", "-g0", "-fno-asynchronous-unwind-tables"]
SANITIZE = [
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]
COMMON = ["-std=gnu11", "-ffp-contract=fast", "-Wno-psabi", "-pthread"]
INSTALL = (
    "Debian/Ubuntu: apt install gcc python3-dev; Fedora: dnf install gcc python3-devel; "
    "macOS: xcode-select --install"
)


def without_preprocessor(name: str) -> str:
    """The text of a header of the core without the lines that start with '#'."""
    lines = (CORE / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def declarations() -> str:
    """The ABI as cffi reads it: minigrad.h, and the enums that kernels.def stands for."""
    kernels = re.sub(r"/\*.*?\*/", "", without_preprocessor("kernels.def"), flags=re.DOTALL)
    kinds: dict[str, list[str]] = {}
    for kind, name in re.findall(r"([A-Z]+)(?:_COSTLY)?\((\w+)\)", kernels):
        kinds.setdefault(kind, []).append(f"MG_{kind}_{name}")
    enums = [
        f"enum mg_{kind.lower()}_op {{ {', '.join(names)} }};" for kind, names in kinds.items()
    ]
    return "\n".join([without_preprocessor("minigrad.h"), *enums])


def ffi() -> FFI:
    """The extension module: declarations, sources and flags."""
    flags = COMMON + (SANITIZE if os.environ.get("MINIGRAD_SANITIZE") == "1" else RELEASE)
    builder = FFI()
    builder.cdef(declarations())
    builder.set_source(
        "minigrad._core",
        '#include "table.h"',
        sources=sorted(str(source) for source in CORE.rglob("*.c")),
        include_dirs=[str(CORE)],
        depends=sorted(str(file) for file in CORE.rglob("*.[hid]*")),
        extra_compile_args=flags,
        extra_link_args=[flag for flag in flags if flag.startswith(("-fsan", "-pthread"))]
        + (["-s"] if sys.platform == "linux" and "-g0" in flags else []),
        libraries=[] if sys.platform == "win32" else ["m"],
        py_limited_api=True,
    )
    return builder


class Build(build_ext):
    """``build_ext`` that asks for a compiler in a sentence and uses every core."""

    def initialize_options(self) -> None:
        """Always compile: a changed flag or sanitizer switch leaves no trace in time stamps."""
        super().initialize_options()
        self.force = True

    def build_extensions(self) -> None:
        """Compile all sources at once, each in its own compiler process."""
        self.require_compiler()
        compile_all = self.compiler.compile

        def compile_in_parallel(sources: list[str], *args: Any, **kwargs: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                jobs = [pool.submit(compile_all, [s], *args, **kwargs) for s in sources]
                return [obj for job in jobs for obj in job.result()]

        self.compiler.compile = compile_in_parallel
        super().build_extensions()

    def require_compiler(self) -> None:
        """Raise one clear sentence where the C compiler or Python's headers are missing."""
        if self.compiler.compiler_type == "msvc":
            message = "minigrad needs GCC or clang: MSVC has no vector extensions (use mingw-w64)"
            raise PlatformError(message)
        command = self.compiler.compiler_so[0]
        if shutil.which(command) is None:
            message = f"minigrad needs a C compiler and {command!r} was not found. {INSTALL}"
            raise PlatformError(message)
        include = sysconfig.get_path("include")
        if not (Path(include) / "Python.h").exists():
            message = f"minigrad needs Python's headers: no Python.h in {include}. {INSTALL}"
            raise PlatformError(message)


class Backend(_BuildMetaBackend):
    """setuptools' own backend with the extension added, so that no setup.py is needed."""

    def run_setup(self, setup_script: str = "setup.py") -> None:
        """What setup.py would have said."""
        del setup_script
        setuptools.setup(cmdclass={"build_ext": Build}, cffi_modules=["build_ext.py:ffi"])


_backend = Backend()
build_wheel = _backend.build_wheel
build_sdist = _backend.build_sdist
build_editable = _backend.build_editable
prepare_metadata_for_build_wheel = _backend.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = _backend.prepare_metadata_for_build_editable
get_requires_for_build_wheel = _backend.get_requires_for_build_wheel
get_requires_for_build_sdist = _backend.get_requires_for_build_sdist
get_requires_for_build_editable = _backend.get_requires_for_build_editable
