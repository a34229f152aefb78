"""Where the paper contradicts itself: printed numbers that cannot all be right, each with the sum that shows it."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Literal

from vtbench.records import Record

INCONSISTENCIES = Path(__file__).with_name("inconsistencies.toml")

Check = Literal["at_most", "equal", "saving", "ratio", "stage5_ratio", "stated"]
"""What ought to hold between the printed numbers of ``claims``:

- ``at_most``: the first is not larger than the second;
- ``equal``: both are the same number, being of the same model;
- ``saving``: the first less the second is each of the ``stated`` numbers;
- ``ratio``: the first is the second over the third;
- ``stage5_ratio``: the first is the reduction of stage 5 that the totals, second and third, leave room for;
- ``stated``: different texts of the paper state different things; there is nothing to compute.
"""


class Inconsistency(Record):
    """One place where the paper's numbers are held against each other. ``number`` groups those of one kind."""

    id: str
    number: int
    table: str
    statement: str
    check: Check
    claims: tuple[str, ...] = ()
    stated: tuple[Decimal, ...] = ()
    explanation: str


def load_inconsistencies(path: Path = INCONSISTENCIES) -> tuple[Inconsistency, ...]:
    """All of them, in order."""
    with path.open("rb") as stream:
        return tuple(Inconsistency.model_validate(entry) for entry in tomllib.load(stream)["inconsistency"])
