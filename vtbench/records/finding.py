"""What came of one claim of the literature."""

from __future__ import annotations

from typing import Literal

from vtbench.records.record import Record

Status = Literal["contradicted", "not tested", "reproduced"]


class Finding(Record):
    """One claim and its verdict. ``known`` marks a contradiction that has been looked into and is explained.

    ``here`` is the number computed here, ``deviation_percent`` how far it lies from the printed one. ``reason`` says
    why a claim is contradicted or not tested, or what a reproduction depends on; ``command`` makes the test.
    """

    id: str
    paper: str
    table: str
    cell: str
    quantity: str
    printed: str
    here: str | None
    deviation_percent: float | None = None
    status: Status
    known: bool = False
    reason: str = ""
    command: str | None = None
