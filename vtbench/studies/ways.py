"""Ways of training that may be faster on this machine: measured on the arms, and taken for all of them or for none.

A way changes how numbers are rounded, so that nothing is tried that the user has not allowed, and every arm of a
comparison is treated alike, whatever would be fastest for it alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from vtbench.errors import UserError, did_you_mean
from vtbench.records import NotMeasured
from vtbench.studies.cells import Cell
from vtbench.studies.executor import Session
from vtbench.studies.probe import CellSpeed, measure_in_groups
from vtbench.written import Configuration

WAYS: dict[str, dict[str, Any]] = {
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
    "contiguous": {"channels_last": False},
    "compile": {"compile": True},
}
"""What ``--try`` takes, and the settings of the execution that it stands for: on top of those taken before."""
MOST_MEASURED = 8
"""Of so many arms each is measured; of more, so many, spread evenly over their order."""
WORTH = 0.95
"""A way is taken if it needs less than this part of the time: what is nearer to 1 may be noise."""
COMPILE_SECONDS = 60.0
"""What compiling a network takes a core, roughly, before it is in the compiler's cache."""
MOST_GAIN = 0.4
"""No network was seen to gain more than this part of its time by being compiled."""
_COMPILE_WITHIN_SECONDS = 600.0


class TriedWay(Configuration):
    """What came of one way. ``part``: of the time without it, of all open cells and by arm; below 1 it is faster."""

    way: str
    taken: bool
    part: float | None = None
    arms: dict[str, float] = Field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        """One clause, for messages."""
        outcome = "taken" if self.taken else "not taken"
        if self.part is None:
            return f"{self.way} {outcome}: {self.note}"
        arms = ", ".join(f"{arm} {part:.2f}" for arm, part in self.arms.items())
        return f"{self.way} {outcome}: {self.part:.2f} of the time ({arms})"


def check_ways(ways: Iterable[str]) -> tuple[str, ...]:
    """The ``ways``, each once. Raises ``UserError`` for one that there is not."""
    for way in ways:
        if way not in WAYS:
            raise UserError(f"--try was given {way!r}. {did_you_mean(way, WAYS)}")
    return tuple(dict.fromkeys(ways))


def list_settings(tried: Iterable[TriedWay]) -> dict[str, Any]:
    """The settings of the execution that the ways that were taken stand for."""
    return {key: value for one in tried if one.taken for key, value in WAYS[one.way].items()}


def try_ways(cells: Sequence[Cell], jobs: int, session: Session) -> tuple[TriedWay, ...]:
    """Measure the ways of ``session`` on the open ``cells``, which have their threads, ``jobs`` at once.

    Times count as often as there are cells of an arm, and for as many epochs. Compiling is not tried where the most
    that it could gain is less than it takes.
    """
    num_open = Counter(cell.arm for cell in cells)
    firsts = list({cell.arm: cell for cell in reversed(cells)}.values())[::-1]
    chosen = firsts[:: -(-len(firsts) // MOST_MEASURED)]
    tried: list[TriedWay] = []
    plain = _measure(chosen, jobs, session, {})
    for way in session.ways:
        if session.stop.requested:
            break
        taken = list_settings(tried)
        note = _find_reason(way, chosen, plain, num_open, jobs, taken)
        if note is not None:
            tried.append(TriedWay(way=way, taken=False, note=note))
            continue
        found = _measure(chosen, jobs, session, {**taken, **WAYS[way]})
        tried.append(_compare(way, chosen, plain, found, num_open))
        plain = found if tried[-1].taken else plain
    return tuple(tried)


def _measure(
    cells: Sequence[Cell], jobs: int, session: Session, settings: Mapping[str, Any]
) -> list[CellSpeed | NotMeasured]:
    treated = [cell.with_execution(**settings) for cell in cells]
    if settings.get("compile"):  # First into the cache, and then measured: not while a neighbour compiles.
        measure_in_groups(treated, jobs, session, give_up_seconds=_COMPILE_WITHIN_SECONDS)
    return measure_in_groups(treated, jobs, session)


def _find_reason(
    way: str,
    cells: Sequence[Cell],
    plain: Sequence[CellSpeed | NotMeasured],
    num_open: Mapping[str, int],
    jobs: int,
    taken: Mapping[str, Any],
) -> str | None:
    """Why a way is not even tried; None where it is."""
    asked = {**cells[0].config.execution.model_dump(), **taken}
    if all(asked[key] == value for key, value in WAYS[way].items()):
        return "it is asked for anyway"
    if unknown := [speed for speed in plain if isinstance(speed, NotMeasured)]:
        return f"the time without it is not known ({unknown[0].reason})"
    if way != "compile":
        return None
    left = sum(_weigh(cell, speed, num_open) for cell, speed in zip(cells, plain, strict=True)) / jobs
    cost = COMPILE_SECONDS * len(cells) / jobs
    if MOST_GAIN * left < cost:
        return (
            f"of about {left:.0f} s of training it could save {MOST_GAIN * left:.0f} s, and it takes about {cost:.0f} s"
        )
    return None


def _compare(
    way: str,
    cells: Sequence[Cell],
    plain: Sequence[CellSpeed | NotMeasured],
    found: Sequence[CellSpeed | NotMeasured],
    num_open: Mapping[str, int],
) -> TriedWay:
    before, after, arms = 0.0, 0.0, dict[str, float]()
    for cell, old, new in zip(cells, plain, found, strict=True):
        if isinstance(new, NotMeasured):
            return TriedWay(way=way, taken=False, note=f"{cell.arm} could not be measured ({new.reason})")
        assert isinstance(old, CellSpeed)
        before, after = before + _weigh(cell, old, num_open), after + _weigh(cell, new, num_open)
        arms[cell.arm] = round(new.epoch_seconds / old.epoch_seconds, 3)
    part = round(after / before, 3)
    return TriedWay(way=way, taken=part < WORTH, part=part, arms=arms)


def _weigh(cell: Cell, speed: CellSpeed | NotMeasured, num_open: Mapping[str, int]) -> float:
    assert isinstance(speed, CellSpeed)
    return speed.epoch_seconds * cell.config.recipe.epochs * num_open[cell.arm]
