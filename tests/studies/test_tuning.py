"""Every arm is tuned alike, on images that are not the validation split, and killed anywhere it goes on to the same."""

from __future__ import annotations

import functools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in_cells import list_files, make_record

from vtbench.cli.study_output import print_plan
from vtbench.cli.watch_display import Watch
from vtbench.configuration import DataConfig, ExecutionConfig
from vtbench.datasets import load_dataset
from vtbench.datasets.loading import identify_data
from vtbench.errors import UserError
from vtbench.metrics import TOP1
from vtbench.records import Certificate, RunRecord, save_record
from vtbench.reporting.archive import archive_runs
from vtbench.reporting.content import list_all_notes
from vtbench.reporting.rendering import render_markdown
from vtbench.reporting.report import build_report
from vtbench.reporting.tuning import Tuning, find_tuning, list_tuning_notes, list_tuning_numbers, tabulate_tuning
from vtbench.run_options import StudyOptions
from vtbench.search_space import TuningConfig
from vtbench.settings import undo_treatment
from vtbench.studies.cells import Cell, ResolvedStudy
from vtbench.studies.executor import Session
from vtbench.studies.executors.in_process import InProcess
from vtbench.studies.planning import plan_study
from vtbench.studies.resolution import resolve_study
from vtbench.studies.running import StudyOutcome, run_study
from vtbench.studies.sampling import PastTrial, sample_point
from vtbench.studies.study import find_study, read_study
from vtbench.training import ProgressListener, StopRequest

HEAD = """
question = "Does it?"
base = "resnet20:width=4"
recipe = "small"
epochs = 1
seeds = 2
[data]
spec = "scenes"
limit_train = 40
limit_val = 20
[arms]
narrow = "{base}"
wide = "{base}:width=6"
[tuning]
"""
GRID = "seeds = 2\nrecipe.optimizer.learning_rate = [0.03, 0.1, 0.3]\n"
RANGE = "budget = 7\nrecipe.optimizer.learning_rate = { low = 0.01, high = 1.0, log = true }\n"
HASHES = ("sample_order", "augmentation", "schedule", "recipe", "precision", "train_data", "val_data")
PEAK = {"narrow": 0.1, "wide": 0.3}


@functools.cache
def identify_images(data: DataConfig, seed: int) -> dict[str, str]:
    found = identify_data(data, [seed])[seed]
    return {"train_data": found["train"], "val_data": found["val"]}


class Unwatched:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def resolve(folder: Path, text: str = GRID, *, head: str = HEAD, **options: Any) -> ResolvedStudy:
    (folder / "mine.toml").write_text(head + text)
    study = read_study(folder / "mine.toml")
    return resolve_study("mine", study, StudyOptions(**options), ExecutionConfig(device="cpu", threads=1))


class Pretender:
    """Carries cells out in no time, with a score that peaks at the arm's own rate; may fail, and may stop the study."""

    def __init__(self, stop: StopRequest, *, stop_after: int | None = None, failing: tuple[str, ...] = ()) -> None:
        self.stop, self.stop_after, self.failing = stop, stop_after, failing
        self.ran: list[Cell] = []

    def __call__(self, cell: Cell, listener: ProgressListener, stop: StopRequest) -> RunRecord:
        self.ran.append(cell)
        rate = cell.config.recipe.optimizer.learning_rate
        score = 60 - 20 * abs(np.log10(rate / PEAK[cell.arm])) + cell.config.seed % 10
        error = "The training loss became NaN." if f"{cell.arm} {rate}" in self.failing else None
        images = identify_images(undo_treatment(cell.config).data, cell.config.seed)
        plain = Certificate(**dict.fromkeys(HASHES, "x") | {"sample_order": str(cell.config.seed)} | images)
        certificate = plain.model_copy(update={"recipe": str(rate), "schedule": str(rate), "untreated": plain})
        record = make_record(cell, error=error, top1_percent=float(score))
        record = record.model_copy(update={"certificate": certificate})
        save_record(cell.folder / "record.json", record)
        if self.stop_after is not None and len(self.ran) >= self.stop_after:
            self.stop.request()
        return record


