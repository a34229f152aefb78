"""Links out of a folder that was named: nothing is written, moved or removed through them by any verb."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from calling import call, check_answer
from good_inputs import STUDY, TINY_MODEL
from kept_folders import IN_PROCESS, SMALL, TRAIN

from vtbench.errors import UserError
from vtbench.files import finish_set, place_within

TUNED = f"{STUDY}[tuning]\nrecipe.optimizer.learning_rate = [0.05, 0.1]\n"
ABLATE = ("ablate", "tuned.toml", *IN_PROCESS, "--out", "kept")
TRAIN_IN_TWO = ("train", TINY_MODEL, *TRAIN, *SMALL, "--devices", "2", "--out", "kept")
PREDICT = ("predict", "kept", "--image", "a.png", "--device", "cpu")
LINKS = {
    "evaluations": ("evaluate", "kept", "--device", "cpu"),
    "export": ("export", "kept", "--format", "torch-export"),
    "tokens": ("tokens", "kept", "--image", "a.png", "--device", "cpu"),
    "predictions": PREDICT,
    "predictions/masks": PREDICT,
    "predictions/overlays": PREDICT,
    "report": ("report", "kept"),
    "report/.decided": ("report", "kept"),
    "tuning": ABLATE,
    "tuning/narrow": ABLATE,
    "tuning/narrow/trial-1": ABLATE,
    "cells": ABLATE,
    "cells/wide": ABLATE,
    "cells/wide/seed-0": ABLATE,
    "cells/wide/seed-0/log.txt": ABLATE,
    "log.txt": TRAIN_IN_TWO,
}
"""What lies in a folder, and a command on the folder that would write there."""


@pytest.mark.parametrize("link", LINKS)
def test_nothing_is_written_or_removed_through_a_link_out_of_the_folder(
    link: str, place: Path, finished_run: Path, finished_segmenter: Path
) -> None:
    Path("tuned.toml").write_text(TUNED)
    if LINKS[link] in (ABLATE, TRAIN_IN_TWO):
        Path("kept").mkdir()
    else:
        shutil.copytree(finished_segmenter if LINKS[link] == PREDICT else finished_run, "kept")
    Path("outside").mkdir()
    Path("outside", "diary").write_text("precious")
    Path("kept", link).parent.mkdir(parents=True, exist_ok=True)
    Path("kept", link).symlink_to(place / "outside" / ("diary" if link.endswith(".txt") else ""))
    answer = call(LINKS[link])
    check_answer(answer, refused=True)
    assert "is a link to" in " ".join(answer.err.split())
    assert [path.read_text() for path in Path("outside").iterdir()] == ["precious"]


@pytest.mark.parametrize("pipe", ["cells/wide/seed-0/log.txt", "log.txt"])
def test_a_pipe_in_the_place_of_a_log_is_refused_and_not_waited_for(pipe: str, place: Path) -> None:
    Path("tuned.toml").write_text(TUNED)
    Path("kept", pipe).parent.mkdir(parents=True)
    os.mkfifo(Path("kept", pipe))
    answer = call(LINKS[pipe])
    check_answer(answer, refused=True)
    assert "is a pipe or a device, not a log" in " ".join(answer.err.split())


def test_the_folder_that_was_named_may_be_a_link_and_a_part_below_it_may_not(tmp_path: Path) -> None:
    (tmp_path / "there" / "deep").mkdir(parents=True)
    (tmp_path / "named").symlink_to(tmp_path / "there")
    (tmp_path / "there" / "linked").symlink_to(tmp_path / "there" / "deep")
    assert place_within(tmp_path / "named", "deep/file") == tmp_path / "named" / "deep" / "file"
    with pytest.raises(UserError, match="named/linked is a link to"):
        place_within(tmp_path / "named", "linked/file")
    finish_set(tmp_path / "named")
