"""A study belongs to data, not to a path: it goes on where they were moved, and stops where others took their place."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import load_file
from stand_in_cells import make_study

import vtbench.models  # noqa: F401
from vtbench.configuration import DataConfig, ExecutionConfig, RunConfig
from vtbench.errors import UserError
from vtbench.files import hash_file
from vtbench.records import Certificate, RunRecord, load_record, save_record
from vtbench.studies.executor import Session
from vtbench.studies.executors.in_process import InProcess
from vtbench.studies.planning import plan_study
from vtbench.studies.resolution import inspect_study
from vtbench.studies.running import StudyOutcome, run_study
from vtbench.studies.worker import run_cell
from vtbench.training import RunStopped, StopRequest, load_recipe, train_run
from vtbench.training.progress import BatchProgress, ProgressListener


def write_parquet(folder: Path, *, seed: int = 0) -> Path:
    """Sixteen training and eight validation images of 8x8 in two classes."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    for split, count in (("train", 16), ("val", 8)):
        images = [_encode(draw.integers(0, 256, (8, 8, 3), np.uint8)) for _ in range(count)]
        table = pa.table({"image": pa.array(images, pa.binary()), "label": [number % 2 for number in range(count)]})
        pq.write_table(table, folder / f"{split}.parquet")
    return folder


