"""A study that is told to trackers while it is shown."""

from __future__ import annotations

from vtbench.records import RunRecord
from vtbench.studies.cells import Cell
from vtbench.studies.events import CellEpoch, CellStarted, Event
from vtbench.studies.running import StudyState, StudyWatcher
from vtbench.trackers.tracking import Tracking


class TrackedStudy:
    """Stands before the watcher ``shown`` and tells ``tracking`` of every cell that it sees."""

    def __init__(self, shown: StudyWatcher, tracking: Tracking) -> None:
        self._shown, self._tracking = shown, tracking
        self.on_set_aside, self.on_measuring = shown.on_set_aside, shown.on_measuring
        self.on_begin, self.on_end, self.on_turn = shown.on_begin, shown.on_end, shown.on_turn

    def on_study(self, state: StudyState) -> None:
        """Cells that were finished before are told, too, unless they were."""
        self._shown.on_study(state)
        for cell in state.cells:
            if (record := state.records.get(cell.folder)) is not None:
                self._tracking.finish(cell.folder, cell.label, record)

    def on_event(self, cell: Cell, event: Event) -> None:
        """A cell begins or has done an epoch."""
        self._shown.on_event(cell, event)
        if isinstance(event, CellStarted | CellEpoch):
            self._tracking.update(cell.folder, cell.label)

    def on_record(self, cell: Cell, record: RunRecord) -> None:
        """A cell has ended."""
        self._shown.on_record(cell, record)
        self._tracking.finish(cell.folder, cell.label, record)
