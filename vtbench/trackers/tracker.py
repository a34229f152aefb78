"""What a tracker is to vtbench, and where trackers are registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from vtbench.documents.table import Table
from vtbench.errors import UserError
from vtbench.registry import Registry

Status = Literal["finished", "failed", "stopped"]


@dataclass(frozen=True)
class TrackedRun:
    """One run as a tracker is told of it. ``key`` is its own wherever its folder lies, also after it went on.

    ``root`` is the folder of the whole call, a study's or the run's own; ``group`` the name of the study. The settings
    and costs are those of the files in ``folder``, by dotted key.
    """

    key: str
    name: str
    folder: Path
    root: Path
    group: str
    settings: Mapping[str, Any]


class Tracker(Protocol):
    """Holds one run. What it raises is told once and harms nothing; it may be slow, because nothing waits for it."""

    def find_steps(self) -> set[int]:
        """The epochs, from 1, that are there already from before the run went on."""

    def log_epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        """Enter what an epoch came to, from 1 on and in order."""

    def log_table(self, name: str, table: Table) -> None:
        """Enter a table: the last word on a run or a study."""

    def close(self, status: Status) -> None:
        """Write everything out. A stopped run will be opened again."""


class TrackerKind(Protocol):
    """Opens a `Tracker` of a run, new or as it was left; ``package`` is what has to be installed for it."""

    package: str

    def __call__(self, run: TrackedRun) -> Tracker:
        """Open the run."""


TRACKERS: Registry[TrackerKind] = Registry("tracker")
"""Every tracker that ``--track`` can name."""


def check_trackers(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once. Raises ``UserError`` for one that there is not, or whose package is not installed."""
    for name in names:
        package = TRACKERS[name].package
        if find_spec(package) is None:
            raise UserError(f"--track {name} needs the package {package}. Install it: pip install 'vtbench[{name}]'.")
    return tuple(dict.fromkeys(names))
