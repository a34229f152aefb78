from pathlib import Path
from typing import Any

import pytest
from stand_in_cells import make_record, make_study

from vtbench.configuration import DataConfig, Recipe
from vtbench.errors import UserError
from vtbench.records import save_record
from vtbench.studies.cells import list_cells
from vtbench.studies.ledger import Ledger, move_aside


def test_cells_are_ordered_seed_by_seed() -> None:
    labels = [cell.label for cell in list_cells(make_study(), Path("there"))]
    assert labels == ["good, seed 0", "better, seed 0", "good, seed 1", "better, seed 1"]


def test_the_folder_of_a_cell_names_arm_and_seed() -> None:
    assert list_cells(make_study(), Path("there"))[3].folder == Path("there/cells/better/seed-1")


def test_more_seeds_and_arms_extend_a_study_and_fewer_take_nothing_away(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.adopt(make_study())
    ledger.adopt(make_study({"good": "resnet20:width=4", "third": "resnet32"}, seeds=3))
    ledger.adopt(make_study({"good": "resnet20:width=4"}, seeds=1))
    study = ledger.read_study()
    assert study is not None
    assert list(study.arms) == ["good", "better", "third"]
    assert study.seeds == 3


def test_bytes_that_are_no_text_are_spelt_in_a_study_as_in_records_and_it_can_be_read_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.adopt(make_study(question="Is r\udcff text?"))
    study = ledger.read_study()
    assert study is not None and study.question == "Is r\\udcff text?"


def test_wording_and_reference_may_change(tmp_path: Path) -> None:
    Ledger(tmp_path).adopt(make_study())
    Ledger(tmp_path).adopt(make_study(question="Really?", reference="better"))
    study = Ledger(tmp_path).read_study()
    assert study is not None
    assert (study.question, study.reference) == ("Really?", "better")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": Recipe(name="small", epochs=9)}, "recipe.epochs is 4 there and 9 now"),
        ({"data": {"spec": "cifar10"}}, "data.spec is scenes there and cifar10 now"),
        ({"base": "vt_resnet20"}, "base is none there and vt_resnet20 now"),
        ({"execution": {"device": "cuda"}}, "execution.device is cpu there and cuda now"),
        ({"arms": {"good": "resnet32"}}, "arms.good is resnet20:width=4 there and resnet32 now"),
    ],
)
def test_another_study_in_the_folder_is_refused_with_the_difference(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    ledger = Ledger(tmp_path)
    ledger.adopt(make_study())
    before = ledger.path.read_bytes()
    with pytest.raises(UserError, match=message) as caught:
        ledger.adopt(make_study(**changes))
    assert "--fresh" in str(caught.value)
    assert ledger.path.read_bytes() == before


def test_a_damaged_study_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(UserError, match=r"study\.json is not a study that this version can read"):
        Ledger(tmp_path).check(make_study())


def test_the_status_of_a_cell_follows_what_lies_in_its_folder(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    missing, begun, failed, finished = list_cells(make_study(), tmp_path)
    (begun.folder / "checkpoint").mkdir(parents=True)
    (failed.folder / "checkpoint").mkdir(parents=True)
    save_record(failed.folder / "record.json", make_record(failed, error="NaN"))
    save_record(finished.folder / "record.json", make_record(finished))
    cells = [missing, begun, failed, finished]
    assert [ledger.status(cell) for cell in cells] == ["missing", "begun", "failed", "finished"]
    assert ledger.list_open(cells, retry_failed=False) == [missing, begun]
    assert ledger.list_open(cells, retry_failed=True) == [missing, begun, failed]


def test_a_failure_that_is_set_aside_keeps_its_error_and_opens_the_cell(tmp_path: Path) -> None:
    ledger, cell = Ledger(tmp_path), list_cells(make_study(), tmp_path)[0]
    for error in ("first", "second"):
        save_record(cell.folder / "record.json", make_record(cell, error=error))
        ledger.set_failure_aside(cell)
    assert ledger.status(cell) == "missing"
    assert '"first"' in (cell.folder / "failed-1.json").read_text()
    assert '"second"' in (cell.folder / "failed-2.json").read_text()


def test_a_failure_does_not_replace_a_record_that_the_cell_wrote_itself(tmp_path: Path) -> None:
    ledger, cell = Ledger(tmp_path), list_cells(make_study(), tmp_path)[0]
    save_record(cell.folder / "record.json", make_record(cell))
    ledger.record_failure(cell, make_record(cell, error="late"))
    assert ledger.status(cell) == "finished"


def test_old_studies_are_moved_beside_and_never_replaced(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "study").mkdir()
        (tmp_path / "study" / "content").write_text(str(number))
        assert move_aside(tmp_path / "study") == tmp_path / f"study-old-{number}"
    assert (tmp_path / "study-old-1" / "content").read_text() == "1"


def test_a_record_of_another_cell_is_not_believed(tmp_path: Path) -> None:
    ledger, cells = Ledger(tmp_path), list_cells(make_study(seeds=2), tmp_path)
    cell = next(cell for cell in cells if cell.config.seed == 1)
    other = next(one for one in cells if one.arm == cell.arm and one.config.seed == 0)
    save_record(cell.folder / "record.json", make_record(other))
    with pytest.raises(UserError, match=r"record\.json is the record of another run: seed is 0 in it and 1 here\. Rem"):
        ledger.list_open(cells, retry_failed=False)
    arm = next(one for one in cells if one.arm != cell.arm and one.config.seed == 1)
    save_record(cell.folder / "record.json", make_record(arm))
    with pytest.raises(UserError, match=f"arm is {arm.arm} in it and {cell.arm} here"):
        ledger.status(cell)
    drawn = cell.model_copy(
        update={"config": cell.config.model_copy(update={"data": DataConfig(spec="scenes:num_train=9")})}
    )
    save_record(cell.folder / "record.json", make_record(drawn))
    with pytest.raises(UserError, match=r"data\.spec is scenes:num_train=9 in it and scenes here"):
        ledger.status(cell)
