from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_parts import tiny_config

from vtbench.records import EpochRecord, TimingRecord
from vtbench.training import StopRequest
from vtbench.training.loop import EpochLoop
from vtbench.training.preparation import prepare_run
from vtbench.training.progress import ProgressListener


class Observer(ProgressListener):
    """Reads off the optimiser and the network, after each epoch, what its record must say."""

    def __init__(self) -> None:
        self.loop: EpochLoop
        self.rates: list[tuple[float, float]] = []

    def on_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        self.rates.append((epoch.learning_rate, self.loop.trainer.optimizer.param_groups[0]["lr"]))


def loop_of(folder: Path, **recipe: object) -> tuple[EpochLoop, Observer]:
    observer = Observer()
    prepared = prepare_run(tiny_config(**recipe), folder, torch.device("cpu"), observer)
    observer.loop = EpochLoop(prepared, folder, observer, StopRequest())
    return observer.loop, observer


def test_the_rate_of_an_epoch_is_the_one_of_its_last_step(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loop, observer = loop_of(tmp_path, epochs=4)
    loop.run()
    assert all(recorded == used for recorded, used in observer.rates)
    assert len({used for _, used in observer.rates}) == 4


def test_every_epoch_trains_in_training_mode_though_evaluation_lies_between(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loop, _ = loop_of(tmp_path, epochs=3)
    train_batch, modes = loop.trainer.train_batch, []

    def watch(*batch: torch.Tensor) -> None:
        modes.append(loop.trainer.model.training)
        train_batch(*batch)

    tiny.setattr(loop.trainer, "train_batch", watch)
    loop.run()
    assert modes == [True] * 9


def test_both_the_weights_and_their_average_are_evaluated(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loop, _ = loop_of(tmp_path, ema_decay=0.9, optimizer={"learning_rate": 0.5})
    loop.run()
    last = loop.epochs[-1]
    assert last.averaged_val is not None
    assert last.outcome == last.averaged_val != last.val
