"""Which folders hold a run or a study: by what their files say, since others have a ``config.json``, too."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal

from vtbench.errors import UserError
from vtbench.files import parse_json
from vtbench.run_folder import (
    CERTIFICATE,
    CHECKPOINTS,
    CONFIG,
    COSTS,
    ENVIRONMENT,
    METRICS,
    PLACEMENT,
    RECORD,
    RUN_LOCK,
    STUDY,
    STUDY_LOCK,
    TIMING,
)

_KEYS = {
    CONFIG: {"variant", "data", "recipe", "seed"},
    RECORD: {"variant", "status", "config"},
    RUN_LOCK: {"pid", "host", "since"},
    STUDY: {"name", "arms", "seeds"},
}
"""What a file of ours says at least."""
_BESIDE_RUN = frozenset({CERTIFICATE, CHECKPOINTS, COSTS, ENVIRONMENT, METRICS, TIMING, RUN_LOCK, RECORD, CONFIG})
_BESIDE_STUDY = frozenset({PLACEMENT, STUDY_LOCK, "cells"})


def find_folders(*folders: Path) -> Iterator[tuple[Literal["study", "run"], Path]]:
    """The studies and single runs in and beneath ``folders``, in the order of their paths.

    Raises ``UserError`` for a folder that is not there.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"There is no folder {folder}. Give a run, a study, or a folder of them, such as runs.")
        yield from _find(folder)


def _find(folder: Path) -> Iterator[tuple[Literal["study", "run"], Path]]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:  # Gone, or not to be read: there is nothing to see.
        return
    names = {entry.name for entry in entries}
    if STUDY in names and is_ours(folder / STUDY, names & _BESIDE_STUDY):
        yield "study", folder
    elif is_run(folder, names):
        yield "run", folder
    else:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _find(Path(entry.path))


def list_entries(folder: Path) -> dict[Path, list[str]]:
    """Everything in ``folder`` and beneath it, by the folder that it is in; links are not followed."""
    return {Path(place): [*folders, *files] for place, folders, files in os.walk(folder)}


def is_run(folder: Path, names: Collection[str]) -> bool:
    """Whether the files ``names`` of ``folder`` are those of a run, a damaged one included."""
    beside = _BESIDE_RUN.intersection(names)
    return any(name in beside and is_ours(folder / name, beside - {name}) for name in (CONFIG, RECORD, RUN_LOCK))


def is_ours(path: Path, beside: Collection[str]) -> bool:
    """Whether a file says what ours say; one that says nothing is ours where others are ``beside`` it."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return bool(beside)
        values: Any = parse_json(path.read_bytes())
    except OSError:
        return False
    except ValueError:
        return bool(beside)
    if not isinstance(values, dict):
        return False
    return bool(beside) if not values else values.keys() >= _KEYS[path.name]