def run(study: ResolvedStudy, folder: Path, **wishes: Any) -> tuple[StudyOutcome, Pretender]:
    stop = StopRequest()
    pretender = Pretender(stop, **wishes)
    outcome = run_study(study, folder, Session(InProcess(pretender), stop, jobs=1, threads=1), watcher=Unwatched())
    return outcome, pretender


def read_rates(folder: Path, pattern: str) -> dict[str, float]:
    return {
        str(path.parent.relative_to(folder)): RunRecord.model_validate_json(
            path.read_bytes()
        ).config.recipe.optimizer.learning_rate
        for path in sorted(folder.glob(pattern))
    }


def test_each_arm_gets_every_trial_and_is_then_run_with_its_best_on_fresh_seeds(tmp_path: Path) -> None:
    outcome, pretender = run(resolve(tmp_path), tmp_path / "run")
    assert (outcome.finished, outcome.num_cells, outcome.failed) == (16, 16, {})
    trials, cells = pretender.ran[:12], pretender.ran[12:]
    assert {cell.config.seed for cell in trials} == {1000, 1001}
    assert all(cell.config.data.held_out == 0.2 for cell in trials)
    assert all(cell.config.data.held_out is None for cell in cells)
    assert read_rates(tmp_path / "run" / "cells", "*/*/record.json") == {
        "narrow/seed-0": 0.1, "narrow/seed-1": 0.1, "wide/seed-0": 0.3, "wide/seed-1": 0.3,
    }  # fmt: skip
    assert cells[0].config.declared == {"recipe.optimizer.learning_rate": 0.1}
    again, idle = run(resolve(tmp_path), tmp_path / "run")
    assert (again.finished, idle.ran) == (16, [])


@pytest.mark.parametrize("text", [GRID, RANGE], ids=["grid", "range"])
def test_stopped_after_any_run_it_goes_on_to_the_same_bytes(tmp_path: Path, text: str) -> None:
    study = resolve(tmp_path, text)
    run(study, tmp_path / "whole")
    whole = list_files(tmp_path / "whole")
    for first in (1, 3, 7, 13, 15):
        folder = tmp_path / f"stopped-{first}"
        outcome, _ = run(study, folder, stop_after=first)
        assert outcome.stopped
        assert run(study, folder, stop_after=2)[0].finished <= outcome.num_cells
        final, _ = run(study, folder)
        assert not final.stopped
        assert list_files(folder) == whole


