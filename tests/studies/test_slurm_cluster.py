"""Cells as jobs of submitit's local executor, cut by their time limit, come to the bytes of one machine."""

import sys
from pathlib import Path

import pytest
from stand_in_cells import CellNotes, make_study

from vtbench.configuration import DataConfig, Recipe
from vtbench.files import hash_file
from vtbench.studies.cells import Cell, list_cells
from vtbench.studies.events import CellStarted
from vtbench.studies.executors.local import LocalProcesses
from vtbench.studies.executors.slurm import SlurmJobs, SlurmKnobs
from vtbench.training import StopRequest

pytestmark = pytest.mark.cluster
FILES = ("weights.safetensors", "metrics.jsonl", "record.json", "answers.safetensors")
LIMIT_SECONDS = 15


def make_cells(folder: Path) -> list[Cell]:
    data = DataConfig(spec="scenes", limit_train=80, limit_val=20)
    arms = {"narrow": "resnet20:width=2", "wide": "resnet20:width=3"}
    study = make_study(arms, seeds=1, data=data, recipe=Recipe(name="mini", epochs=20))
    return [cell.with_threads(1) for cell in list_cells(study, folder)]


def hash_cells(cells: list[Cell]) -> dict[tuple[str, str], str]:
    return {(cell.arm, name): hash_file(cell.folder / name) for cell in cells for name in FILES}


def test_jobs_that_their_time_limit_cuts_save_before_it_and_go_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole, cut = make_cells(tmp_path / "whole"), make_cells(tmp_path / "cut")
    results = list(LocalProcesses().run(whole, 2, watcher=CellNotes(), stop=StopRequest()))
    assert [result.status for result in results] == ["finished", "finished"]
    notes, knobs = CellNotes(), SlurmKnobs(cluster="local", minutes=1, notice=60 - LIMIT_SECONDS)
    executor = SlurmJobs(knobs, (sys.executable, str(Path(__file__).with_name("resting_cells.py"))))
    results = list(executor.run(cut, 2, watcher=notes, stop=StopRequest()))
    assert {result.cell.arm: result.error for result in results} == {"narrow": None, "wide": None}
    assert [result.status for result in results] == ["finished", "finished"]
    starts = [event.run.first_epoch for _, event in notes.events if isinstance(event, CellStarted)]
    assert len(starts) > 2 and max(starts) > 0
    assert sorted(notes.begun) == ["narrow", "wide"]
    assert hash_cells(cut) == hash_cells(whole)
    assert not list(tmp_path.glob(".vtbench-*"))
