from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from stand_in_cells import FACTS, SpeedyExecutor, make_study

from vtbench.errors import UserError
from vtbench.studies.cells import Cell, list_cells
from vtbench.studies.executor import CellResult, Session
from vtbench.studies.placement import Placement, choose_placement, read_placement, write_placement
from vtbench.studies.ways import check_ways
from vtbench.training import StopRequest


class WaySpeeds(SpeedyExecutor):
    """An epoch takes the seconds that ``seconds_of`` says of a cell; None: it fails."""

    def __init__(self, seconds_of: Callable[[Cell], float | None]) -> None:
        super().__init__({})
        self.seconds_of = seconds_of
        self.probed: list[Cell] = []

    def run(self, cells: Sequence[Cell], jobs: int, **given: Any) -> Iterator[CellResult]:
        self.probed += cells
        seconds = self.seconds_of(cells[0])
        self.seconds = {} if seconds is None else {cells[0].config.execution.threads or 1: seconds}
        return super().run(cells, jobs, **given)


def choose(
    *ways: str, seconds_of: Callable[[Cell], float | None], before: Placement | None = None, seeds: int = 2
) -> tuple[Placement, WaySpeeds, list[Cell]]:
    study = make_study({"slow": "resnet32", "quick": "resnet20"}, seeds=seeds)
    cells, executor = list_cells(study, Path("nowhere")), WaySpeeds(seconds_of)
    session = Session(executor, StopRequest(), jobs=1, threads=2, ways=ways)
    return choose_placement(cells, session, before=before, facts=FACTS), executor, cells


def speed_up(slow: float, quick: float) -> Callable[[Cell], float]:
    """An epoch of 20 and 10 s, in bfloat16 so many parts of that."""

    def seconds_of(cell: Cell) -> float:
        plain, part = (20.0, slow) if cell.arm == "slow" else (10.0, quick)
        return plain * part if cell.config.execution.precision == "bfloat16" else plain

    return seconds_of


def test_a_way_that_is_faster_for_all_arms_together_is_taken_for_every_cell_and_said(tmp_path: Path) -> None:
    placement, _, cells = choose("bfloat16", seconds_of=speed_up(0.5, 1.4))
    (tried,) = placement.tried
    assert (tried.taken, tried.part, tried.arms) == (True, 0.8, {"slow": 0.5, "quick": 1.4})
    assert str(tried) == "bfloat16 taken: 0.80 of the time (slow 0.50, quick 1.40)"
    arranged = [placement.arrange(cell).config.execution for cell in cells]
    assert {(one.precision, one.threads) for one in arranged} == {("bfloat16", 2)}
    write_placement(tmp_path, placement)
    assert read_placement(tmp_path) == placement


def test_a_way_that_is_slower_or_as_fast_or_fails_is_not_taken() -> None:
    assert not choose("bfloat16", seconds_of=speed_up(1.0, 0.9))[0].tried[0].taken

    def fail(cell: Cell) -> float | None:
        return None if cell.config.execution.precision == "float16" and cell.arm == "quick" else 1.0

    placement, _, cells = choose("float16", seconds_of=fail)
    assert str(placement.tried[0]).startswith("float16 not taken: quick could not be measured (")
    assert placement.arrange(cells[0]).config.execution.precision == "float32"


def test_compiling_is_tried_only_where_it_could_pay_and_measured_once_it_is_cached() -> None:
    def seconds_of(cell: Cell) -> float:
        return 0.5 if cell.config.execution.compile else 1.0

    placement, executor, _ = choose("compile", seconds_of=seconds_of)
    assert str(placement.tried[0]).startswith("compile not taken: of about 16 s of training it could save 6 s, and")
    assert not any(cell.config.execution.compile for cell in executor.probed)
    placement, executor, cells = choose("compile", seconds_of=seconds_of, seeds=100)
    assert placement.tried[0].taken
    assert sum(cell.config.execution.compile for cell in executor.probed) == 4
    assert placement.arrange(cells[0]).config.execution.compile


def test_a_study_that_has_begun_keeps_its_ways_and_refuses_new_ones() -> None:
    before, _, cells = choose("bfloat16", seconds_of=speed_up(0.5, 0.5))
    again, executor, _ = choose("bfloat16", seconds_of=speed_up(2.0, 2.0), before=before)
    assert (again.tried, executor.probed) == (before.tried, [])
    assert again.arrange(cells[0]).config.execution.precision == "bfloat16"
    with pytest.raises(UserError, match="begun without trying it"):
        choose("compile", seconds_of=speed_up(1.0, 1.0), before=before)


def test_nothing_is_tried_that_is_not_allowed_or_not_known() -> None:
    placement, executor, _ = choose(seconds_of=speed_up(0.5, 0.5))
    assert (placement.tried, executor.probed) == ((), [])
    assert "tried" not in placement.model_dump(mode="json")
    assert check_ways(["compile", "compile"]) == ("compile",)
    with pytest.raises(UserError, match=r"--try was given 'bfloat'.*bfloat16"):
        check_ways(["bfloat"])
