"""A study whose folder is kept in a store, too, while it is shown."""

from __future__ import annotations

import time

from vtbench.records import RunRecord
from vtbench.studies.cells import Cell
from vtbench.studies.events import CellEpoch, CellProgress, Event
from vtbench.studies.mirror import Mirror
from vtbench.studies.running import StudyState, StudyWatcher

_WITHIN_AN_EPOCH_SECONDS = 60.0


class MirroredStudy:
    """Stands before the watcher ``shown`` and tells ``mirror`` where files have changed."""

    def __init__(self, shown: StudyWatcher, mirror: Mirror) -> None:
        self._shown, self._mirror = shown, mirror
        self._noted: dict[Cell, float] = {}
        self.on_set_aside, self.on_measuring = shown.on_set_aside, shown.on_measuring
        self.on_begin, self.on_end, self.on_turn = shown.on_begin, shown.on_end, shown.on_turn

    def on_study(self, state: StudyState) -> None:
        """The study is written down."""
        self._shown.on_study(state)
        self._mirror.note(state.folder)

    def on_event(self, cell: Cell, event: Event) -> None:
        """After every epoch, and every minute of one, there is a checkpoint to be sent."""
        self._shown.on_event(cell, event)
        now = time.monotonic()
        is_due = isinstance(event, CellProgress) and now - self._noted.setdefault(cell, now) > _WITHIN_AN_EPOCH_SECONDS
        if is_due or isinstance(event, CellEpoch):
            self._noted[cell] = now
            self._mirror.note(cell.folder)

    def on_record(self, cell: Cell, record: RunRecord) -> None:
        """A cell has ended."""
        self._shown.on_record(cell, record)
        self._mirror.note(cell.folder)
