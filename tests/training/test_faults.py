"""What goes wrong in mid-run is recorded as what it is, and nothing before it is lost."""

from __future__ import annotations

import errno
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_parts import TinyImages, digest_run, load_both, load_tiny, tiny_config, tiny_world

from vtbench.configuration import OptimizerConfig
from vtbench.datasets import DataError
from vtbench.errors import UserError
from vtbench.records import NotMeasured, RunRecord, load_record
from vtbench.tasks import TASKS
from vtbench.training import train_run
from vtbench.training.faults import describe_fault
from vtbench.training.progress import ProgressListener
from vtbench.training.trainer import Trainer


@pytest.fixture(params=list(TASKS))
def task(request: pytest.FixtureRequest) -> str:
    return request.param


def fail_at_step(patch: pytest.MonkeyPatch, step: int, error: BaseException) -> None:
    """Let training break in the step that is given, counted from 0."""
    train_batch = Trainer.train_batch

    def breaking(self: Trainer, images: torch.Tensor, labels: torch.Tensor) -> None:
        if self.step == step:
            raise error
        train_batch(self, images, labels)

    patch.setattr(Trainer, "train_batch", breaking)


def poison_at_step(patch: pytest.MonkeyPatch, step: int, value: float) -> None:
    """Give the step a batch of which no finite loss can come."""
    train_batch = Trainer.train_batch

    def poisoned(self: Trainer, images: torch.Tensor, labels: torch.Tensor) -> None:
        train_batch(self, images * value if self.step == step else images, labels)

    patch.setattr(Trainer, "train_batch", poisoned)


@pytest.mark.parametrize("step", [0, 1, 2, 4, 5])
def test_a_nan_ends_the_run_as_failed_and_names_epoch_and_step(
    tiny: pytest.MonkeyPatch, tmp_path: Path, step: int
) -> None:
    poison_at_step(tiny, step, float("nan"))
    record = train_run(tiny_config(), tmp_path)
    assert record.status == "failed"
    assert record.error is not None
    assert f"became NaN in epoch {step // 3 + 1}, batch {step % 3 + 1} (step {step + 1} of 6)" in record.error
    assert len(record.epochs) == step // 3
    assert isinstance(record.headline, NotMeasured)
    assert record.weights_sha256 is None
    assert load_record(tmp_path / "record.json", RunRecord) == record
    assert not (tmp_path / "error.txt").exists()


