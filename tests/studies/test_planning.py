from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from stand_in_cells import COSTS, FACTS, IN_PROCESS, SpeedyExecutor, list_files, make_record, make_study

from vtbench.configuration import ExecutionConfig
from vtbench.records import CostRecord, NotMeasured, save_record
from vtbench.run_options import StudyOptions
from vtbench.studies import planning, probe, resolution, treatments
from vtbench.studies.cells import Cell, ResolvedStudy, list_cells
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.executor import Executor, Session
from vtbench.studies.ledger import Ledger
from vtbench.studies.planning import StudyPlan, Total, plan_study
from vtbench.studies.probe import CellSpeed
from vtbench.studies.resolution import resolve_study
from vtbench.studies.study import Study
from vtbench.training import RunStart, StopRequest

START = RunStart("classification", "resnet20", "x", 0, "cpu", 4, 10, 1000, 100, 10, 0, 0, COSTS)


@pytest.fixture(autouse=True)
def known_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "inspect_study", lambda study, arms: FACTS)
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
    assert made.macs == Total(4 * 1_000_000 * (3 * 1000 + 100) * 4)
    assert isinstance(made.seconds, Total)
    assert made.seconds.value == pytest.approx(4 * (4 * 2.0) / 2, rel=0.1)
    assert not (tmp_path / "mini").exists()


def test_a_plan_measures_cells_as_they_are_placed(tmp_path: Path) -> None:
    there = SpeedyExecutor({4: 9.0, 2: 9.0, 1: 9.0}, cores=2, num_gpus=1, shares_gpus=True)
    there.in_turns = SpeedyExecutor({1: 2.0})
    made = plan_study(make_study({"good": "resnet20"}, seeds=2), tmp_path / "mini", Session(there, StopRequest()))
    assert (made.placement.jobs, made.placement.takes_turns) == (2, True)
    assert isinstance(made.seconds, Total)
    assert made.seconds.value == pytest.approx(2 * (4 * 2.0) / 2, rel=0.1)


def test_a_plan_without_a_probe_measures_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "measure_in_groups", None)
    monkeypatch.setattr(planning, "count_costs", lambda *what: COSTS)
    session = Session(SpeedyExecutor({1: 2.0}), StopRequest(), threads=2)
    study = make_study({"good": "resnet20", "better": "resnet32"}, seeds=2)
    made = plan_study(study, tmp_path / "mini", session, unmeasured="it was left out")
    assert made.seconds == NotMeasured(reason="it was left out")
    assert isinstance(made.macs, Total)
    assert (made.placement.jobs, made.placement.measured) == (2, ())


def test_a_plan_counts_only_what_is_still_to_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "inspect_study", lambda study: FACTS)
    for seed in (0, 1):
        folder = tmp_path / "cells" / "good" / f"seed-{seed}"
        cell = list_cells(make_study({"good": "resnet20"}), tmp_path)[seed]
        folder.mkdir(parents=True)
        save_record(folder / "record.json", make_record(cell))
    before = list_files(tmp_path)
    made = plan(tmp_path, executor=SpeedyExecutor({1: 2.0}), jobs=2)
    assert [arm.num_open for arm in made.arms] == [0, 2]
    assert list_files(tmp_path) == before


def test_an_arm_that_fails_makes_the_time_unknown_and_is_named_and_the_macs_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "count_costs", lambda *_: COSTS)
    made = plan(tmp_path, executor=IN_PROCESS, arm="raises")
    assert isinstance(made.seconds, NotMeasured)
    assert made.seconds.reason == "raises: ValueError: a mistake in the code"
    assert made.macs == Total(4 * 1_000_000 * (3 * 1000 + 100) * 4)
    assert not isinstance(made.arms[0].speed, NotMeasured)


