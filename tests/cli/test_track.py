"""``--track`` on the command line: the run is told, and no worse off for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORDS = ("resnet20:width=4", "--data", "scenes:num_train=20,num_val=10", "--recipe", "small", "--epochs", "2")


def train(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    command = [sys.executable, "-m", "vtbench", "train", *WORDS, "--threads", "1", "--out", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment})


def read_steps(folder: Path) -> list[int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [event.step for event in events.Scalars("val/loss")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_tracked_run_is_the_run_that_it_would_have_been_also_where_a_tracker_fails(tmp_path: Path) -> None:
    words = ("--track", "tensorboard", "--track", "mlflow")
    tracked = train(tmp_path / "tracked", *words, MLFLOW_TRACKING_URI="nonsense://nowhere")
    assert tracked.returncode == 0, tracked.stderr
    (warning,) = [line for line in tracked.stderr.splitlines() if "Tracking with" in line]
    assert f"Tracking: tensorboard in {tmp_path / 'tracked'}\n" in tracked.stderr
    assert "mlflow failed" in warning and "Traceback" not in tracked.stderr
    assert read_steps(tmp_path / "tracked") == [1, 2]
    record = json.loads((tmp_path / "tracked" / "record.json").read_text())
    assert record["status"] == "finished" and "track" not in json.dumps(record["config"])
    again = train(tmp_path / "tracked", "--track", "tensorboard")
    assert again.returncode == 0 and read_steps(tmp_path / "tracked") == [1, 2]


def test_a_tracker_that_there_is_not_is_refused_before_anything_is_loaded_or_written(tmp_path: Path) -> None:
    refused = train(tmp_path / "run", "--track", "tensorbord")
    assert refused.returncode == 2 and "tensorboard" in refused.stderr and "Traceback" not in refused.stderr
    assert not (tmp_path / "run").exists()
