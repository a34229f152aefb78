"""A folder that is asked for a run and holds none says what it holds, and how one of its runs is named."""

import sys
from pathlib import Path

import pytest

from vtbench.errors import UserError
from vtbench.records import save_record
from vtbench.training.folder import find_finished, refuse_study

sys.path.append(str(Path(__file__).parents[1] / "reporting"))
from synthetic_runs import make_run


def finish(folder: Path) -> None:
    save_record(folder / "record.json", make_run(seed=0))
    (folder / "weights.safetensors").touch()


def make_study(folder: Path, *cells: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text("{}")
    for cell in cells:
        finish(folder / "cells" / cell)
    return folder


def refuse(folder: Path) -> str:
    with pytest.raises(UserError) as refused:
        find_finished(folder)
    return str(refused.value)


def test_a_study_says_how_many_runs_it_has_and_names_one(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "my study", "static/seed-0", "static/seed-1")
    answer = refuse(folder)
    assert f"There is no finished run in {folder}. It is the folder of a study with 2 finished runs." in answer
    assert f"such as '{folder}/cells/static/seed-0'." in answer
    assert "a study with 0 finished runs: vtbench ablate goes on" in refuse(make_study(tmp_path / "begun"))


def test_a_run_that_failed_is_not_one_to_name(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "a" / "first")
    save_record(folder / "cells" / "static" / "seed-0" / "record.json", make_run(seed=0, error="out of luck"))
    assert "a study with 0 finished runs: vtbench ablate goes on" in refuse(folder)
    make_study(tmp_path / "a" / "second", "static/seed-1")
    assert f"such as {tmp_path}/a/second/cells/static/seed-1." in refuse(tmp_path / "a")


def test_a_folder_of_runs_or_of_studies_says_so_and_names_one(tmp_path: Path) -> None:
    make_study(tmp_path / "runs" / "components", "static/seed-0")
    answer = refuse(tmp_path / "runs")
    assert "It holds 1 study (components). Name one of its runs, such as " in answer
    finish(tmp_path / "runs" / "b")
    finish(tmp_path / "runs" / "a")
    assert f"It holds 2 runs. Name one of its runs, such as {tmp_path}/runs/a." in refuse(tmp_path / "runs")
    assert "It is a file" in refuse(tmp_path / "runs" / "a" / "record.json")


def test_no_run_is_put_into_the_folder_of_a_study(tmp_path: Path) -> None:
    refuse_study(tmp_path)
    with pytest.raises(UserError, match="is the folder of a study, and a run needs one of its own"):
        refuse_study(make_study(tmp_path))
