"""What it takes to set the project up on a machine: measured, not promised."""

from __future__ import annotations

from typing import Literal

from vtbench.records.record import Record


class SetUp(Record):
    """One ``make`` target in an empty checkout: its wall time, and what then lies in its virtual environment."""

    target: str
    seconds: float
    num_packages: int
    size_bytes: int


class SetUps(Record):
    """All targets, measured one after the other on one machine whose package index was ``index``."""

    format: Literal[1] = 1
    python: str
    platform: str
    torch: str
    index: str
    rows: tuple[SetUp, ...]
