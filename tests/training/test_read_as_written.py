"""What a run reads is what was written: pixels, masks and weights that are altered while it runs give no numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_parts import digest_run, load_both, tiny_config

from vtbench.configuration import DataConfig
from vtbench.datasets import load_dataset
from vtbench.datasets.cache import find_cache_folder
from vtbench.files import publish_bytes
from vtbench.records import EpochRecord, TimingRecord
from vtbench.run_folder import CHECKPOINTS, WEIGHTS
from vtbench.tasks import TASKS
from vtbench.training import train_run
from vtbench.training.checkpoint import find_checkpoint
from vtbench.training.progress import SILENT, ProgressListener


@pytest.fixture(params=list(TASKS))
def task(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTBENCH_CACHE", str(tmp_path / "cache"))


def train(folder: Path, listener: ProgressListener = SILENT, **execution: Any) -> Any:
    config = tiny_config(execution=execution)
    data = DataConfig(spec="scenes:num_train=20,num_val=12", image_size=16)
    return train_run(config.model_copy(update={"data": data}), folder, listener=listener)


class AlterAfterFirstEpoch(ProgressListener):
    """Overwrites with zeros, or cuts off, every file of the cache that holds ``size`` bytes an image."""

    def __init__(self, bytes_an_image: int, *, cut: bool) -> None:
        self.bytes_an_image, self.cut = bytes_an_image, cut

    def on_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        if epoch.epoch > 0:
            return
        sizes = {20 * self.bytes_an_image, 12 * self.bytes_an_image}
        for path in (find_cache_folder() / "decoded").glob("*.u8"):
            if path.stat().st_size in sizes:
                with path.open("r+b") as stream:
                    stream.truncate(0) if self.cut else stream.write(bytes(path.stat().st_size))


@pytest.mark.parametrize("cut", [False, True], ids=["zeroed", "cut off"])
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_no_epoch_of_altered_pixels_is_recorded_and_the_same_command_goes_on_to_the_same_bits(
    tiny: pytest.MonkeyPatch, tmp_path: Path, task: str, cut: bool, workers: int
) -> None:
    tiny.setattr("vtbench.training.preparation.load_datasets", load_both(load_dataset))
    train(tmp_path / "undisturbed")
    altered = 16 * 16 * (3 if task == "classification" else 1)
    record = train(tmp_path / "run", AlterAfterFirstEpoch(altered, cut=cut), workers=workers)
    assert record.status == "failed" and "has been altered or cut off" in record.error
    assert len(record.epochs) == 1
    kept = find_checkpoint(tmp_path / "run" / CHECKPOINTS).checkpoint
    assert kept is not None and kept.values["epoch"] == 1
    assert train(tmp_path / "run", workers=workers).status == "finished"
    there, here = digest_run(tmp_path / "undisturbed"), digest_run(tmp_path / "run")
    assert {name for name in there if there[name] != here[name]} <= (
        {"config.json", "record.json"} if workers else set()
    )


def test_the_record_names_the_weights_that_were_trained_and_not_what_lies_on_the_disk(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = train_run(tiny_config(), tmp_path / "undisturbed").weights_sha256

    def publish_altered(path: Path, data: bytes) -> None:
        publish_bytes(path, data[:-1] + b"?" if path.name == WEIGHTS else data)

    tiny.setattr("vtbench.training.run.publish_bytes", publish_altered)
    assert train_run(tiny_config(), tmp_path / "run").weights_sha256 == expected
