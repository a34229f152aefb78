"""``track``: what is called from Python told to trackers, as ``--track`` does."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vtbench.errors import UserError
from vtbench.trackers import check_trackers
from vtbench.trackers.tracking import Tracking, open_tracking


@contextmanager
def tell_trackers(track: str | Sequence[str] | None, root: Path, group: str) -> Iterator[Tracking]:
    """The trackers ``track`` while the block runs; of one that failed the caller is warned behind it.

    Raises ``UserError`` for a tracker that there is not or that is not installed.
    """
    if track is not None and not isinstance(track, str | Sequence):
        raise UserError(f"track is {track!r}. Give the name of a tracker, such as 'mlflow', or several in a list.")
    names = check_trackers([track] if isinstance(track, str) else track or ())
    said: list[str] = []
    try:
        with open_tracking(names, root, group, said.append) as tracking:
            yield tracking
    finally:
        for text in said:
            warnings.warn(text, stacklevel=4)
