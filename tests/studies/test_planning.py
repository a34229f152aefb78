from pathlib import Path

import pytest
from stand_in_cells import COSTS, FACTS, IN_PROCESS, SpeedyExecutor, list_files, make_record, make_study

from vtbench.records import NotMeasured, save_record
from vtbench.studies import planning, probe, running
from vtbench.studies.cells import list_cells
from vtbench.studies.executor import Executor, Session
from vtbench.studies.planning import StudyPlan, plan_study
from vtbench.training import StopRequest


@pytest.fixture(autouse=True)
def known_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "inspect_study", lambda study: FACTS)
    monkeypatch.setattr(probe, "MEASURE_SECONDS", 0.2)


def plan(folder: Path, *, executor: Executor, arm: str = "better", jobs: int | None = None) -> StudyPlan:
    study = make_study({"good": "resnet20", arm: "resnet32"}, seeds=2)
    return plan_study(study, folder, Session(executor, StopRequest(), jobs=jobs, threads=2))


def test_a_plan_says_cells_costs_and_time_and_writes_nothing(tmp_path: Path) -> None:
    made = plan(tmp_path / "mini", executor=SpeedyExecutor({1: 2.0}), jobs=2)
    assert [(arm.arm, arm.num_open, arm.num_cells, arm.costs) for arm in made.arms] == [
        ("good", 2, 2, COSTS),
        ("better", 2, 2, COSTS),
    ]
    assert made.macs == 4 * 1_000_000 * (3 * 1000 + 100) * 4
    assert isinstance(made.seconds, float)
    assert made.seconds == pytest.approx(4 * (4 * 2.0) / 2, rel=0.1)
    assert not (tmp_path / "mini").exists()


def test_a_plan_counts_only_what_is_still_to_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "inspect_study", lambda study: FACTS)
    for seed in (0, 1):
        folder = tmp_path / "cells" / "good" / f"seed-{seed}"
        cell = list_cells(make_study({"good": "resnet20"}), tmp_path)[seed]
        folder.mkdir(parents=True)
        save_record(folder / "record.json", make_record(cell))
    before = list_files(tmp_path)
    made = plan(tmp_path, executor=SpeedyExecutor({1: 2.0}), jobs=2)
    assert [arm.num_open for arm in made.arms] == [0, 2]
    assert list_files(tmp_path) == before


def test_an_arm_that_fails_makes_the_time_unknown_and_is_named(tmp_path: Path) -> None:
    made = plan(tmp_path, executor=IN_PROCESS, arm="raises")
    assert isinstance(made.seconds, NotMeasured)
    assert made.seconds.reason == "raises: ValueError: a mistake in the code"
    assert isinstance(made.macs, NotMeasured)
    assert not isinstance(made.arms[0].speed, NotMeasured)
