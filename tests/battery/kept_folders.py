"""Folders as vtbench leaves them, and the commands that read them or go on in them."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from calling import call
from good_inputs import TINY_DATA, TINY_MODEL

from vtbench.training import loop

TINY_SEGMENTER = "vt_fpn_resnet18:width=4,num_tokens=4,stem=small"
TRAIN = ("--data", TINY_DATA, "--image-size", "16", "--device", "cpu", "--threads", "1")
IN_PROCESS = ("--device", "cpu", "--executor", "in_process", "--jobs", "1", "--threads", "1")
SMALL = ("--recipe", "small", "--epochs", "1")
READ = {
    "report": ("report", "{kept}", "--out", "out/deeper"),
    "archive": ("report", "{kept}", "--archive", "out/deeper"),
    "predict": ("predict", "{kept}", "--image", "a.png", "--device", "cpu", "--out", "out/deeper"),
    "init": ("train", TINY_MODEL, *TRAIN, *SMALL, "--init", "{kept}", "--out", "out/deeper"),
}


@dataclass(frozen=True)
class Kept:
    """A folder, what may lie in it, and commands by name."""

    files: tuple[str, ...]
    commands: dict[str, tuple[str, ...]]


RUN = (
    "record.json",
    "config.json",
    "certificate.json",
    "costs.json",
    "environment.json",
    "metrics.jsonl",
    "timing.jsonl",
)
KEPT = {
    "run": Kept(
        (*RUN, "weights.safetensors", ".lock"),
        {**READ, "train": ("train", TINY_MODEL, *TRAIN, *SMALL, "--out", "{kept}")},
    ),
    "begun run": Kept(
        (
            *RUN[1:],
            "earlier_environments.jsonl",
            "checkpoint/00000003.safetensors",
            "checkpoint/00000003.sha256",
            ".lock",
        ),
        {"report": READ["report"], "train": ("train", TINY_MODEL, *TRAIN, "--recipe", "small", "--out", "{kept}")},
    ),
    "segmentation run": Kept(
        ("record.json", "examples.zip"),
        {name: READ[name] for name in ("report", "predict")},
    ),
    "study": Kept(
        ("study.json", "split.json", "lock", "cells/narrow/seed-0/record.json", "cells/wide/seed-0/certificate.json"),
        {"report": READ["report"], "ablate": ("ablate", "study.toml", *IN_PROCESS, "--out", "{kept}")},
    ),
    "archive": Kept(
        (
            "report.json",
            "records/convolution-seed0.json",
            "records/static-seed1.json",
            "report.md",
            "tables/summary.csv",
        ),
        {"report": READ["report"], "archive": READ["archive"], "again": ("report", "{kept}", "--archive", "{kept}")},
    ),
    "rows": Kept(
        ("rows.jsonl",), {"profile": ("profile", "resnet20:width=2", "resnet20:width=4", "--out", "{kept}/rows.jsonl")}
    ),
}
"""Every kind of folder that is read again."""


class _Enough(BaseException):
    """The run has gone far enough."""


def make_kept(kind: str, folder: Path, finished_run: Path, finished_study: Path) -> None:
    """Lay a folder of the ``kind`` out; the current folder holds ``study.toml``."""
    if kind == "run":
        shutil.copytree(finished_run, folder)
    elif kind == "begun run":
        _begin(folder)
    elif kind == "segmentation run":
        _call("train", TINY_SEGMENTER, *TRAIN, "--recipe", "segmentation_small", "--epochs", "1", "--out", str(folder))
    elif kind == "archive":
        _call("report", str(finished_study), "--archive", str(folder))
    else:
        folder.mkdir()
        name = {"study": "ablate", "rows": "profile"}[kind]
        _call(*(word.format(kept=folder) for word in KEPT[kind].commands[name]))


def _call(*words: str) -> None:
    answer = call(words)
    assert answer.code == 0, answer.err


def _begin(folder: Path) -> None:
    """A run that was killed after its third save, and had been begun elsewhere."""
    saved = loop.publish_checkpoint
    times = itertools.count(1)

    def save(place: Path, data: bytes) -> None:
        saved(place, data)
        if next(times) == 3:
            raise _Enough

    with pytest.MonkeyPatch.context() as patch, pytest.raises(_Enough):
        patch.setattr(loop, "publish_checkpoint", save)
        call([word.format(kept=folder) for word in KEPT["begun run"].commands["train"]])
    before = (folder / "environment.json").read_text()
    (folder / "earlier_environments.jsonl").write_text(" ".join(before.split()) + "\n")
