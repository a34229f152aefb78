"""Commands that torchrun starts: one process of several does them, and all train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vtbench.cli.started import help_first
from vtbench.errors import UserError

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SMALL = ["--data", "scenes:num_train=20,num_val=10", "--recipe", "small", "--epochs", "1", "--device", "cpu"]


def call(folder: Path, *words: str, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, "--max-restarts", str(restarts), "-m", "vtbench", *words, *SMALL, "--out", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)


def test_other_verbs_are_refused_under_torchrun_by_the_first_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="train and ablate"):
        help_first(["report", "runs"])
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as left:
        help_first(["report", "runs"])
    assert left.value.code == 2


@pytest.mark.slow
def test_torchrun_trains_one_run_in_two_processes(tmp_path: Path) -> None:
    done = call(tmp_path, "train", "resnet20:width=2", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["status"], record["environment"]["devices"]) == ("finished", 2)


@pytest.mark.slow
@pytest.mark.not_in_ci
def test_torchrun_carries_a_study_out_cell_by_cell(tmp_path: Path) -> None:
    (tmp_path / "width.toml").write_text(
        'question = "Is wider better?"\n[arms]\nnarrow = "resnet20:width=2"\nwide = "resnet20:width=4"\n'
    )
    done = call(tmp_path / "study", "ablate", str(tmp_path / "width.toml"), "--seeds", "1")
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in (tmp_path / "study" / "cells").glob("*/*/record.json")]
    assert [(one["status"], one["environment"]["devices"]) for one in records] == [("finished", 2)] * 2