def _encode(pixels: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def settings(data: Path, **limits: int) -> dict[str, Any]:
    return {
        "data": DataConfig(spec=f"parquet:{data}", **limits),
        "recipe": load_recipe("small", epochs=1, batch_size=8),
        "execution": ExecutionConfig(device="cpu", threads=1),
    }


def run(folder: Path, data: Path, *, seeds: int, **limits: int) -> StudyOutcome:
    study = make_study(
        {"narrow": "resnet20:width=4", "wide": "resnet20:width=6"}, seeds=seeds, **settings(data, **limits)
    )
    session = Session(InProcess(run_cell), StopRequest(), jobs=1, threads=1)
    return run_study(study, folder, session, watcher=Silent())


class Silent:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@pytest.mark.parametrize("limits", [{}, {"limit_train": 8, "limit_val": 4}], ids=["whole", "limited"])
def test_other_data_under_the_same_path_are_refused_naming_the_cells(tmp_path: Path, limits: dict[str, int]) -> None:
    data = write_parquet(tmp_path / "data")
    assert run(tmp_path / "study", data, seeds=1, **limits).finished == 2
    shutil.rmtree(data)
    write_parquet(data, seed=1)
    before = hash_file(tmp_path / "study" / "study.json")
    with pytest.raises(UserError, match=r"other training images: seed 0 \(narrow, wide\); other validation images"):
        run(tmp_path / "study", data, seeds=2, **limits)
    assert hash_file(tmp_path / "study" / "study.json") == before
    assert not (tmp_path / "study" / "cells" / "narrow" / "seed-1").exists()


def test_a_study_goes_on_after_data_and_results_were_moved_together(tmp_path: Path) -> None:
    run(tmp_path / "old" / "study", write_parquet(tmp_path / "old" / "data"), seeds=1)
    shutil.move(tmp_path / "old", tmp_path / "new")
    outcome = run(tmp_path / "new" / "study", tmp_path / "new" / "data", seeds=2)
    assert (outcome.finished, outcome.failed) == (4, {})
    assert run(tmp_path / "new" / "study", tmp_path / "new" / "data", seeds=2).finished == 4
    records = [load_record(path, RunRecord) for path in (tmp_path / "new" / "study").rglob("record.json")]
    assert {record.config.data.spec for record in records if record.seed} == {f"parquet:{tmp_path / 'new' / 'data'}"}


def test_a_plan_asks_for_the_same_data_too(tmp_path: Path) -> None:
    run(tmp_path / "study", write_parquet(tmp_path / "data"), seeds=1)
    study = make_study({"narrow": "resnet20:width=4"}, seeds=2, **settings(write_parquet(tmp_path / "other", seed=1)))
    with pytest.raises(UserError, match="other training images: seed 0"):
        plan_study(study, tmp_path / "study", Session(InProcess(run_cell), StopRequest(), jobs=1, threads=1))


def test_other_data_at_another_path_are_refused_by_content(tmp_path: Path) -> None:
    run(tmp_path / "study", write_parquet(tmp_path / "data"), seeds=1)
    with pytest.raises(UserError, match="other training images"):
        run(tmp_path / "study", write_parquet(tmp_path / "other", seed=1), seeds=1)


def test_data_of_another_kind_are_another_study_without_being_opened(tmp_path: Path) -> None:
    run(tmp_path / "study", write_parquet(tmp_path / "data"), seeds=1)
    study = make_study({"narrow": "resnet20:width=4"}, data=DataConfig(spec="folder:/nowhere"))
    with pytest.raises(UserError, match="holds another study"):
        run_study(study, tmp_path / "study", Session(InProcess(run_cell), StopRequest()), watcher=Silent())


def test_a_record_of_other_data_is_not_believed_though_all_is_finished_and_the_data_are_gone(tmp_path: Path) -> None:
    data, other = write_parquet(tmp_path / "data"), write_parquet(tmp_path / "other", seed=1)
    run(tmp_path / "study", data, seeds=1)
    run(tmp_path / "another", other, seeds=1)
    place = Path("cells", "wide", "seed-0", "record.json")
    shutil.copy(tmp_path / "another" / place, tmp_path / "study" / place)
    with pytest.raises(UserError, match=r"other training images: seed 0 \(wide\)"):
        run(tmp_path / "study", data, seeds=2)
    shutil.rmtree(data)
    with pytest.raises(UserError, match=r"different images: seed 0 \(narrow\) and seed 0 \(wide\)\. So one has the r"):
        run(tmp_path / "study", data, seeds=1)


def test_a_leak_is_said_once_by_a_run_and_once_by_a_study(tmp_path: Path) -> None:
    data = write_parquet(tmp_path / "data")
    shutil.copy(data / "train.parquet", data / "val.parquet")
    config = RunConfig(variant="resnet20:width=4", **settings(data))
    said: list[str] = []
    listener = ProgressListener()
    listener.on_message = said.append  # type: ignore[method-assign]
    train_run(config, tmp_path / "run", listener=listener)
    train_run(config, tmp_path / "cell", listener=listener, study="of many")
    (note,) = (text for text in said if "training images too" in text)
    assert note.startswith(f"16 of the 16 validation images of parquet:{data}")
    assert note in (inspect_study(make_study({"narrow": "resnet20:width=4"}, **settings(data))).note or "")


class StopAfterOneBatch(ProgressListener):
    def __init__(self) -> None:
        self.stop = StopRequest()

    def on_batch(self, progress: BatchProgress) -> None:
        self.stop.request()


def train(folder: Path, data: Path, listener: StopAfterOneBatch | None = None) -> RunRecord:
    config = RunConfig(variant="resnet20:width=4", **settings(data))
    if listener is None:
        return train_run(config, folder)
    return train_run(config, folder, listener=listener, stop=listener.stop)


def test_an_interrupted_run_goes_on_from_moved_data_to_the_same_weights_and_not_from_others(tmp_path: Path) -> None:
    data = write_parquet(tmp_path / "data")
    train(tmp_path / "whole", data)
    with pytest.raises(RunStopped):
        train(tmp_path / "run", data, StopAfterOneBatch())
    shutil.move(data, tmp_path / "moved")
    with pytest.raises(UserError, match="changed since then: train data, val data"):
        train(tmp_path / "run", write_parquet(tmp_path / "other", seed=1))
    train(tmp_path / "run", tmp_path / "moved")
    expected, found = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "run"))
    assert all(bool((found[name] == tensor).all()) for name, tensor in expected.items())


def test_a_run_begun_before_content_was_certified_goes_on_and_is_certified_then(tmp_path: Path) -> None:
    data = write_parquet(tmp_path / "data")
    with pytest.raises(RunStopped):
        train(tmp_path / "run", data, StopAfterOneBatch())
    path = tmp_path / "run" / "certificate.json"
    now = load_record(path, Certificate)
    save_record(path, now.model_copy(update={"train_content": None, "val_content": None}))
    assert "content" not in path.read_text()
    assert train(tmp_path / "run", data).certificate == now


def test_a_finished_run_is_shown_for_its_own_data_only(tmp_path: Path) -> None:
    data = write_parquet(tmp_path / "data")
    record = train(tmp_path / "run", data)
    shutil.move(data, tmp_path / "moved")
    assert train(tmp_path / "run", tmp_path / "moved") == record
    with pytest.raises(UserError, match=r"The finished run in .*run was trained and validated on other data"):
        train(tmp_path / "run", write_parquet(tmp_path / "other", seed=1))
