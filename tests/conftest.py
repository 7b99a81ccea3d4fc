"""What all tests share: hypothesis profiles, the order of the files, fixtures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from minigrad import core

# dev: a look while writing, other examples each time.  ci: more of them, and always the same, so
# that a red run is red again.  No deadline: the machines that run this are shared.
_COMMON: dict[str, Any] = {
    "deadline": None,
    # the fixtures below set what is constant throughout a test: one setup serves all its examples
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile(
    "quick", max_examples=2, derandomize=True, database=None, **_COMMON
)  # sanitizers
settings.register_profile("dev", max_examples=8, **_COMMON)
settings.register_profile("ci", max_examples=30, derandomize=True, database=None, **_COMMON)
settings.register_profile(
    "hunt", max_examples=1000, **_COMMON
)  # for an hour, after a change to the tape
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """test_tiny.py first: whoever broke everything learns it within a second."""
    items.sort(key=lambda item: item.path.name != "test_tiny.py")


@pytest.fixture(params=core.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this machine has, in turn; afterwards the one from before."""
    before = core.isa()
    core.use_isa(request.param)
    yield request.param
    core.use_isa(before)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    """Both element types that gradients have."""
    return str(request.param)


@pytest.fixture
def machine() -> Iterator[None]:
    """Afterwards the instruction set and the threads from before."""
    isa, threads = core.isa(), core.get_num_threads()
    yield
    core.use_isa(isa)
    core.set_num_threads(threads)
