"""Every tracker with its real library, written to disk and read back through the library's own interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from vtbench.configuration import DataConfig, ExecutionConfig, Recipe, RunConfig
from vtbench.documents.table import Table, make_table
from vtbench.errors import UserError
from vtbench.files import publish_text
from vtbench.records import (
    CostRecord,
    EnvironmentRecord,
    EpochRecord,
    RunRecord,
    TimingRecord,
    save_lines,
    save_record,
)
from vtbench.trackers import TRACKERS, TrackedRun, check_trackers
from vtbench.trackers.tracking import Tracking, _Told
from vtbench.trackers.wandb import _split_records, read_history

CONFIG = RunConfig(
    variant="resnet20", data=DataConfig(), recipe=Recipe(name="small", epochs=4), execution=ExecutionConfig()
)
COSTS = CostRecord(macs=40_550_000, params=269_722, input_shape=(3, 32, 32), num_classes=10)


def write_run(folder: Path, epochs: int) -> Path:
    publish_text(folder / "config.json", CONFIG.model_dump_json())
    save_record(folder / "costs.json", COSTS)
    records = [
        EpochRecord(
            epoch=n,
            learning_rate=0.1 / (n + 1),
            train={"loss": 2.0 - n / 8, "top1_percent": 10.0 * n},
            val={"loss": 2.5 - n / 8, "top1_percent": 12.5 * n, "iou_percent/3": 1.0},
        )
        for n in range(epochs)
    ]
    save_lines(folder / "metrics.jsonl", records)
    times = [TimingRecord(epoch=n, train_seconds=8, val_seconds=2, train_images_per_second=125) for n in range(epochs)]
    save_lines(folder / "timing.jsonl", times)
    return folder


def make_record() -> RunRecord:
    return RunRecord(
        task="classification",
        variant="resnet20",
        seed=0,
        status="finished",
        config=CONFIG,
        environment=EnvironmentRecord(
            vtbench="0",
            commit=None,
            dirty=None,
            python="3",
            platform="p",
            cpu="c",
            num_cores=1,
            threads=1,
            device="cpu",
            device_name="c",
            packages={},
        ),
        costs=COSTS,
        certificate=None,
        num_train=10,
        num_val=10,
        num_classes=10,
        epochs=(),
        outcome={"loss": 2.0, "top1_percent": 37.5},
        weights_sha256="ab" * 32,
    )


def track(names: tuple[str, ...], root: Path, epochs: int, *, finish: bool, warn: Callable[[str], None]) -> None:
    """A call that trains the run ``root/run`` up to so many epochs, and is stopped unless it finishes."""
    tracking = Tracking(names, root, "my study", warn)
    file = root / "run" / "metrics.jsonl"
    begun = len(file.read_text().splitlines()) if file.exists() else 0
    for done in range(begun, epochs + 1):
        tracking.update(write_run(root / "run", done), "resnet20, seed 0")
        while not tracking._tasks.empty():
            time.sleep(0.01)
    if finish:
        tracking.finish(root / "run", "resnet20, seed 0", make_record())
        tracking.conclude("my study: report", make_table(("arm", "top-1 (%)"), [("resnet20", "37.50")]))
    tracking.close(within_seconds=120)


Read = tuple[list[int], list[float], str, str]
"""Steps and values of one number, the texts of the run, and the table of the study."""


def read_tensorboard(root: Path) -> Read:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events, study = (EventAccumulator(str(folder / "tensorboard")) for folder in (root / "run", root))
    events.Reload()
    study.Reload()
    scalars = events.Scalars("val/top1_percent")
    texts = [events.Tensors(f"{name}/text_summary")[0].tensor_proto.string_val[0] for name in ("settings", "result")]
    report = study.Tensors("report/text_summary")[0].tensor_proto.string_val[0]
    assert "val/iou_percent/3" not in events.Tags()["scalars"]
    assert [event.step for event in events.Scalars("images_per_second")] == [1, 2, 3, 4]
    return [one.step for one in scalars], [one.value for one in scalars], b"".join(texts).decode(), report.decode()


def read_mlflow(root: Path) -> Read:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'my study'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["my study: report", "resnet20, seed 0"]
    run = runs["resnet20, seed 0"]
    assert run.info.status == "FINISHED"
    history = sorted(client.get_metric_history(run.info.run_id, "val/top1_percent"), key=lambda one: one.step)
    texts = {path.stem: path.read_text() for path in (root / "mlartifacts").rglob("*.md")}
    settings = "".join(f"| {key} | {value} |" for key, value in run.data.params.items())
    return [one.step for one in history], [one.value for one in history], settings + texts["result"], texts["report"]


def read_wandb(root: Path) -> Read:
    from wandb.proto import wandb_internal_pb2

    entries = [entry for entry in read_history(root / "run") if "val/top1_percent" in entry]
    texts, keys = [], set()
    for path in (root / "run" / "wandb").glob("offline-run-*/run-*.wandb"):
        for data in _split_records(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.HasField("run"):
                keys.add(record.run.run_id)
                texts += [f"| {item.key} | {json.loads(item.value_json)} |" for item in record.run.config.update]
    assert len(keys) == 1  # However often it went on, it is one run.
    texts += [path.read_text() for path in (root / "run").rglob("*.table.json")]
    report = "".join(path.read_text() for path in (root / "wandb").rglob("*.table.json"))
    return [one["_step"] for one in entries], [one["val/top1_percent"] for one in entries], "".join(texts), report


READERS = {"tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb}


@pytest.mark.parametrize("name", list(TRACKERS))
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_run_that_was_stopped_and_went_on_is_one_run_with_each_epoch_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    said: list[str] = []
    track((name,), tmp_path, 2, finish=False, warn=said.append)
    track((name,), tmp_path, 4, finish=True, warn=said.append)
    assert said == []
    steps, values, text, report = READERS[name](tmp_path)
    assert steps == [1, 2, 3, 4]
    assert values == pytest.approx([0.0, 12.5, 25.0, 37.5])
    for expected in ("recipe.epochs", "resnet20", "40,550,000", "37.5", "abababab", "costs.macs", "val loss"):
        assert expected in text, expected
    assert "top-1 (%)" in report and "37.50" in report
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    again = Tracking((name,), tmp_path, "my study", said.append)
    again.finish(tmp_path / "run", "resnet20, seed 0", make_record())
    again.close(within_seconds=120)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before  # It was told to its end.


class Told:
    """A tracker that remembers what it was told."""

    def __init__(self) -> None:
        self.numbers: dict[int, Mapping[str, float]] = {}

    def find_steps(self) -> set[int]:
        return set()

    def log_epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        self.numbers[step] = numbers


def test_an_epoch_whose_times_are_still_to_be_written_is_told_with_them(tmp_path: Path) -> None:
    tracker = Told()
    told = _Told("told", tracker)  # type: ignore[arg-type]
    run = write_run(tmp_path, 1)
    (run / "timing.jsonl").unlink()
    told.catch_up(run)
    assert tracker.numbers == {}
    times = (write_run(run, 2) / "timing.jsonl").read_text()
    metrics = (write_run(run, 3) / "metrics.jsonl").read_text()
    (run / "timing.jsonl").write_text(times)
    told.catch_up(run)
    assert list(tracker.numbers) == [1, 2] and len(metrics.splitlines()) == 3
    write_run(run, 3)
    told.catch_up(run)
    assert [numbers["images_per_second"] for numbers in tracker.numbers.values()] == [125] * 3
    (write_run(run, 4) / "timing.jsonl").write_text(times)
    told.catch_up(run, is_over=True)
    assert "images_per_second" not in tracker.numbers[4]


@pytest.mark.slow
def test_mlflow_says_nothing_of_the_tables_that_it_makes(tmp_path: Path) -> None:
    code = (
        "import pathlib; from vtbench.trackers import TRACKERS, TrackedRun; root = pathlib.Path.cwd(); "
        "TRACKERS['mlflow'](TrackedRun('key', 'run', root, root, 'group', {})).close('finished')"
    )
    hidden = ("MLFLOW_TRACKING_URI", "MLFLOW_LOGGING_LEVEL")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path, env=env, check=False
    )
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "mlflow.db").exists() and " INFO " not in told.stderr


class Recorder:
    package = "json"
    told: ClassVar[list[tuple[str, int]]] = []
    raises_at: int | None = None
    waits: float = 0.0

    def __init__(self, run: TrackedRun) -> None:
        self._key = run.name

    def find_steps(self) -> set[int]:
        return {step for name, step in self.told if name == self._key}

    def log_epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        time.sleep(self.waits)
        if step == self.raises_at:
            raise ConnectionError("the server\nis gone")
        self.told.append((self._key, step))

    def log_table(self, name: str, table: Table) -> None:
        pass

    def close(self, status: str) -> None:
        pass


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    kind: Any = type("Recorder", (Recorder,), {"told": []})
    monkeypatch.setitem(TRACKERS._entries, "recorder", kind)
    return kind


def test_a_tracker_that_fails_is_told_of_once_and_the_others_go_on(
    recorder: type[Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound: Any = type("Sound", (Recorder,), {"told": []})
    monkeypatch.setitem(TRACKERS._entries, "sound", sound)
    recorder.raises_at = 2
    said: list[str] = []
    track(("recorder", "sound"), tmp_path, 4, finish=True, warn=said.append)
    (warning,) = said
    assert "recorder failed" in warning and "ConnectionError: the server is gone" in warning
    assert recorder.told == [("resnet20, seed 0", 1)]
    assert [step for _, step in sound.told] == [1, 2, 3, 4]
    recorder.raises_at = None
    again = Tracking(("recorder", "sound"), tmp_path, "my study", said.append)
    again.finish(tmp_path / "run", "resnet20, seed 0", make_record())
    again.close()
    assert [step for _, step in recorder.told] == [1, 2, 3, 4] and len(sound.told) == 4


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("tensorboard", "run/tensorboard"),
        ("wandb", "run/wandb"),
        ("mlflow", "mlflow.db"),
        ("mlflow", "mlartifacts"),
    ],
)
def test_nothing_is_written_through_a_link_in_the_place_of_what_a_tracker_keeps(
    name: str, link: str, tmp_path: Path
) -> None:
    folder, elsewhere, said = write_run(tmp_path / "run", 1), tmp_path / "elsewhere", list[str]()
    elsewhere.mkdir()
    (tmp_path / link).symlink_to(elsewhere / ("store" if link.endswith(".db") else ""))
    tracking = Tracking([name], tmp_path, "group", said.append)
    tracking.update(folder, "run")
    tracking.close()
    assert not list(elsewhere.iterdir())
    assert "is a link to" in said[0]


def test_nothing_waits_for_a_slow_tracker(recorder: type[Recorder], tmp_path: Path) -> None:
    recorder.waits = 0.4
    said: list[str] = []
    tracking = Tracking(("recorder",), tmp_path, "my study", said.append)
    begun = time.monotonic()
    tracking.update(write_run(tmp_path / "run", 4), "one")
    tracking.close(within_seconds=0.1)
    assert time.monotonic() - begun < 1.0
    assert "cut short" in said[0]
    tracking._thread.join(10)
    assert [step for _, step in recorder.told] == [1, 2, 3, 4]


def test_what_is_not_there_is_a_mistake_with_its_mend(recorder: type[Recorder]) -> None:
    with pytest.raises(UserError, match="Did you mean 'tensorboard'"):
        check_trackers(["tensorbord"])
    recorder.package = "a_package_that_nobody_has"
    with pytest.raises(UserError, match=r"pip install 'vtbench\[recorder\]'"):
        check_trackers(["recorder"])
    assert check_trackers(["mlflow", "wandb", "mlflow"]) == ("mlflow", "wandb")
