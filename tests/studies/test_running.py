import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from stand_in_cells import FACTS, IN_PROCESS, LOCAL, list_files, make_study, run_cell

from vtbench.configuration import Recipe
from vtbench.errors import UserError
from vtbench.locking import hold_lock
from vtbench.records import NotMeasured, RunRecord, load_record
from vtbench.studies import resolution
from vtbench.studies.cells import Cell, ResolvedStudy
from vtbench.studies.events import Event
from vtbench.studies.executor import CellResult, Executor, Session
from vtbench.studies.executors.in_process import InProcess
from vtbench.studies.ledger import Ledger
from vtbench.studies.running import StudyOutcome, StudyState, run_study
from vtbench.training import StopRequest


class Watcher:
    """Notes what a study does, and calls ``react`` with each event."""

    def __init__(self, react: Callable[[Event], None] | None = None) -> None:
        self.begun: list[str] = []
        self.records: dict[str, RunRecord] = {}
        self.states: list[StudyState] = []
        self.set_aside: list[Path] = []
        self.react = react

    def on_set_aside(self, folder: Path) -> None:
        self.set_aside.append(folder)

    def on_measuring(self) -> None:
        pass

    def on_study(self, state: StudyState) -> None:
        self.states.append(state)

    def on_begin(self, cell: Cell) -> None:
        self.begun.append(cell.label)

    def on_event(self, cell: Cell, event: Event) -> None:
        if self.react is not None:
            self.react(event)

    def on_end(self, result: CellResult) -> None:
        pass

    def on_record(self, cell: Cell, record: RunRecord) -> None:
        self.records[cell.label] = record

    def on_turn(self) -> None:
        pass


@pytest.fixture(autouse=True)
def known_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "inspect_study", lambda study: FACTS)


def run(
    study: ResolvedStudy,
    folder: Path,
    watcher: Watcher | None = None,
    *,
    executor: Executor = IN_PROCESS,
    stop: StopRequest | None = None,
    jobs: int | None = None,
    threads: int = 1,
    **wishes: bool,
) -> StudyOutcome:
    session = Session(executor, stop or StopRequest(), jobs=jobs, threads=threads)
    return run_study(study, folder, session, watcher=watcher or Watcher(), **wishes)


def test_a_study_leaves_a_ledger_that_says_what_it_was(tmp_path: Path) -> None:
    outcome = run(make_study(), tmp_path)
    assert (outcome.finished, outcome.failed, outcome.stopped) == (4, {}, False)
    study = json.loads((tmp_path / "study.json").read_text())
    assert (study["reference"], study["seeds"], list(study["arms"])) == ("good", 2, ["good", "better"])
    assert json.loads((tmp_path / "split.json").read_text())["threads"] == 1


def test_finished_cells_are_not_run_again(tmp_path: Path) -> None:
    run(make_study(), tmp_path)
    before, again = list_files(tmp_path), Watcher()
    assert run(make_study(), tmp_path, again).finished == 4
    assert again.begun == []
    assert list_files(tmp_path) == before


def test_a_cell_that_was_lost_is_run_again_alone(tmp_path: Path) -> None:
    run(make_study(), tmp_path)
    (tmp_path / "cells" / "better" / "seed-1" / "record.json").unlink()
    again = Watcher()
    run(make_study(), tmp_path, again)
    assert again.begun == ["better, seed 1"]


def test_a_cell_whose_weights_are_gone_is_finished_and_that_is_said(tmp_path: Path) -> None:
    assert run(make_study(), tmp_path).without_weights == 0
    (tmp_path / "cells" / "better" / "seed-1" / "weights.safetensors").unlink()
    again = Watcher()
    outcome = run(make_study(), tmp_path, again)
    assert (outcome.finished, outcome.without_weights, again.begun) == (4, 1, [])


def test_more_seeds_run_what_is_missing(tmp_path: Path) -> None:
    run(make_study(seeds=1), tmp_path)
    again = Watcher()
    assert run(make_study(seeds=2), tmp_path, again).finished == 4
    assert again.begun == ["good, seed 1", "better, seed 1"]


def test_failed_cells_are_kept_with_their_error_and_the_rest_goes_on(tmp_path: Path) -> None:
    study = make_study({"dies": "resnet20", "diverges": "resnet32", "good": "resnet56"}, seeds=1)
    watcher = Watcher()
    outcome = run(study, tmp_path, watcher, executor=LOCAL)
    assert outcome.finished == 1
    assert outcome.failed["diverges, seed 0"] == "The training loss became NaN."
    assert "SIGKILL" in outcome.failed["dies, seed 0"]
    again = Watcher()
    assert run(study, tmp_path, again).failed.keys() == outcome.failed.keys()
    assert again.begun == []


def test_the_record_of_a_crashed_cell_says_what_is_known_and_no_more(tmp_path: Path) -> None:
    run(make_study({"dies": "resnet20"}, seeds=1), tmp_path, executor=LOCAL, threads=2)
    record = load_record(tmp_path / "cells" / "dies" / "seed-0" / "record.json", RunRecord)
    assert (record.status, record.arm, record.study, record.seed) == ("failed", "dies", "mini", 0)
    assert (record.num_train, record.num_val, record.num_classes) == (1000, 100, 10)
    assert isinstance(record.costs, NotMeasured)
    assert isinstance(record.headline, NotMeasured)
    assert record.environment.threads == 2


