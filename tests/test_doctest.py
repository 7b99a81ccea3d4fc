"""The examples in docstrings, in the README and in docs/ are run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import minigrad

OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
MODULES = [
    m.name
    for m in pkgutil.walk_packages(minigrad.__path__, "minigrad.")
    if "_core" not in m.name and not m.name.endswith("__main__")
]


@pytest.mark.parametrize("name", ["minigrad", *MODULES])
def test_docstrings(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert not failed


def test_some_docstrings_have_examples() -> None:
    """The test above would pass if nothing were found."""
    finder = doctest.DocTestFinder()
    tests = [
        t for name in MODULES for t in finder.find(importlib.import_module(name)) if t.examples
    ]
    assert len(tests) >= 5


ROOT = Path(__file__).parent.parent
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_texts(path: Path) -> None:
    failed, attempted = doctest.testfile(str(path), module_relative=False, optionflags=OPTIONS)
    assert not failed
    assert attempted or path.name not in ("README.md", "adding-a-cell.md", "adding-an-op.md")
