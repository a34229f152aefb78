"""A worker whose cells rest after every epoch, so that how long they take depends little on how busy the machine is."""

import time
from dataclasses import dataclass

from vtbench.records import EpochRecord, RunRecord, TimingRecord
from vtbench.studies.cells import Cell
from vtbench.studies.worker import run_cell, serve
from vtbench.training import ListenerGroup, ProgressListener, StopRequest

REST_SECONDS = 0.8


@dataclass
class Rest(ProgressListener):
    """Sleeps after an epoch, unless the cell shall stop."""

    stop: StopRequest

    def on_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        until = time.monotonic() + REST_SECONDS
        while time.monotonic() < until and not self.stop.requested:
            time.sleep(0.05)


def rest_and_run(cell: Cell, listener: ProgressListener, stop: StopRequest) -> RunRecord:
    """Train ``cell`` without hurry."""
    return run_cell(cell, ListenerGroup(listener, Rest(stop)), stop)


if __name__ == "__main__":
    serve(rest_and_run)
