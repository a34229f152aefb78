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
from vtbench.run_folder import CHECKPOINTS, WEIGHTS
from vtbench.tasks import TASKS
from vtbench.training import loop, train_run
from vtbench.training.checkpoint import find_checkpoint


@pytest.fixture(params=list(TASKS))
def task(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTBENCH_CACHE", str(tmp_path / "cache"))


def train(folder: Path, **execution: Any) -> Any:
    config = tiny_config(execution=execution)
    data = DataConfig(spec="scenes:num_train=20,num_val=12", image_size=16)
    return train_run(config.model_copy(update={"data": data}), folder)


def alter_after_first_epoch(patch: pytest.MonkeyPatch, bytes_an_image: int, *, cut: bool) -> None:
    """Overwrite with zeros, or cut off, every file of the cache that holds so many bytes an image."""
    pack = loop.pack_tensors
    sizes = {20 * bytes_an_image, 12 * bytes_an_image}

    # An epoch is told of when it is saved, which may be when the next has been read.
    def alter(tensors: Any, values: dict[str, Any]) -> bytes:
        if (values["epoch"], values["batch"]) == (1, 0):
            for path in (find_cache_folder() / "decoded").glob("*.u8"):
                if path.stat().st_size in sizes:
                    with path.open("r+b") as stream:
                        stream.truncate(0) if cut else stream.write(bytes(path.stat().st_size))
        return pack(tensors, values)

    patch.setattr(loop, "pack_tensors", alter)


@pytest.mark.parametrize(
    ("cut", "workers"),
    [(False, 0), (True, 0), pytest.param(True, 1, marks=pytest.mark.slow)],
    ids=["zeroed", "cut off", "cut off under a worker"],
)
def test_no_epoch_of_altered_pixels_is_recorded_and_the_same_command_goes_on_to_the_same_bits(
    tiny: pytest.MonkeyPatch, tmp_path: Path, task: str, cut: bool, workers: int
) -> None:
    tiny.setattr("vtbench.training.preparation.load_datasets", load_both(load_dataset))
    train(tmp_path / "undisturbed")
    altered = 16 * 16 * (3 if task == "classification" else 1)
    alter_after_first_epoch(tiny, altered, cut=cut)
    record = train(tmp_path / "run", workers=workers)
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
