"""A whole study with two jobs, killed with everything it started, comes to the same bytes as one left alone."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from vtbench.files import hash_file

CLASSIFICATION = """
question = "Does it survive?"
recipe = "small"
epochs = 12
seeds = 2

[data]
spec = "scenes"
limit_train = 640
limit_val = 100

[arms]
narrow = "resnet20:width=2"
wide = "resnet20:width=4"
"""
SEGMENTATION = """
question = "Does it survive?"
recipe = "segmentation_small"
epochs = 12
seeds = 2

[data]
spec = "scenes"
image_size = 64
limit_train = 320
limit_val = 60

[arms]
FPN = "fpn_resnet18:width=4"
VT-FPN = "vt_fpn_resnet18:width=4,num_tokens=4"
"""
FOREIGN = """
question = "Does it survive?"
recipe = "small"
epochs = 8
seeds = 2

[data]
spec = "scenes"
limit_train = 320
limit_val = 100

[arms]
ours = "resnet20:width=2"
timm = "timm:test_resnet"
torchvision = "torchvision:mobilenet_v3_small,width_mult=0.25"
mine = "FOLDER/nets.py:Small,width=4"
"""
NETS = """
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, num_classes, width):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(3, 1, 1))
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 4, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.LazyLinear(num_classes)

    def forward(self, images):
        return self.head(self.body(images * self.scale).flatten(1))
"""
STUDIES = pytest.mark.parametrize(
    "text", [CLASSIFICATION, SEGMENTATION, FOREIGN], ids=["classification", "segmentation", "foreign"]
)
KILLS = 5
PATIENCE = 800
"""Seconds that a study may take at most; what takes longer stands still."""


def start_study(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vtbench.cli.main", "ablate", str(folder.parent / "study.toml")]
    command += ["--device", "cpu", "--jobs", "2", "--threads", "2", "--out", str(folder)]
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def write_study(folder: Path, text: str) -> None:
    (folder / "nets.py").write_text(NETS)
    (folder / "study.toml").write_text(text.replace("FOLDER", str(folder)))


def read_digests(folder: Path) -> dict[str, str]:
    names = ("record.json", "metrics.jsonl", "weights.safetensors", "examples.zip")
    files = sorted(path for name in names for path in (folder / "cells").rglob(name))
    return {str(path.relative_to(folder)): hash_file(path) for path in files}


def find_files(folder: Path, name: str) -> Iterator[Path]:
    """Files of that name in a folder that another process writes to: ``rglob`` raises where a folder has just gone."""
    return (Path(place) / name for place, _, names in os.walk(folder) if name in names)


def wait_for_training(study: subprocess.Popen[bytes], folder: Path) -> bool:
    """Until a cell that this process began has told of it; False if the study ended before."""
    before = {path: path.stat().st_mtime_ns for path in find_files(folder, "environment.json")}
    while study.poll() is None:
        if any(before.get(path) != path.stat().st_mtime_ns for path in find_files(folder, "environment.json")):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.not_in_ci
@STUDIES
def test_a_two_job_study_killed_five_times_equals_the_uninterrupted_one(tmp_path: Path, text: str) -> None:
    write_study(tmp_path, text)
    draw = random.Random(20)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    study = start_study(whole)
    assert wait_for_training(study, whole)
    began = time.monotonic()
    assert study.wait(timeout=PATIENCE) == 0
    training_seconds = time.monotonic() - began
    expected = read_digests(whole)
    assert len(expected) == 2 * len(tomllib.loads(text)["arms"]) * (4 if text == SEGMENTATION else 3)

    for _ in range(KILLS):
        study = start_study(killed)
        if draw.random() < 0.8:  # The others are killed while they start.
            wait_for_training(study, killed)
        time.sleep(draw.uniform(0.0, training_seconds / KILLS))
        assert study.poll() is None, f"it ended before it could be killed: {killed.with_suffix('.log').read_text()}"
        os.killpg(study.pid, signal.SIGKILL)
        study.wait(timeout=PATIENCE)
    assert start_study(killed).wait(timeout=PATIENCE) == 0
    assert read_digests(killed) == expected
    assert json.loads((killed / "study.json").read_text()) == json.loads((whole / "study.json").read_text())


@pytest.mark.slow
@pytest.mark.not_in_ci
@STUDIES
def test_ctrl_c_ends_a_study_within_five_seconds_and_says_how_to_go_on(tmp_path: Path, text: str) -> None:
    write_study(tmp_path, re.sub("epochs = [0-9]+", "epochs = 500", text))
    folder = tmp_path / "stopped"
    study = start_study(folder)
    # Until both train their second epoch.
    while len(list(find_files(folder, "metrics.jsonl"))) < 2 and study.poll() is None:
        time.sleep(0.05)
    began, began_ns = time.monotonic(), time.time_ns()
    os.killpg(study.pid, signal.SIGINT)  # A terminal sends it to the whole group.
    assert study.wait(timeout=PATIENCE) == 130
    assert time.monotonic() - began < 5
    for cell in folder.glob("cells/*/seed-0"):
        assert max(path.stat().st_mtime_ns for path in cell.glob("checkpoint/*.safetensors")) > began_ns
    assert not list(folder.rglob("record.json"))
    assert "The same command goes on from there" in folder.with_suffix(".log").read_text()
