from __future__ import annotations

import math

from vtbench.records import EpochRecord, TimingRecord
from vtbench.studies.events import CellEpoch, CellProgress, EventEmitter, decode_event, encode_event
from vtbench.training import BatchProgress

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
    assert events[0].epoch.outcome == {"loss": 1.0, "top1_percent": 75.0}


def test_the_loss_of_a_run_that_diverges_reaches_another_process() -> None:
    diverged = AVERAGED.model_copy(update={"train": {"loss": math.inf, "top1_percent": 10.0}})
    batch = BatchProgress(epoch=0, batch=1, num_batches=2, train={"loss": -math.inf}, images_per_second=1.0)
    for event in (CellEpoch(epoch=diverged, timing=TIMING), CellProgress(progress=batch)):
        assert decode_event(encode_event(event)) == event