def test_a_range_is_sampled_alike_for_all_arms_at_first_and_then_from_what_came_out(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    run(resolve(tmp_path, RANGE), tmp_path / "run")
    rates = read_rates(tmp_path / "run" / "tuning", "*/*/*/record.json")
    of_arm = {arm: [rates[f"{arm}/trial-{number}/seed-1000"] for number in range(7)] for arm in ("narrow", "wide")}
    assert of_arm["narrow"][:5] == of_arm["wide"][:5]
    assert len(set(of_arm["narrow"])) == 7
    assert all(0.01 <= rate <= 1 for rate in of_arm["narrow"])


def test_the_next_point_follows_from_the_records_alone() -> None:
    pytest.importorskip("optuna")
    tuning = TuningConfig.model_validate(
        {
            "budget": 9,
            "recipe": {
                "optimizer": {"learning_rate": {"low": 0.01, "high": 1.0, "log": True}, "name": ["sgd", "adamw"]}
            },
            "recipe.epochs": {"low": 1, "high": 5},
        }
    )
    past: list[PastTrial] = []
    for number in range(8):
        point = sample_point(tuning, past, TOP1)
        assert point == sample_point(tuning, list(past), TOP1)
        assert point["recipe.optimizer.name"] in ("sgd", "adamw")
        assert isinstance(point["recipe.epochs"], int) and 1 <= point["recipe.epochs"] <= 5
        past.append(PastTrial(point, None if number == 2 else 50.0 + number))
    other = tuning.model_copy(update={"seed": 1})
    assert sample_point(other, past, TOP1) != sample_point(tuning, past, TOP1)


def test_a_trial_that_fails_is_never_chosen_and_an_arm_without_any_is_said(tmp_path: Path) -> None:
    outcome, _ = run(resolve(tmp_path), tmp_path / "run", failing=("narrow 0.1", "wide 0.03", "wide 0.1", "wide 0.3"))
    assert read_rates(tmp_path / "run" / "cells", "*/seed-0/record.json") == {"narrow/seed-0": 0.3}
    assert "no trial of tuning finished" in outcome.failed["wide, all seeds"]
    notes = list_all_notes(build_report(tmp_path / "run"))
    assert any("Not finished with every seed: narrow at learning_rate=0.1" in note for note in notes)


def test_the_report_shows_the_response_the_choice_the_edge_and_the_ranking_with_one_setting(tmp_path: Path) -> None:
    run(resolve(tmp_path), tmp_path / "run")
    report = build_report(tmp_path / "run")
    assert [record.seed for record in report.comparisons[0].records] == [0, 1, 0, 1]
    tuning = find_tuning(report)
    assert tuning is not None
    text = render_markdown(report)
    rows = text.replace(" ", "")
    assert "|narrow|learning_rate=0.1|60.50|60.50|60.50|no|" in rows
    assert "|wide|learning_rate=0.3|60.50|60.50|50.96|yes|" in rows
    assert "|learning_rate=0.03|50.04|40.50|" in rows
    assert "The best learning_rate of wide lies on the edge of what was tried (the highest)" in text
    assert "one for all, the best on average (learning_rate=0.1)" in text
    archive = archive_runs([tmp_path / "run"], tmp_path / "archive")
    assert (archive.folder / "response_curves.svg").exists()
    assert (archive.folder / "records" / "wide-trial2-seed1001.json").exists()
    assert f"--out{tmp_path / 'run'}" in rows, "an archive is not taken up again, and names no folder"
    assert render_markdown(build_report(archive.folder)).replace(" ", "") == rows.replace(
        f"--out{tmp_path / 'run'}", ""
    )


def test_equal_trials_are_said_to_be_equal_and_have_no_best_no_edge_and_no_ranking(tmp_path: Path) -> None:
    run(resolve(tmp_path), tmp_path / "run")
    report = build_report(tmp_path / "run")

    def tune(*scores: float) -> Tuning:
        rates = dict(zip((0.03, 0.1, 0.3), scores, strict=True))
        trials = tuple(
            one.model_copy(update={"outcome": {"top1_percent": rates[one.config.recipe.optimizer.learning_rate]}})
            for one in report.trials
        )
        tuning = find_tuning(replace(report, trials=trials))
        assert tuning is not None
        return tuning

    tuning = tune(10.0, 10.0, 10.0)
    notes = " ".join(list_tuning_notes(tuning))
    assert "All trials came to the same for: narrow, wide; none is the best, and the first was taken." in notes
    assert "By the trials all arms are equal, and none ranks before another." in notes
    assert "edge" not in notes and ">" not in notes and "best on average" not in notes
    assert [row[1:] for row in tabulate_tuning(tuning, {}).rows] == [
        ("learning_rate=0.03 (all trials are equal)", "10.00", "–", "10.00", "–")
    ] * 2
    assert not any(row["is_best"] or row["is_shared"] for row in list_tuning_numbers(tuning))
    tuning = tune(20.0, 20.0, 10.0)
    notes = " ".join(list_tuning_notes(tuning))
    assert "Equal trials of wide, of which the first was taken: learning_rate=0.03; learning_rate=0.1." in notes
    assert "edge" not in notes, "one of the best is no end"
    assert tuning.rank({"a": 1.0, "b": 2.0, "c": 1.0, "d": None}) == "b > a = c"


def test_a_plan_counts_the_trials_that_are_still_to_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = resolve(tmp_path)
    run(study, tmp_path / "run", stop_after=5)
    session = Session(InProcess(), StopRequest(), jobs=1, threads=1)
    plan = plan_study(study, tmp_path / "run", session)
    assert {arm.arm: (arm.num_open_trials, arm.num_trials, arm.num_open) for arm in plan.arms} == {
        "narrow": (3, 6, 2), "wide": (4, 6, 2),
    }  # fmt: skip
    print_plan(plan)
    text = " ".join(capsys.readouterr().out.split())
    assert "narrow 3/6 2/2" in text
    assert "7 of 12 runs of tuning and 4 of 4 cells to run" in text


def test_trials_may_be_shorter_than_the_runs_that_they_choose_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = resolve(tmp_path, f"epochs = 3\n{GRID}", epochs=6)
    session = Session(InProcess(), StopRequest(), jobs=1, threads=1)
    plan = plan_study(study, tmp_path / "run", session)
    assert plan.seconds.value == pytest.approx(sum((2 + 0.5 * 6) * arm.seconds for arm in plan.arms))
    print_plan(plan)
    assert "12 of 12 runs of tuning (3 epochs each) and" in " ".join(capsys.readouterr().out.split())
    _, pretender = run(study, tmp_path / "run")
    assert {(cell.config.trial is None, cell.config.recipe.epochs) for cell in pretender.ran} == {
        (False, 3), (True, 6),
    }  # fmt: skip
    report = build_report(tmp_path / "run")
    assert "3 trials of 2 runs of 3 epochs (seeds from 1000 on)" in render_markdown(report)


@pytest.mark.parametrize(
    "options", [{"epochs": 2}, {"set": ["recipe.epochs=2"]}, {"recipe": "short.toml"}], ids=["epochs", "set", "recipe"]
)
def test_trials_are_never_longer_than_the_runs_that_a_call_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short.toml").write_text("epochs = 2\nbatch_size = 20\n")
    head = HEAD.replace("epochs = 1", "epochs = 6")
    tuning = resolve(tmp_path, f"epochs = 3\n{GRID}", head=head).tuning
    assert tuning is not None and tuning.epochs == 3
    study = resolve(tmp_path, f"epochs = 3\n{GRID}", head=head, **options)
    plan = plan_study(study, tmp_path / "run", Session(InProcess(), StopRequest(), jobs=1, threads=1))
    assert plan.seconds.value == pytest.approx(sum((2 + 6) * arm.seconds for arm in plan.arms))
    print_plan(plan)
    assert "12 of 12 runs of tuning (2 epochs each) and" in " ".join(capsys.readouterr().out.split())
    _, pretender = run(study, tmp_path / "run")
    assert {cell.config.recipe.epochs for cell in pretender.ran} == {2}
    assert "3 trials of 2 runs of 2 epochs (seeds from 1000 on)" in render_markdown(build_report(tmp_path / "run"))
    with pytest.raises(UserError, match="trials of epochs = 8, and the study has 6"):
        resolve(tmp_path, f"epochs = 8\n{GRID}", head=head, **options)


def test_the_study_of_tuning_takes_runs_that_are_shorter_than_its_trials() -> None:
    study = find_study("tuning")[1]
    asked = StudyOptions(epochs=4)
    tuning = resolve_study("tuning", study, asked, ExecutionConfig(device="cpu")).tuning
    assert tuning is not None and (tuning.epochs, tuning.fixed) == (4, {"recipe.epochs": 4})


def test_an_arm_has_no_epochs_of_its_own_where_tuning_says_how_many_trials_have(tmp_path: Path) -> None:
    own = HEAD.replace('"{base}:width=6"', '{ variant = "{base}", recipe.epochs = 2 }')
    (tmp_path / "c.toml").write_text(f"{own}epochs = 1\n{GRID}")
    with pytest.raises(UserError, match=r"the arm 'wide' has recipe\.epochs of its own, which \[tuning\] sets"):
        read_study(tmp_path / "c.toml")


def test_a_report_of_tuning_under_way_says_so_and_who_watches_sees_its_trials(tmp_path: Path) -> None:
    run(resolve(tmp_path), tmp_path / "run", stop_after=3)
    (watched,), _, _ = Watch([tmp_path / "run"]).look()
    assert len(watched.cells) == 12 and sum(one.state == "finished" for one in watched.runs) == 3
    with pytest.raises(UserError, match="there are 3 runs of tuning, and arms are not compared yet"):
        build_report(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recipe.optimizer.lr = [1]", "Did you mean"),
        ("recipe.epochs = []", "at least one value"),
        ("recipe.epochs = { low = 3, high = 1 }", "from low to a higher high"),
        ("recipe.epochs = { low = 1, high = 3 }", "say how many trials each arm gets"),
        ("budget = 9\nrecipe.epochs = [1, 2]", "the budget is 9 trials, and the grid has 2 points"),
        ("first_seed = 1\nrecipe.epochs = [1, 2]", "Set first_seed = 2 or more"),
        ("recipe.epochs = [0, 1]", r"\[tuning\]: 'recipe.epochs' was given 0"),
        ("held_out = 1.5\nrecipe.epochs = [1]", "held_out"),
        ("seeds = 2", "settings"),
        ("epochs = 2\nrecipe.optimizer.weight_decay = [0, 1]", "trials of epochs = 2, and the study has 1"),
        ("epochs = 1\nrecipe.epochs = [1, 2]", "tunes recipe.epochs and says how many its trials have"),
    ],
)
def test_tuning_that_cannot_be_is_refused_with_the_mend(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(tmp_path, text)


def test_what_is_tuned_is_set_nowhere_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sets recipe\.optimizer\.learning_rate, which the study tunes"):
        resolve(tmp_path, set=["recipe.optimizer.learning_rate=1"])
    (tmp_path / "b.toml").write_text(
        (HEAD + GRID).replace(
            'wide = "{base}:width=6"', 'wide = { variant = "{base}", recipe.optimizer.learning_rate = 1 }'
        )
    )
    with pytest.raises(UserError, match=r"b\.toml: the arm 'wide' has recipe.optimizer.learning_rate of its own"):
        read_study(tmp_path / "b.toml")


def test_a_folder_is_not_tuned_otherwise_half_way(tmp_path: Path) -> None:
    run(resolve(tmp_path), tmp_path / "run", stop_after=3)
    with pytest.raises(UserError, match=r"tuning\.seeds is 2 there and 1 now"):
        run(resolve(tmp_path, GRID.replace("seeds = 2", "seeds = 1")), tmp_path / "run")


def test_what_is_held_out_is_of_the_training_split_and_of_no_run_trained_on() -> None:
    whole = load_dataset(DataConfig(spec="scenes"), "train", seed=0)
    config = DataConfig(spec="scenes", held_out=0.2, limit_train=100, limit_val=50)
    seen = [load_dataset(config, split, seed=seed).rows for split in ("train", "val") for seed in (0, 1)]
    all_train = load_dataset(DataConfig(spec="scenes", held_out=0.2), "train", seed=3)
    all_val = load_dataset(DataConfig(spec="scenes", held_out=0.2), "val", seed=4)
    assert sorted([*all_train.rows, *all_val.rows]) == list(range(len(whole)))
    assert len(all_val) == pytest.approx(0.2 * len(whole), rel=0.01)
    assert set(seen[0]) | set(seen[1]) <= set(all_train.rows)
    assert set(seen[2]) | set(seen[3]) <= set(all_val.rows)
    assert list(map(len, seen)) == [100, 100, 50, 50]
    np.testing.assert_allclose(np.bincount(all_val.labels), 0.2 * np.bincount(whole.labels), atol=0.6)
    other = load_dataset(config.model_copy(update={"held_out_seed": 1}), "val", seed=0)
    assert set(other.rows) != set(seen[2])


def test_a_tuned_study_trains_for_real(tmp_path: Path) -> None:
    study = resolve(tmp_path, "recipe.optimizer.learning_rate = [0.05, 0.1]", seeds=1)
    session = Session(InProcess(), StopRequest(), jobs=1, threads=1)
    outcome = run_study(study, tmp_path / "run", session, watcher=Unwatched())
    assert (outcome.finished, outcome.failed) == (6, {})
    (comparison,) = build_report(tmp_path / "run").comparisons
    certificates = {record.certificate.untreated for record in comparison.records if record.certificate}
    assert len(certificates) == 1
    shutil.rmtree(tmp_path / "run" / "cells" / "wide")
    again = run_study(study, tmp_path / "run", session, watcher=Unwatched())
    assert (again.finished, again.failed) == (6, {})
