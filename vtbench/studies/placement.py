"""How a machine is shared out among cells: how many at once, with how many threads each.

The fastest placement is measured, not guessed. It is kept in the study's folder, because the number of threads decides
how sums are rounded: every cell of a study gets the same number, also when the study is taken up again.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from vtbench.errors import UserError
from vtbench.files import publish_text, read_file
from vtbench.records import NotMeasured
from vtbench.run_folder import PLACEMENT
from vtbench.studies.cells import Cell
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.executor import Executor, Session
from vtbench.studies.probe import measure_speeds
from vtbench.studies.turn_server import can_take_turns
from vtbench.studies.ways import TriedWay, list_settings, try_ways
from vtbench.units import format_fine, format_items
from vtbench.written import Configuration

_MOST_CANDIDATES = 4
_BYTES_OF_A_PARAMETER = 16  # Itself, its gradient and two averages of an optimizer.


class MeasuredPlacement(Configuration):
    """What the probe saw of one way to share the machine out."""

    jobs: int
    threads: int
    images_per_second: float = Field(description="training images a second of all cells; on GPUs with their start")
    in_turns: bool = Field(False, description="whether cells took turns in one process a GPU")

    LATER: ClassVar[frozenset[str]] = frozenset({"in_turns"})

    def __str__(self) -> str:
        """One cell as it is told to the user."""
        rate = format_fine(self.images_per_second, digits=0)
        return f"{self.jobs} x {self.threads}{' in turns' if self.in_turns else ''}: {rate} images/s"


class Weighed(Configuration):
    """Cells that take no more memory than the one of which several were measured side by side on a GPU."""

    bytes: int | None = Field(ge=0, description="what that one takes; None: it could not be counted")
    cells: tuple[tuple[str, int], ...] = Field(description="arms, each with its batch size")


class Placement(Configuration):
    """``jobs`` cells at once with ``threads`` CPU threads each, and why."""

    jobs: int = Field(ge=1)
    threads: int = Field(ge=1)
    reason: str
    measured: tuple[MeasuredPlacement, ...] = ()
    tried: tuple[TriedWay, ...] = Field((), description="what else the user allowed, and what it gave")

    shares_at_the_end: bool = Field(False, description="whether the last cells may be more than jobs")

    weighed: Weighed | None = Field(None, description="of cells that share a GPU: of which that was measured")

    takes_turns: bool = Field(False, description="whether cells take turns in one process a GPU")

    LATER: ClassVar[frozenset[str]] = frozenset({"tried", "shares_at_the_end", "weighed", "takes_turns"})

    @property
    def at_once(self) -> str:
        """The placement in words: ``4 at once, 2 threads each``."""
        turns = ", in turns in one process a GPU" if self.takes_turns else ""
        return f"{self.jobs} at once{turns}, {format_items(self.threads, 'thread')} each"

    def fit(self, executor: Executor) -> Executor:
        """The executor that runs cells as they are placed."""
        if self.takes_turns:
            executor = executor.taking_turns()
        return executor.sharing_at_the_end() if self.shares_at_the_end else executor

    def arrange(self, cell: Cell) -> Cell:
        """The cell as it is carried out: with its threads, and in the ways that were taken."""
        return cell.with_execution(threads=self.threads, **list_settings(self.tried))


def read_placement(folder: Path) -> Placement | None:
    """The placement that the study in ``folder`` began with, if it has begun."""
    try:
        return Placement.model_validate_json(read_file(folder / PLACEMENT))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / PLACEMENT} is damaged. Remove it, and the machine is measured again.") from error


def write_placement(folder: Path, placement: Placement) -> None:
    """Keep the placement with the study."""
    publish_text(folder / PLACEMENT, json.dumps(placement.model_dump(mode="json"), indent=2) + "\n")


def choose_placement(
    cells: Sequence[Cell],
    session: Session,
    *,
    before: Placement | None,
    facts: DataFacts,
    on_measuring: Callable[[], None] = lambda: None,
    may_measure: bool = True,
) -> Placement:
    """Decide how the open ``cells``, one at least, are run.

    ``before`` is the placement that the study began with: its threads a cell are kept, and the ways that it took; how
    many cells share a GPU is measured again where one takes more memory than those that were measured. On CPUs the
    automatic placement is the fastest of a few measured ones, and so it is with GPUs, of which small networks leave
    much idle: one, two, four or eight cells a GPU of the arm that takes most memory with the data of ``facts``, each in
    a process of its own or in turns in one (`vtbench.studies.turn_server`). Where GPUs cannot be shared, each has one
    cell. Ways that the user allows are measured next. ``on_measuring`` is called before a measurement, which takes a
    while; unless ``may_measure``, there is none, and one cell a core or GPU stands in for the fastest placement. Raises
    ``UserError`` for more jobs than the executor can have.
    """
    affinity = session.executor.affinity(cells[0].config.execution.device)
    _check_ways(session, before, is_queue=affinity.is_queue)
    placement = _share_out(
        cells, session, before=before, facts=facts, on_measuring=on_measuring, may_measure=may_measure
    )
    # Cells of one thread lose nothing by taking turns on a core; the threads of one cell wait for each other.
    is_ours = session.jobs is None and bool(placement.measured) and not affinity.num_gpus
    shares = is_ours and placement.jobs > 1 and placement.threads == 1
    in_turns = bool(placement.measured) and max(placement.measured, key=_rate).in_turns
    takes_turns = in_turns and affinity.shares_gpus and placement.jobs > affinity.num_gpus
    placement = placement.model_copy(update={"shares_at_the_end": shares, "takes_turns": takes_turns})
    if before is not None or not (session.ways and may_measure):
        return placement
    on_measuring()
    threaded = [placement.arrange(cell) for cell in cells]
    seated = replace(session, executor=placement.fit(session.executor))
    return placement.model_copy(update={"tried": try_ways(threaded, placement.jobs, seated)})


def _check_ways(session: Session, before: Placement | None, *, is_queue: bool) -> None:
    if session.ways and is_queue:
        raise UserError("--try measures here what may be faster, and the cells run elsewhere. Leave it out.")
    known = {one.way for one in before.tried} if before is not None else set(session.ways)
    if new := [way for way in session.ways if way not in known]:
        raise UserError(
            f"--try {new[0]}: the study was begun without trying it, and all of its cells are treated alike. Leave it "
            "out, or start afresh with --fresh or another --out."
        )


def _share_out(
    cells: Sequence[Cell],
    session: Session,
    *,
    before: Placement | None,
    facts: DataFacts,
    on_measuring: Callable[[], None],
    may_measure: bool,
) -> Placement:
    execution, jobs = cells[0].config.execution, session.jobs
    affinity = session.executor.affinity(execution.device)
    total = session.threads or affinity.threads
    widest = min(total, affinity.most_threads or total)
    most = min(len(cells), affinity.most_jobs or len(cells))
    if jobs is not None and affinity.most_jobs is not None and jobs > affinity.most_jobs:
        raise UserError(
            f"--jobs was given {jobs}, and this executor runs {affinity.most_jobs} at once. "
            "Give no more, or another --executor."
        )
    if affinity.is_queue:
        threads = before.threads if before is not None else widest
        return Placement(jobs=min(jobs or most, most), threads=threads, reason="a job a cell")
    if before is not None:
        return _go_on(cells, session, before, facts, on_measuring=on_measuring, may_measure=may_measure)
    if jobs is not None:
        given = "--jobs and --threads" if session.threads else f"--jobs, and all {format_items(total, 'core')}"
        return Placement(jobs=min(jobs, most), threads=_divide(total, jobs, widest), reason=given)
    if affinity.num_gpus:
        jobs = min(max(1, affinity.num_gpus // execution.devices), most)
        most = min(most, total)
        if affinity.shares_gpus and execution.devices == 1 and jobs < most and may_measure:
            on_measuring()
            largest, weighed = _find_larger(cells, facts, Weighed(bytes=0, cells=()))
            candidates = _list_powers(jobs, most)[:_MOST_CANDIDATES]
            placement = _measure(largest or cells[-1], total, widest, candidates, session, on_gpus=True)
            return placement.model_copy(update={"weighed": weighed})
        reason = "one cell a GPU" if execution.devices == 1 else f"{execution.devices} GPUs a cell"
        return Placement(jobs=jobs, threads=_divide(total, jobs, widest), reason=reason)
    most = min(most, max(1, total // execution.devices))
    if most == 1 or total == 1:
        return Placement(jobs=1, threads=widest, reason="one cell or one core leaves no choice")
    if not may_measure:
        jobs = min(total, most)
        return Placement(
            jobs=jobs,
            threads=_divide(total, jobs, widest),
            reason="a cell a core, until the study measures it",
        )
    on_measuring()
    return _measure(cells[-1], total, widest, _list_powers(1, min(total, most))[-_MOST_CANDIDATES:], session)


def _go_on(
    cells: Sequence[Cell],
    session: Session,
    before: Placement,
    facts: DataFacts,
    *,
    on_measuring: Callable[[], None],
    may_measure: bool,
) -> Placement:
    """As many cells as fit beside each other with the threads of ``before``; on GPUs no more than were tried there."""
    execution = cells[0].config.execution
    affinity = session.executor.affinity(execution.device)
    total = session.threads or affinity.threads
    most = min(len(cells), affinity.most_jobs or len(cells))
    room, kept = max(1, total // before.threads), "the threads a cell that the study was begun with"
    one_each = max(1, affinity.num_gpus // execution.devices)
    if affinity.num_gpus:  # Whose memory holds no more cells than were tried. Of a few left over, jobs were fewer.
        fastest = max(before.measured, key=_rate).jobs if before.measured else 1
        room = min(room, max(before.jobs, fastest, one_each))
    if session.jobs is not None:
        return before.model_copy(update={"jobs": min(session.jobs, most), "reason": f"--jobs, and {kept}"})
    placement = before.model_copy(update={"jobs": min(room, most), "reason": kept})
    if not affinity.num_gpus or placement.jobs <= one_each or before.weighed is None:
        return placement
    larger, weighed = _find_larger(cells, facts, before.weighed)
    if larger is None:
        return placement.model_copy(update={"weighed": weighed})
    if not (may_measure and affinity.shares_gpus and execution.devices == 1):
        return placement.model_copy(update={"jobs": one_each, "reason": f"one cell a GPU of a larger arm, and {kept}"})
    on_measuring()
    candidates = _list_powers(one_each, placement.jobs)[:_MOST_CANDIDATES]
    again = _measure(before.arrange(larger), total, before.threads, candidates, session, on_gpus=True)
    found = {"jobs": again.jobs, "measured": again.measured, "weighed": weighed}
    return placement.model_copy(update={**found, "reason": f"{again.reason}, of a larger arm, and {kept}"})


def _find_larger(cells: Sequence[Cell], facts: DataFacts, known: Weighed) -> tuple[Cell | None, Weighed]:
    """The largest of the cells that are not ``known``, if it is larger than those, and what is known then."""
    of_known = set(known.cells)
    weights = weigh_cells([cell for cell in cells if _name_size(cell) not in of_known], facts)
    seen = (*known.cells, *map(_name_size, weights))
    largest = max(weights, key=lambda cell: weights[cell], default=None)
    if largest is None or weights[largest] <= (known.bytes if known.bytes is not None else sys.float_info.max):
        return None, known.model_copy(update={"cells": seen})
    weight = weights[largest]
    return largest, Weighed(bytes=None if weight == math.inf else int(weight), cells=seen)


def _name_size(cell: Cell) -> tuple[str, int]:
    return cell.arm, cell.config.recipe.batch_size


def weigh_cells(cells: Sequence[Cell], facts: DataFacts) -> dict[Cell, float]:
    """The first cell of each arm and batch size, and the bytes that its training takes.

    They are those of values kept for the backward pass and of the state of parameters. A network of which that cannot
    be counted takes more than any other. Takes some tenths of a second a network.
    """
    import vtbench.models  # noqa: F401  (fills the registry)
    from vtbench.profiling.profile import profile_source
    from vtbench.profiling.sources import resolve_source

    def weigh(cell: Cell) -> float:
        seen = facts.of(cell.arm)
        try:
            counted = profile_source(
                resolve_source(cell.config.spelling, image_size=seen.image_size, num_classes=seen.num_classes)
            )
        except UserError:
            return math.inf
        if isinstance(counted.activations, NotMeasured):
            return math.inf
        return counted.activations.bytes * cell.config.recipe.batch_size + counted.params * _BYTES_OF_A_PARAMETER

    firsts = {_name_size(cell): cell for cell in reversed(cells)}
    return {cell: weigh(cell) for cell in firsts.values()}


def _divide(total: int, jobs: int, widest: int) -> int:
    """The threads of each of ``jobs`` cells; no machine has more than ``widest``."""
    return max(1, min(total // jobs, widest))


def _list_powers(first: int, most: int) -> list[int]:
    """``first``, twice as many and so on, up to ``most``."""
    return [first * 2**power for power in range(most.bit_length()) if first * 2**power <= most]


def _measure(
    cell: Cell, total: int, widest: int, candidates: list[int], session: Session, *, on_gpus: bool = False
) -> Placement:
    """The fastest of ``candidates``; on GPUs more than the first of them also in turns, where no cell is compiled."""
    measured = list[MeasuredPlacement]()
    turns = candidates[1:] if on_gpus and can_take_turns(cell.config) and "compile" not in session.ways else ()
    for jobs, in_turns in (*((jobs, False) for jobs in candidates), *((jobs, True) for jobs in turns)):
        threads = _divide(total, jobs, widest)
        probed = [cell.with_threads(threads)] * jobs  # Equal work, so that the rates can be compared.
        executor = session.executor.taking_turns() if in_turns else session.executor
        speeds = measure_speeds(probed, replace(session, executor=executor))
        known = [speed for speed in speeds if not isinstance(speed, NotMeasured)]
        if len(known) == len(speeds) and (executor.took_turns or not in_turns):
            # Cells in turns load one after the other, and the others wait.
            rate = round(sum(one.run_images_per_second if on_gpus else one.images_per_second for one in known), 1)
            measured.append(MeasuredPlacement(jobs=jobs, threads=threads, images_per_second=rate, in_turns=in_turns))
    if not measured:
        return Placement(jobs=1, threads=widest, reason="the probe could not measure anything, so one cell at a time")
    best = max(measured, key=_rate)
    given = f" with the {format_items(total, 'thread')} of --threads" if session.threads else ""
    reason = f"the fastest measured{given}"
    return Placement(jobs=best.jobs, threads=best.threads, reason=reason, measured=tuple(measured))


def _rate(measured: MeasuredPlacement) -> float:
    return measured.images_per_second