def test_failed_cells_are_retried_on_request_and_their_error_stays(tmp_path: Path) -> None:
    study = make_study({"once": "resnet20", "diverges": "resnet32"}, seeds=1)
    assert len(run(study, tmp_path).failed) == 2
    outcome = run(study, tmp_path, retry_failed=True)
    assert (outcome.finished, list(outcome.failed)) == (1, ["diverges, seed 0"])
    assert "NaN" in (tmp_path / "cells" / "once" / "seed-0" / "failed-1.json").read_text()


def test_a_stopped_study_says_so_and_goes_on_when_called_again(tmp_path: Path) -> None:
    study = make_study({"slow": "resnet20", "slow2": "resnet32"}, seeds=2)
    stop = StopRequest()
    outcome = run(study, tmp_path, Watcher(lambda event: stop.request()), stop=stop)
    assert (outcome.stopped, outcome.finished, outcome.failed) == (True, 0, {})
    again = Watcher()
    assert run(study.model_copy(update={"seeds": 1}), tmp_path, again).finished == 2


def test_a_changed_study_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run(make_study(), tmp_path)
    before = list_files(tmp_path)
    with pytest.raises(UserError, match="base is none there and vt_resnet20 now"):
        run(make_study(base="vt_resnet20"), tmp_path)
    assert list_files(tmp_path) == before


def test_a_fresh_study_moves_the_old_one_aside(tmp_path: Path) -> None:
    folder, watcher = tmp_path / "mini", Watcher()
    run(make_study(seeds=1), folder)
    outcome = run(make_study(seeds=1, base="vt_resnet20"), folder, watcher, fresh=True)
    assert outcome.finished == 2
    assert watcher.set_aside == [tmp_path / "mini-old-1"]
    assert len(list((tmp_path / "mini-old-1").rglob("record.json"))) == 2


def test_fresh_leaves_a_folder_alone_that_holds_no_study(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    watcher = Watcher()
    run(make_study(seeds=1), tmp_path, watcher, fresh=True)
    assert watcher.set_aside == []
    assert (tmp_path / "holiday.jpg").exists()


def test_fresh_leaves_the_old_study_where_it_is_if_the_new_one_cannot_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(make_study(seeds=1), tmp_path / "mini")

    def refuse(study: ResolvedStudy) -> None:
        raise UserError("no such data")

    monkeypatch.setattr(resolution, "inspect_study", refuse)
    with pytest.raises(UserError, match="no such data"):
        run(make_study(seeds=1), tmp_path / "mini", fresh=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mini"]


def test_a_second_study_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    run(make_study(seeds=1), tmp_path)
    with hold_lock(tmp_path / "lock"), pytest.raises(UserError, match="in use by process"):
        run(make_study(seeds=2), tmp_path)
    assert json.loads((tmp_path / "study.json").read_text())["seeds"] == 1


def test_the_executor_is_given_the_lock_of_the_folder_for_its_cells_to_hold(tmp_path: Path) -> None:
    held: list[int] = []

    class Holding(InProcess):
        def holding(self, lock: int) -> Executor:
            held.append(os.fstat(lock).st_ino)
            return self

    run(make_study(seeds=1), tmp_path, executor=Holding(run_cell))
    assert held == [(tmp_path / "lock").stat().st_ino]


def test_data_that_cannot_be_used_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(study: ResolvedStudy) -> None:
        raise UserError("no such data")

    monkeypatch.setattr(resolution, "inspect_study", refuse)
    with pytest.raises(UserError, match="no such data"):
        run(make_study(), tmp_path / "mini")
    assert not (tmp_path / "mini").exists()


def test_the_threads_of_a_cell_stay_when_a_study_is_taken_up_with_another_placement(tmp_path: Path) -> None:
    run(make_study(seeds=1), tmp_path, jobs=1, threads=4)
    watcher = Watcher()
    run(make_study(seeds=2), tmp_path, watcher, executor=LOCAL, jobs=2, threads=4)
    assert watcher.states[0].placement.jobs == 2
    assert {cell.config.execution.threads for cell in watcher.states[0].open_cells} == {4}


def test_watchers_learn_of_records_there_are_and_cells_there_will_be(tmp_path: Path) -> None:
    run(make_study(seeds=1), tmp_path)
    watcher = Watcher()
    run(make_study(seeds=2), tmp_path, watcher)
    state = watcher.states[0]
    assert (len(state.cells), len(state.records), len(state.open_cells)) == (4, 2, 2)
    assert sorted(watcher.records) == ["better, seed 1", "good, seed 1"]


def test_a_full_disk_is_one_message_and_ends_the_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    without_end = Recipe(name="small", epochs=100_000)
    study = make_study({"slow": "resnet20", "late": "resnet32"}, seeds=1, recipe=without_end)
    monkeypatch.setattr(Ledger, "record_failure", fail)
    with pytest.raises(UserError, match=r"No space left on device.*goes on from there"):
        run(study, tmp_path, executor=LOCAL, jobs=2, threads=2)
    assert (tmp_path / "cells" / "slow" / "seed-0" / "checkpoint").exists()
