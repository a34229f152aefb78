from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from stand_in_cells import COSTS, FACTS, IN_PROCESS, SpeedyExecutor, list_files, make_record, make_study

from vtbench.records import CostRecord, NotMeasured, save_record
from vtbench.studies import planning, probe, running
from vtbench.studies.cells import Cell, list_cells
from vtbench.studies.executor import Executor, Session
from vtbench.studies.planning import StudyPlan, plan_study
from vtbench.studies.probe import CellSpeed
from vtbench.training import RunStart, StopRequest

START = RunStart("classification", "resnet20", "x", 0, "cpu", 4, 10, 1000, 100, 10, 0, 0, COSTS)


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


def test_of_many_arms_eight_are_measured_and_the_others_estimated_by_their_macs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    measured: list[Cell] = []

    def count(variant: str, image_size: tuple[int, int], num_classes: int) -> CostRecord:
        counted.append(variant)
        return COSTS.model_copy(update={"macs": 1_000_000 * int(variant.partition("=")[2])})

    def measure(cells: Sequence[Cell], session: Session) -> list[CellSpeed | NotMeasured]:
        measured.extend(cells)
        starts = [replace(START, costs=count(cell.config.variant, (32, 32), 10)) for cell in cells]
        return [CellSpeed(cell, start, start.costs.macs / 1e6, 3.0) for cell, start in zip(cells, starts, strict=True)]

    monkeypatch.setattr(planning, "count_costs", count)
    monkeypatch.setattr(planning, "measure_speeds", measure)
    study = make_study({f"a{n}": f"resnet20:width={n}" for n in range(4, 304)}, seeds=10)
    made = plan_study(study, tmp_path / "mini", Session(IN_PROCESS, StopRequest(), jobs=1, threads=1))
    assert len(measured) == planning.MOST_MEASURED
    assert {measured[0].arm, measured[-1].arm} == {"a4", "a303"}
    assert len(counted) == 300 + len(measured)
    assert sum(arm.is_estimated for arm in made.arms) == 300 - len(measured)
    for arm in made.arms:
        assert isinstance(arm.speed, CellSpeed)
        assert arm.speed.run_seconds == pytest.approx(3 + 4 * int(arm.arm[1:]))
