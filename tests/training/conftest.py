from __future__ import annotations

from collections.abc import Iterator

import pytest
from tiny_parts import tiny_world


@pytest.fixture
def task() -> str:
    """A module or test that parametrises this runs over every task."""
    return "classification"


@pytest.fixture
def tiny(task: str) -> Iterator[pytest.MonkeyPatch]:
    with tiny_world(task) as patch:
        yield patch
