from __future__ import annotations

from vtbench.records import EpochRecord, TimingRecord
from vtbench.studies.events import CellEpoch, EventEmitter

TIMING = TimingRecord(epoch=0, train_seconds=5.0, val_seconds=1.0, train_images_per_second=400.0)
AVERAGED = EpochRecord(
    epoch=0,
    learning_rate=0.1,
    train={"loss": 2.0, "top1_percent": 10.0},
    val={"loss": 2.0, "top1_percent": 20.0},
    averaged_val={"loss": 1.0, "top1_percent": 75.0},
)


def test_a_study_is_told_the_accuracy_of_the_averaged_weights_while_it_runs() -> None:
    events: list[object] = []
    EventEmitter(events.append).on_epoch(AVERAGED, TIMING)
    assert isinstance(events[0], CellEpoch)
    assert events[0].outcome == {"loss": 1.0, "top1_percent": 75.0}
