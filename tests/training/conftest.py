from __future__ import annotations

from collections.abc import Iterator

import pytest
from tiny_parts import tiny_world


@pytest.fixture
def tiny() -> Iterator[pytest.MonkeyPatch]:
    with tiny_world() as patch:
        yield patch