def test_a_learning_rate_out_of_all_bounds_is_found_to_diverge(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    optimizer = OptimizerConfig(learning_rate=1e30)
    record = train_run(tiny_config(optimizer=optimizer, gradient_clip_norm=None, epochs=5), tmp_path)
    assert record.error is not None
    assert "loss" in record.error
    json.loads((tmp_path / "record.json").read_text(), parse_constant=pytest.fail)


def test_no_checkpoint_holds_a_diverged_state(tiny: pytest.MonkeyPatch, tmp_path: Path, task: str) -> None:
    poison_at_step(tiny, 4, float("nan"))
    config = tiny_config(execution={"checkpoint_seconds": 1e-9})
    assert train_run(config, tmp_path).status == "failed"
    tiny.undo()
    with tiny_world(task):
        assert train_run(config, tmp_path).status == "finished"
        train_run(config, tmp_path / "straight")
    assert digest_run(tmp_path) == digest_run(tmp_path / "straight")


def test_a_validation_loss_that_is_no_number_fails_the_run(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(config: Any, split: str, *, seed: int) -> TinyImages:
        return TinyImages(12, 2, std=(0.0, 1.0, 1.0)) if split == "val" else load_tiny(config, split, seed=seed)

    tiny.setattr("vtbench.training.preparation.load_datasets", load_both(load))
    with np.errstate(all="ignore"):
        record = train_run(tiny_config(), tmp_path)
    assert record.error is not None
    assert "validation loss is no finite number after epoch 1" in record.error


class VanishingImages(TinyImages):
    """Images of which one turns out to be unreadable after some reads."""

    reads_left = 1000

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        if VanishingImages.reads_left == 0:
            raise DataError("The image cat/7.png is corrupt: image file is truncated.")
        VanishingImages.reads_left -= 1
        return super().read(indices)


@pytest.mark.parametrize(("task", "num_reads"), [("classification", 4), ("segmentation", 8)])  # Masks are read, too.
def test_an_image_that_turns_corrupt_is_named_and_the_epochs_before_are_kept(
    tiny: pytest.MonkeyPatch, tmp_path: Path, num_reads: int
) -> None:
    tiny.setattr(VanishingImages, "reads_left", num_reads)

    def load(config: Any, split: str, *, seed: int) -> TinyImages:
        return VanishingImages(20, 1) if split == "train" else load_tiny(config, split, seed=seed)

    tiny.setattr("vtbench.training.preparation.load_datasets", load_both(load))
    record = train_run(tiny_config(), tmp_path)
    assert record.status == "failed"
    assert record.error == "The image cat/7.png is corrupt: image file is truncated."
    assert len(record.epochs) == 1
    tiny.setattr(VanishingImages, "reads_left", 1000)
    assert train_run(tiny_config(), tmp_path).status == "finished"


def test_data_that_changed_since_the_run_was_begun_is_refused(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fail_at_step(tiny, 4, DataError("gone"))
    train_run(tiny_config(), tmp_path)
    tiny.setattr("vtbench.training.preparation.load_datasets", load_both(lambda config, split, seed: TinyImages(20, 9)))
    with pytest.raises(UserError, match="changed since then: train data, val data"):
        train_run(tiny_config(), tmp_path)


KNOWN_FAULTS: list[tuple[BaseException, str]] = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), "Memory does not suffice"),
    (MemoryError(), "Memory does not suffice: an allocation failed"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"), "Memory does not"),
    (torch.AcceleratorError("CUDA error: unspecified launch failure"), "The GPU reported an error or is gone"),
    (RuntimeError("CUDA error: device-side assert triggered"), "The GPU reported an error or is gone"),
    (OSError(errno.ENOSPC, "No space left on device", "/somewhere"), "The disk is full at /somewhere"),
    (OSError(errno.EROFS, "Read-only file system", "/somewhere"), "A file cannot be read or written at /somewhere"),
    (
        OSError(errno.EIO, "Input/output error", "/somewhere"),
        "could not be read or written at /somewhere: Input/output",
    ),
]


@pytest.mark.parametrize(("error", "message"), KNOWN_FAULTS, ids=lambda value: type(value).__name__)
def test_a_known_fault_is_recorded_in_plain_words_and_the_run_goes_on_from_the_epoch_before(
    tiny: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, message: str
) -> None:
    fail_at_step(tiny, 4, error)
    record = train_run(tiny_config(), tmp_path)
    assert record.status == "failed"
    assert record.error is not None
    assert message in record.error
    assert len(record.epochs) == 1
    assert list((tmp_path / "checkpoint").glob("*.safetensors"))
    assert not (tmp_path / "error.txt").exists()


def test_an_unknown_fault_is_recorded_with_its_traceback(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fail_at_step(tiny, 1, KeyError("fc"))
    record = train_run(tiny_config(), tmp_path)
    assert record.error == "Unexpected KeyError: 'fc'. The traceback stands in error.txt."
    assert "in breaking" in (tmp_path / "error.txt").read_text()
    assert describe_fault(KeyError("fc")) is None


def test_a_failed_run_that_is_called_again_goes_on_and_ends_as_if_nothing_had_been(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fail_at_step(patch, 4, MemoryError())
        assert train_run(tiny_config(), tmp_path / "failed").status == "failed"
    train_run(tiny_config(), tmp_path / "straight")
    assert train_run(tiny_config(), tmp_path / "failed").status == "finished"
    assert digest_run(tmp_path / "failed") == digest_run(tmp_path / "straight")


class DiskThatFills(ProgressListener):
    """From the end of the first epoch on nothing can be written."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch

    def on_epoch(self, *arguments: Any) -> None:
        def refuse(handle: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch.setattr("os.fsync", refuse)


def test_a_full_disk_is_told_and_loses_nothing_that_was_saved(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match=r"broke off\. The disk is full"):
        train_run(tiny_config(), tmp_path / "run", listener=DiskThatFills(patch))
    assert not list((tmp_path / "run").rglob("*.partial"))
    assert not (tmp_path / "run" / "record.json").exists()
    train_run(tiny_config(), tmp_path / "run")
    train_run(tiny_config(), tmp_path / "straight")
    assert digest_run(tmp_path / "run") == digest_run(tmp_path / "straight")


class LimitedFiles(ProgressListener):
    """From the end of the first epoch on the system stops every write at this many bytes, as a full disk would."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_epoch(self, *arguments: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.num_bytes, self.before[1]))

    def lift(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


@pytest.mark.parametrize("num_bytes", [0, 500, 1000])
def test_a_write_that_the_system_stops_half_way_costs_no_finished_epoch(
    tiny: pytest.MonkeyPatch, tmp_path: Path, num_bytes: int
) -> None:
    limit = LimitedFiles(num_bytes)
    try:
        with pytest.raises(UserError, match=r"broke off\. A file could not be read or written: File too large"):
            train_run(tiny_config(), tmp_path / "run", listener=limit)
    finally:
        limit.lift()
    assert not list((tmp_path / "run").rglob("*.partial"))
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1
    train_run(tiny_config(), tmp_path / "run")
    train_run(tiny_config(), tmp_path / "straight")
    assert digest_run(tmp_path / "run") == digest_run(tmp_path / "straight")