@dataclass
class Watched:
    """What making a plan took: arms built, counted and measured, and ways to share the machine out that were tried."""

    built: list[str] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    measured: list[Cell] = field(default_factory=list)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Arms whose width is their MACs in millions, and whose epoch takes as many seconds."""
    seen = Watched()

    def count(variant: str, image_size: tuple[int, int], num_classes: int) -> CostRecord:
        seen.counted.append(variant)
        return COSTS.model_copy(update={"macs": 1_000_000 * int(variant.partition("=")[2])})

    def measure(cells: Sequence[Cell], session: Session, **_: object) -> list[CellSpeed | NotMeasured]:
        seen.measured.extend(cells)
        starts = [replace(START, costs=count(cell.config.variant, (32, 32), 10)) for cell in cells]
        return [CellSpeed(cell, start, start.costs.macs / 1e6, 3.0) for cell, start in zip(cells, starts, strict=True)]

    def inspect(study: ResolvedStudy, arms: Container[str]) -> DataFacts:
        seen.built.extend(arm for arm in study.arms if arm in arms)
        return FACTS

    monkeypatch.setattr(planning, "count_costs", count)
    monkeypatch.setattr(probe, "measure_speeds", measure)
    monkeypatch.setattr(planning, "inspect_study", inspect)
    return seen


def plan_many(folder: Path, num_arms: int, seeds: int, **session: int) -> StudyPlan:
    study = make_study({f"a{n}": f"resnet20:width={n}" for n in range(4, 4 + num_arms)}, seeds=seeds)
    return plan_study(study, folder, Session(SpeedyExecutor({1: 2.0}), StopRequest(), **session))


def test_of_many_arms_eight_are_measured_and_the_others_estimated_by_their_macs(
    watched: Watched, tmp_path: Path
) -> None:
    made = plan_many(tmp_path / "mini", 100, 10, jobs=1, threads=1)
    assert len(watched.measured) == planning.MOST_MEASURED
    assert {watched.measured[0].arm, watched.measured[-1].arm} == {"a4", "a103"}
    assert len(watched.counted) == 100 + len(watched.measured)
    assert sum(arm.is_estimated for arm in made.arms) == 100 - len(watched.measured)
    assert made.macs == Total(10 * sum(range(4, 104)) * 1_000_000 * (3 * 1000 + 100) * 4)
    for arm in made.arms:
        assert isinstance(arm.speed, CellSpeed)
        assert arm.speed.run_seconds == pytest.approx(3 + 4 * int(arm.arm[1:]))


@pytest.mark.parametrize(("num_arms", "seeds"), [(110, 10), (1000, 10), (10, 1000), (2500, 4)])
def test_the_work_for_a_plan_of_many_cells_is_that_of_a_few_arms(
    watched: Watched, tmp_path: Path, num_arms: int, seeds: int
) -> None:
    made = plan_many(tmp_path / "mini", num_arms, seeds, threads=2)
    few = min(num_arms, planning.FEW_COUNTED)
    assert len(watched.built) == few
    assert len(watched.measured) == planning.FEW_MEASURED
    assert len(watched.counted) == few + planning.FEW_MEASURED
    assert (made.placement.jobs, made.placement.threads) == (2, 1)
    assert made.placement.reason == "a cell a core, until the study measures it"
    assert len(made.arms) == num_arms and len(made.counted) == few


def test_a_plan_of_many_cells_measures_no_network_whose_step_takes_longer_than_the_plan_should(
    watched: Watched, tmp_path: Path
) -> None:
    made = plan_many(tmp_path / "mini", 2000, 1, threads=2)
    step = 3 * 1_000_000 * made.study.recipe.batch_size
    widths = [int(cell.arm[1:]) for cell in watched.measured]
    drawn = sorted(int(arm.arm[1:]) for arm in made.counted)
    assert widths == [drawn[0], max(width for width in drawn if step * width <= 40e9 or width == drawn[0])]
    assert isinstance(made.seconds, Total) and made.seconds.value == pytest.approx(2000 * 4000 / 2, rel=0.3)


def test_what_a_sample_of_arms_comes_to_is_near_what_all_do_and_says_how_near(watched: Watched, tmp_path: Path) -> None:
    made = plan_many(tmp_path / "mini", 1000, 10, threads=2)
    seconds = sum(3 + 4 * n for n in range(4, 1004)) * 10 / 2
    macs = 10 * sum(range(4, 1004)) * 1_000_000 * (3 * 1000 + 100) * 4
    for total, expected in ((made.seconds, seconds), (made.macs, macs)):
        assert isinstance(total, Total) and total.error is not None
        assert abs(total.value - expected) < total.error < 0.25 * expected


def test_of_arms_that_are_done_none_is_drawn(watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "status", lambda self, cell: "missing" if cell.arm == "a7" else "finished")
    made = plan_many(tmp_path, 300, 1, jobs=1, threads=1)
    assert watched.built == ["a7"]
    assert made.macs == Total(7 * 1_000_000 * (3 * 1000 + 100) * 4)


def test_the_time_of_an_arm_too_slow_for_the_probe_is_that_of_the_others_by_macs(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = probe.measure_speeds

    def measure_first(cells: Sequence[Cell], session: Session, **how: Any) -> list[CellSpeed | NotMeasured]:
        return [*measure(cells[:1], session, **how), *[probe.TOO_SLOW] * (len(cells) - 1)]

    monkeypatch.setattr(probe, "measure_speeds", measure_first)
    made = plan_many(tmp_path / "mini", 1000, 10, threads=2)
    assert isinstance(made.seconds, Total) and made.seconds.value == pytest.approx(10 * 1000 * 2017 / 2, rel=0.2)
    assert sum(not arm.is_estimated for arm in made.arms) == 1
    monkeypatch.setattr(probe, "measure_speeds", lambda cells, session, **_: [probe.TOO_SLOW] * len(cells))
    made = plan_many(tmp_path / "mini", 1000, 10, threads=2)
    assert isinstance(made.seconds, NotMeasured) and isinstance(made.macs, Total)


def test_arms_with_equal_settings_are_given_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    change = treatments.change_settings
    monkeypatch.setattr(treatments, "change_settings", lambda *a, **k: calls.append(a) or change(*a, **k))
    factors = {"width": range(1, 101), "recipe.optimizer.learning_rate": [0.1, 0.2, 0.3]}
    study = Study(question="q", base="resnet20", factors=factors)  # type: ignore[arg-type]
    assert study.planned_arms is study.planned_arms
    resolved = resolve_study("many", study, StudyOptions(seeds=2), ExecutionConfig(device="cpu"))
    assert len(list_cells(resolved, Path("folder"))) == 600
    assert len(calls) == 2 * 3
