"""The examples in docstrings and in the README are run, and give what they say."""

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


def test_readme() -> None:
    readme = Path(__file__).parent.parent / "README.md"
    failed, attempted = doctest.testfile(str(readme), module_relative=False, optionflags=OPTIONS)
    assert attempted
    assert not failed
