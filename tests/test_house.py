"""The rules that hold the house together, checked by reading its source."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from draw import seeded
from op_row import Fixed
from op_table import ROWS

import minigrad
import minigrad.ops
from minigrad import Tensor, core

ROOT = Path(__file__).parent.parent
PACKAGE = Path(minigrad.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

#: From the bottom up: a module imports only what is below it, or beside it in the same layer.
LAYERS = (
    ("_core",),
    ("core",),
    ("rules",),
    ("tape",),
    ("replay",),
    ("autograd",),
    ("ops",),
    ("anomaly", "check", "func"),
    ("nn",),
    ("optim", "learn", "data", "io"),
    ("diagnose", "viz"),
    ("options", "model"),
    ("train",),
    ("report", "checkpoint"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module of minigrad) for each import of one, relative or not, at whatever depth."""
    package = ["minigrad", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module or "").split(".")] if node.module else base
            names = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == "minigrad" and rest:
                yield node.lineno, rest[0]


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_imports_point_downward() -> None:
    wrong = []
    for path in SOURCES:
        here = layer_of(path)
        if here == "__init__":
            continue
        assert here in LEVEL, f"{path.name}: which layer? add it to LAYERS"
        for line, module in imports(path):
            if module in LEVEL and module != here and LEVEL[module] >= LEVEL[here]:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {module}")
    upward = [w for w in wrong if re.match(r"autograd\.py:\d+ imports ops$", w)]
    assert wrong == upward, wrong
    assert len(upward) == 1
    # the one exception is the last line of autograd.py, under a comment that says why
    *_, comment, last = (PACKAGE / "autograd.py").read_text(encoding="utf-8").splitlines()
    assert "import ops" in last
    assert comment.startswith("# ")


def test_only_core_touches_the_compiled_module() -> None:
    for path in SOURCES:
        if layer_of(path) != "core":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\b_core\b", text), path


def test_files_stay_short() -> None:
    c_sources = [
        p for p in (ROOT / "cextension").rglob("*") if p.suffix in (".c", ".h", ".inc", ".def")
    ]
    assert c_sources or not (ROOT / "cextension").exists()
    long = {
        p.name: n
        for p in [*SOURCES, *c_sources]
        if (n := len(p.read_text("utf-8").splitlines())) > 400
    }
    assert not long, f"longer than 400 lines: {long}; a file that grows is two things"


# ---- the table of ops --------------------------------------------------------------------------


def modules(package: Any) -> list[Any]:
    names = [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return [package, *(importlib.import_module(name) for name in names if "_core" not in name)]


def recorded(row: Any) -> set[Any]:
    """The rules of the ops that record when the row is computed and differentiated once."""
    found: set[Any] = set()
    for seed in range(12):
        args, options = row.sample(seeded(seed))
        tracked: list[Tensor] = []

        def tensors(a: Any, tracked: Any = tracked) -> Any:
            if isinstance(a, Fixed):
                return minigrad.from_numpy(a.values)
            if isinstance(a, np.ndarray):
                x = minigrad.from_numpy(a)
                if a.dtype == np.float64:
                    tracked.append(x.requires_grad_())
                return x
            if isinstance(a, dict):
                return {k: tensors(v) for k, v in a.items()}
            return type(a)(map(tensors, a)) if type(a) in (list, tuple) else a

        y = row.f(*tensors(args), **tensors(options))
        ys = [y for y in (y if isinstance(y, (tuple, list)) else [y]) if y.requires_grad]
        twice = ys
        if ys and tracked:
            gs = [minigrad.from_numpy(np.ones(y.shape)).requires_grad_() for y in ys]
            dxs = minigrad.grad(ys, tracked, gs, create_graph=True, allow_unused=True)
            twice = [*ys, *(dx for dx in dxs if dx is not None)]
        stack = [y.node for y in twice if y.requires_grad]
        seen = set(stack)
        while stack:
            node = stack.pop()
            if getattr(node, "rules", None) is not None:
                found.add(node.rules)
            for parent in node.parents:
                if parent is not None and parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
    return found


def test_every_op_has_a_row() -> None:
    """Public functions of tensors by name; ops behind them by being recorded in a row's graph."""
    names = {row.name for row in ROWS}
    public: set[str] = set()
    ops: dict[str, Any] = {}
    for module in modules(minigrad.ops):
        if module in (minigrad.ops, minigrad.ops.create, minigrad.ops.methods):
            continue
        for name, f in vars(module).items():
            if hasattr(f, "rules"):
                ops[f"{module.__name__}.{name}"] = f.rules
            here = getattr(f, "__module__", None) in (module.__name__, "minigrad.core.elementwise")
            if here and inspect.isfunction(f) and not name.startswith("_"):
                public.add(name)
    assert len(ops) > 40
    missing = public - names - {"setitem"}  # writes in place: test_autograd.py
    assert not missing, f"without a row in op_table.py: {sorted(missing)}"
    seen = set().union(*(recorded(row) for row in ROWS if row.differentiable))
    unseen = [name for name, rules in ops.items() if rules not in seen]
    assert not unseen, f"ops that no row of op_table.py reaches: {unseen}"


def test_every_kernel_is_used() -> None:
    """Each line of kernels.def is named somewhere in Python."""
    text = "\n".join(p.read_text(encoding="utf-8") for p in SOURCES)
    for kind in ("MAP", "ZIP", "CMP", "SEL", "RED", "ROW", "UPD", "SEQ"):
        table = getattr(core, kind, None) or core.elementwise.numbers(kind.lower())
        assert table
        for name in table:
            assert re.search(rf"[\"']({name}|[a-z _0-9]*\b{name}\b[a-z _0-9]*)[\"']", text), (
                f"{kind}({name})"
            )


# ---- docstrings --------------------------------------------------------------------------------


def test_every_public_object_has_a_docstring() -> None:
    missing = []
    for module in modules(minigrad):
        if not module.__doc__:
            missing.append(module.__name__)
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            if (inspect.isclass(value) or callable(value)) and not inspect.getdoc(value):
                missing.append(f"{module.__name__}.{name}")
            if inspect.isclass(value):
                for key, member in vars(value).items():
                    f = member.fget if isinstance(member, property) else member
                    if not key.startswith("_") and inspect.isfunction(f) and not inspect.getdoc(f):
                        missing.append(f"{module.__name__}.{name}.{key}")
    assert not missing, sorted(missing)


# ---- what importing costs ----------------------------------------------------------------------


def loaded(code: str) -> set[str]:
    """The top-level modules that are loaded after `code`, in a fresh process."""
    code += "; import sys; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_needs_numpy_and_cffi_only() -> None:
    """And nothing else that takes time: what `import minigrad` adds to `import numpy` is listed."""
    added = loaded("import minigrad") - loaded("import numpy")
    if sys.version_info >= (3, 10):
        third = added - set(sys.stdlib_module_names) - loaded("import numpy.random")
        assert third == {"minigrad", "_cffi_backend"}
    assert not added & {"torch", "matplotlib", "safetensors", "tqdm", "rich", "scipy", "hypothesis"}
    slow = {"asyncio", "multiprocessing", "unittest", "http", "email", "sqlite3", "ssl", "xml"}
    slow |= {"argparse", "dataclasses", "concurrent", "subprocess", "logging", "tempfile"}
    assert not added & slow
