"""What was taken from the user's files is said before training and stands in the record."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vtbench.cli.main import run
from vtbench.configuration import DataConfig
from vtbench.studies.resolution import inspect_data

TAKEN = "taken from the data: train=train, val=test"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of noise, validated on ``test/``."""
    monkeypatch.setenv("VTBENCH_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(3):
                pixels = draw.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.png")
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["vtbench", *arguments])
    with pytest.raises(SystemExit) as ended:
        run()
        raise SystemExit(0)
    assert not ended.value.code


def test_training_says_it_in_its_first_line_and_records_it(folder, monkeypatch, capsys) -> None:
    options = ("--data", f"folder:{folder}", "--recipe", "small", "--epochs", "1", "--threads", "1", "--device", "cpu")
    call(monkeypatch, "train", "resnet20:width=4", *options, "--out", str(folder / "run"))
    assert capsys.readouterr().err.splitlines()[0] == TAKEN
    record = json.loads((folder / "run" / "record.json").read_text("utf-8"))
    assert record["taken"] == {"train": "train", "val": "test"}
    call(monkeypatch, "train", "resnet20:width=4", "--recipe", "small", "--epochs", "1", "--limit-train", "20",
         "--limit-val", "10", "--threads", "1", "--out", str(folder / "scenes"))  # fmt: skip
    assert "taken" not in "".join(capsys.readouterr()) + (folder / "scenes" / "record.json").read_text("utf-8")


def test_a_study_says_it_with_what_else_is_to_be_known_of_the_data(folder) -> None:
    assert inspect_data(DataConfig(spec=f"folder:{folder}"), "classification").note == TAKEN
    assert inspect_data(DataConfig(spec="scenes:num_train=20,num_val=10"), "classification").note is None
