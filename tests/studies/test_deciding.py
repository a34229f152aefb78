"""A study runs until it is decided: no arm longer than it needs, and none differently for having been stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from stand_in_cells import FACTS, list_files, make_record, make_study
from test_running import Watcher

from vtbench.errors import UserError
from vtbench.records import Certificate, NotMeasured, RunRecord, save_record
from vtbench.reporting.answer import answer_question
from vtbench.reporting.comparisons import Outcome
from vtbench.reporting.notes import list_notes
from vtbench.reporting.report import build_report
from vtbench.reporting.tables import tabulate_seeds, tabulate_summary
from vtbench.reporting.treatment import SEED_FREE
from vtbench.run_options import StudyOptions
from vtbench.stats.stopping import Decision, StoppingRule
from vtbench.studies import resolution, running
from vtbench.studies.cells import Cell, ResolvedStudy
from vtbench.studies.deciding import run_until_decided
from vtbench.studies.executor import Session
from vtbench.studies.executors.in_process import InProcess
from vtbench.studies.ledger import Ledger
from vtbench.studies.resolution import plan_stopping
from vtbench.training import ProgressListener, RunStopped, StopRequest

ARMS = {"base": "resnet20", "up": "resnet20:width=4", "same": "resnet20:width=8", "noisy": "resnet20:width=12"}
DIFFERENCES = {
    "base": [0.0] * 6,
    "up": [5.0, 5.1, 5.05, 5.0, 5.0, 5.0],
    "same": [0.0, 0.3, -0.3, 0.01, 0.1, -0.1],
    "noisy": [3.0, -3.0, 1.0, -1.0, 2.0, -2.0],
}
RULE = StoppingRule(looks=(3, 4, 6), num_contrasts=3, smallest_effect=1.5)


@pytest.fixture(autouse=True)
def known_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "inspect_study", lambda study: FACTS)
    monkeypatch.setattr(running, "check_identity", lambda study, ledger: True)


class Cells:
    """Runs cells in no time; notes which, and asks for a stop after ``most`` of them."""

    def __init__(self, most: int = 1000, fails: str | None = None) -> None:
        self.labels: list[str] = []
        self.looks: dict[int, Mapping[str, Decision | None]] = {}
        self.stop, self.most, self.fails = StopRequest(), most, fails

    def __call__(self, cell: Cell, listener: ProgressListener, stop: StopRequest) -> RunRecord:
        if len(self.labels) == self.most:
            stop.request()
            raise RunStopped(cell.folder, epoch=0, batch=0)
        self.labels.append(cell.label)
        value = 60.0 + 2 * (cell.config.seed % 3) + DIFFERENCES[cell.arm][cell.config.seed]
        record = make_record(cell, error="no luck" if cell.label == self.fails else None, top1_percent=value)
        alike = dict.fromkeys((*SEED_FREE, "train_data", "val_data"), "a")
        own = {field: str(cell.config.seed) for field in ("sample_order", "augmentation")}
        record = record.model_copy(update={"certificate": Certificate.model_validate({**alike, **own})})
        cell.folder.mkdir(parents=True, exist_ok=True)
        save_record(cell.folder / "record.json", record)
        return record


def _run(folder: Path, cells: Cells, study: ResolvedStudy | None = None) -> running.StudyOutcome:
    session = Session(InProcess(cells), cells.stop, jobs=1, threads=1)
    on_look = cells.looks.__setitem__
    return run_until_decided(study or _study(), folder, session, watcher=Watcher(), on_look=on_look)


def _study(**changes: object) -> ResolvedStudy:
    return make_study(ARMS, **{"seeds": 6, "until": RULE, **changes})


def test_an_arm_runs_as_many_seeds_as_its_decision_takes(tmp_path: Path) -> None:
    cells = Cells()
    outcome = _run(tmp_path, cells)
    number = {arm: sum(label.startswith(f"{arm},") for label in cells.labels) for arm in ARMS}
    assert number == {"base": 6, "up": 3, "same": 4, "noisy": 6}
    assert (outcome.num_cells, outcome.finished, outcome.failed, outcome.stopped) == (19, 19, {}, False)
    assert list(cells.looks) == [3, 4, 6]
    last = {arm: (one.verdict, one.estimate.n) for arm, one in cells.looks[6].items() if one is not None}
    assert last == {"up": ("above zero", 3), "same": ("negligible", 4), "noisy": ("open", 6)}


def test_a_study_stops_where_every_arm_is_decided(tmp_path: Path) -> None:
    cells, arms = Cells(), {arm: ARMS[arm] for arm in ("base", "up")}
    rule = RULE.model_copy(update={"num_contrasts": 1})
    _run(tmp_path, cells, make_study(arms, seeds=6, until=rule))
    assert len(cells.labels) == 6
    saved = Ledger(tmp_path).read_study()
    assert saved is not None and saved.seeds == 3 and saved.until == rule


@pytest.mark.parametrize("most", [1, 5, 13, 18])
def test_a_study_that_was_stopped_goes_on_to_the_same_files(tmp_path: Path, most: int) -> None:
    _run(tmp_path / "whole", Cells())
    assert _run(tmp_path / "parts", Cells(most)).stopped
    rest = Cells()
    assert not _run(tmp_path / "parts", rest).stopped
    assert len(rest.labels) == 19 - most
    assert list_files(tmp_path / "parts") == list_files(tmp_path / "whole")


def test_an_arm_that_lacks_a_seed_runs_no_further(tmp_path: Path) -> None:
    cells = Cells(fails="noisy, seed 1")
    outcome = _run(tmp_path, cells)
    assert sum(label.startswith("noisy,") for label in cells.labels) == 3
    assert outcome.failed == {"noisy, seed 1": "no luck"}
    assert cells.looks[3]["noisy"] is None


def test_another_rule_and_none_are_another_study(tmp_path: Path) -> None:
    _run(tmp_path, Cells())
    other = RULE.model_copy(update={"smallest_effect": 5.0})
    with pytest.raises(UserError, match="holds another study: until"):
        _run(tmp_path, Cells(), _study(until=other))
    with pytest.raises(UserError, match="holds another study: until"):
        running.run_study(_study(until=None), tmp_path, Session(InProcess(Cells()), StopRequest()), watcher=Watcher())


def test_the_report_shows_decisions_and_no_plain_interval(tmp_path: Path) -> None:
    _run(tmp_path, Cells())
    report = build_report(tmp_path)
    comparison = report.comparisons[0]
    summary = tabulate_summary(comparison)
    assert "decided" in summary.header and not any(title.startswith("± all") for title in summary.header)
    rows = {row[0]: dict(zip(summary.header, row, strict=True)) for row in summary.rows}
    assert rows["up"]["decided"] == "above zero (3 seeds)"
    assert rows["up"]["n"] == "3"
    assert rows["noisy"]["decided"] == "open (6 seeds)"
    assert "±" not in "".join(row["top-1 (%)"] for row in rows.values())
    assert "±" in rows["same"]["against base (points)"]
    assert next(row for row in tabulate_seeds(comparison).rows if row[0] == "up")[4:] == ("–", "–", "–")
    notes = list_notes(report.comparisons)
    assert any(
        note.startswith("The study runs until it is decided: its looks were fixed beforehand at 3, 4, 6")
        for note in notes
    )
    assert any(note.startswith("noisy, at the look at 6 seeds (the last look), is still open") for note in notes)
    assert any(note.startswith("It took 19 runs. A fixed number of seeds") for note in notes)
    assert not any("Not run yet" in note or "t interval" in note for note in notes)
    said = answer_question(comparison)
    assert said[0].startswith("In points against base, ") and " noisy is still open: " in said[0]
    assert said[1].startswith("The last look, at 6 seeds, ended the study: what is open is neither shown to differ")
    lacking = replace(comparison.arms[1], outcomes={0: Outcome("missing", NotMeasured(reason="missing"))})
    interim = replace(comparison, arms=(comparison.arms[0], lacking, *comparison.arms[2:]))
    assert not any("ended the study" in one for one in answer_question(interim))


def test_the_rule_is_made_of_the_options_and_the_number_of_arms() -> None:
    assert plan_stopping(StudyOptions(), 5) is None
    rule = plan_stopping(StudyOptions(until="decided", smallest_effect=0.5, max_seeds=8), 5)
    assert rule == StoppingRule(looks=(3, 4, 6, 8), num_contrasts=4, smallest_effect=0.5)
    with pytest.raises(UserError, match="has a single arm"):
        plan_stopping(StudyOptions(until="decided"), 1)
    with pytest.raises(UserError, match="--seeds has no place beside it"):
        StudyOptions(until="decided", seeds=5)
    with pytest.raises(UserError, match="belong to --until decided"):
        StudyOptions(max_seeds=5)
