"""How a machine is shared out among cells: how many at once, with how many threads each.

The fastest split is measured, not guessed. It is kept in the study's folder, because the number of threads decides how
sums are rounded: every cell of a study gets the same number, also when the study is taken up again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import Field

from vtbench.configuration import Configuration
from vtbench.errors import UserError
from vtbench.files import publish_text
from vtbench.records import NotMeasured
from vtbench.run_folder import SPLIT
from vtbench.studies.cells import Cell
from vtbench.studies.executor import Executor
from vtbench.studies.probe import measure_speeds
from vtbench.training import StopRequest

_MOST_CANDIDATES = 4


class MeasuredSplit(Configuration):
    """What the probe saw of one way to share the machine out."""

    jobs: int
    threads: int
    images_per_second: float = Field(description="training images a second of all cells together")


class Split(Configuration):
    """``jobs`` cells at once with ``threads`` CPU threads each, and why."""

    jobs: int = Field(ge=1)
    threads: int = Field(ge=1)
    reason: str
    measured: tuple[MeasuredSplit, ...] = ()


MakeExecutor = Callable[[int, int], Executor]
"""An executor for so many jobs of so many threads."""


def count_cores() -> int:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_split(folder: Path) -> Split | None:
    """The split that the study in ``folder`` began with, if it has begun."""
    try:
        return Split.model_validate_json((folder / SPLIT).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / SPLIT} is damaged. Remove it, and the machine is measured again.") from error


def write_split(folder: Path, split: Split) -> None:
    """Keep the split with the study."""
    publish_text(folder / SPLIT, json.dumps(split.model_dump(mode="json"), indent=2) + "\n")


def choose_split(
    cells: Sequence[Cell],
    *,
    jobs: int | None,
    total_threads: int | None,
    num_gpus: int,
    before: Split | None,
    make_executor: MakeExecutor,
    stop: StopRequest,
    on_measuring: Callable[[], None] = lambda: None,
) -> Split:
    """Decide how the open ``cells`` are run.

    ``jobs`` and ``total_threads`` are the user's wishes, None meaning automatic. ``before`` is the split that the study
    began with: its threads a cell are kept. On CPUs the automatic split is the fastest of a few measured ones; with
    GPUs it is one cell a GPU. ``on_measuring`` is called before a measurement, which takes a while.
    """
    total = total_threads or count_cores()
    most = max(1, len(cells))
    if before is not None:
        jobs = min(jobs or max(1, total // before.threads), most)
        return before.model_copy(update={"jobs": jobs})
    if jobs is not None:
        return Split(jobs=min(jobs, most), threads=max(1, total // jobs), reason="as asked for")
    if num_gpus:
        jobs = min(num_gpus, most)
        return Split(jobs=jobs, threads=max(1, total // jobs), reason="one cell a GPU")
    if most == 1 or total == 1:
        return Split(jobs=1, threads=total, reason="one cell or one core leaves no choice")
    on_measuring()
    return _measure(cells, total, make_executor, stop)


def _measure(cells: Sequence[Cell], total: int, make_executor: MakeExecutor, stop: StopRequest) -> Split:
    candidates = [2**power for power in range(total.bit_length()) if 2**power <= min(total, len(cells))]
    measured = []
    for jobs in candidates[-_MOST_CANDIDATES:]:
        threads = total // jobs
        probed = [cells[-1].with_threads(threads)] * jobs  # Equal work, so that the rates of splits can be compared.
        speeds = measure_speeds(probed, make_executor(jobs, threads), stop=stop)
        known = [speed for speed in speeds if not isinstance(speed, NotMeasured)]
        if len(known) == len(speeds):
            rate = sum(speed.images_per_second for speed in known)
            measured.append(MeasuredSplit(jobs=jobs, threads=threads, images_per_second=round(rate, 1)))
    if not measured:
        return Split(jobs=1, threads=total, reason="the probe could not measure anything, so one cell at a time")
    best = max(measured, key=lambda one: one.images_per_second)
    return Split(jobs=best.jobs, threads=best.threads, reason="the fastest measured", measured=tuple(measured))
