from __future__ import annotations

import errno
import itertools
import threading
import time
from pathlib import Path

import pytest
import torch
from tiny_parts import tiny_config

from vtbench.records import EpochRecord, load_lines
from vtbench.training import StopRequest
from vtbench.training import loop as loop_module
from vtbench.training.loop import EpochLoop
from vtbench.training.preparation import prepare_run
from vtbench.training.progress import SILENT, BatchProgress, ProgressListener


@pytest.fixture(autouse=True)
def no_step_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine one may be, and would be saved after: these tests count saves."""
    monkeypatch.setattr(loop_module, "_SLOW_STEP_SECONDS", 1e9)


def loop_of(folder: Path, listener: ProgressListener = SILENT, **recipe: object) -> EpochLoop:
    prepared = prepare_run(tiny_config(**recipe), folder, torch.device("cpu"), listener)
    return EpochLoop(prepared, folder, listener, StopRequest())


def test_the_rate_of_an_epoch_is_the_one_of_its_last_step(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loop = loop_of(tmp_path, epochs=4)
    train_batch, rates = loop.trainer.train_batch, list[float]()

    def watch(*batch: torch.Tensor) -> None:
        train_batch(*batch)
        rates.append(loop.trainer.optimizer.param_groups[0]["lr"])

    tiny.setattr(loop.trainer, "train_batch", watch)
    loop.run()
    assert [epoch.learning_rate for epoch in loop.epochs] == rates[2::3]
    assert len(set(rates[2::3])) == 4


def test_every_epoch_trains_in_training_mode_though_evaluation_lies_between(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loop = loop_of(tmp_path, epochs=3)
    train_batch, modes = loop.trainer.train_batch, []

    def watch(*batch: torch.Tensor) -> None:
        modes.append(loop.trainer.model.training)
        train_batch(*batch)

    tiny.setattr(loop.trainer, "train_batch", watch)
    loop.run()
    assert modes == [True] * 9


def test_both_the_weights_and_their_average_are_evaluated(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loop = loop_of(tmp_path, ema_decay=0.9, optimizer={"learning_rate": 0.5})
    loop.run()
    last = loop.epochs[-1]
    assert last.averaged_val is not None
    assert last.outcome == last.averaged_val != last.val


def test_a_step_is_done_while_the_state_before_it_is_written(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And the files of an epoch come after its checkpoint."""
    loop = loop_of(tmp_path, epochs=2)
    train_batch, publish = loop.trainer.train_batch, loop_module.publish_checkpoint
    is_training, seen = threading.Event(), list[tuple[bool, bool]]()

    def train(*batch: torch.Tensor) -> None:
        if loop.trainer.epoch == 1:
            is_training.set()
        train_batch(*batch)

    def save(folder: Path, data: bytes) -> None:
        seen.append((is_training.wait(60), (tmp_path / "metrics.jsonl").exists()))
        publish(folder, data)

    tiny.setattr(loop.trainer, "train_batch", train)
    tiny.setattr(loop_module, "publish_checkpoint", save)
    loop.run()
    assert seen == [(True, False), (True, True)]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_state_that_cannot_be_written_ends_the_run_with_what_was_saved_before(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loop = loop_of(tmp_path, epochs=4)
    publish, times = loop_module.publish_checkpoint, itertools.count(1)

    def save(folder: Path, data: bytes) -> None:
        if next(times) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        publish(folder, data)

    tiny.setattr(loop_module, "publish_checkpoint", save)
    with pytest.raises(OSError, match="No space left"):
        loop.run()
    assert loop.trainer.epoch < 4
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_an_epoch_is_told_of_when_it_is_written_and_nothing_of_the_next_before(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    is_training, publish = threading.Event(), loop_module.publish_checkpoint

    class Diary(ProgressListener):
        def on_batch(self, progress: BatchProgress) -> None:
            told.append(("batch", progress.epoch, 0))

        def on_epoch(self, epoch: EpochRecord, timing: object) -> None:
            told.append(("epoch", epoch.epoch, len(load_lines(tmp_path / "metrics.jsonl", EpochRecord))))

    def save(folder: Path, data: bytes) -> None:
        is_training.wait(60)
        publish(folder, data)

    loop = loop_of(tmp_path, Diary(), epochs=2)
    train_batch = loop.trainer.train_batch

    def train(*batch: torch.Tensor) -> None:
        if loop.trainer.step == 5:  # The last of the second epoch.
            is_training.set()
        train_batch(*batch)

    tiny.setattr(loop_module, "publish_checkpoint", save)
    tiny.setattr(loop_module, "_SECONDS_BETWEEN_REPORTS", 0.0)
    tiny.setattr(loop.trainer, "train_batch", train)
    loop.run()
    assert [one for one in told if one[0] == "epoch"] == [("epoch", 0, 1), ("epoch", 1, 2)]
    first, last = told.index(("epoch", 0, 1)), told.index(("epoch", 1, 2))
    assert {epoch for what, epoch, _ in told[:first] if what == "batch"} == {0}
    assert {epoch for what, epoch, _ in told[first:last] if what == "batch"} == {1}


def test_the_last_batch_of_every_epoch_is_told_of_however_slow_the_disk(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []

    class Diary(ProgressListener):
        def on_batch(self, progress: BatchProgress) -> None:
            told.append((progress.epoch, progress.batch))

    def save(folder: Path, data: bytes) -> None:
        time.sleep(0.3)
        publish(folder, data)

    publish = loop_module.publish_checkpoint
    tiny.setattr(loop_module, "publish_checkpoint", save)
    tiny.setattr(loop_module, "_SECONDS_BETWEEN_REPORTS", 1e9)
    loop = loop_of(tmp_path, Diary(), epochs=3)
    loop.run()
    last = loop.trainer.batches_per_epoch
    assert [one for one in told if one[1] == last] == [(0, last), (1, last), (2, last)]
