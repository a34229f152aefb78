"""An archived report can be rebuilt from its own folder, and tells nothing about the machine's folders."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import assert_same_files, list_runs, make_run, write_study

from vtbench.errors import UserError
from vtbench.records import RunRecord, TimingRecord, load_record, save_lines
from vtbench.records.answers import Answers, pack_answers
from vtbench.reporting.archive import archive_runs, list_archives, make_portable
from vtbench.reporting.rendering import write_report
from vtbench.reporting.report import build_report
from vtbench.reporting.runs import identify_run, load_runs


def test_an_archive_holds_flat_records_and_renders_to_the_same_bytes_again(tmp_path: Path) -> None:
    study = write_study(tmp_path / "components", list_runs())
    paths = archive_runs([study], tmp_path / "reports" / "components")
    names = sorted(path.name for path in (paths.folder / "records").iterdir())
    assert names[0] == "convolution-seed0.json"
    assert len(names) == 15
    again = write_report(paths.folder, tmp_path / "again")
    assert_same_files(again.folder, paths.folder)
    assert list_archives(tmp_path / "reports") == [paths.folder]


def test_an_archive_renders_as_the_runs_themselves_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = write_study(Path("runs/components"), list_runs())
    direct = write_report(study, tmp_path / "direct")
    archived = archive_runs([study], tmp_path / "archived")
    assert_same_files(direct.folder, archived.folder)


def test_an_archive_keeps_the_times_of_epochs_and_one_without_them_still_loads(tmp_path: Path) -> None:
    study = write_study(tmp_path / "components", list_runs())
    timing = TimingRecord(epoch=0, train_seconds=5.5, val_seconds=1.0, train_images_per_second=900.0)
    save_lines(study / "cells" / "static" / "seed-1" / "timing.jsonl", [timing])
    archive = archive_runs([study], tmp_path / "archive").folder
    assert (archive / "records" / "static-seed1.timing.jsonl").is_file()
    report = build_report(archive)
    timed = next(record for record in report.comparisons[0].records if (record.arm, record.seed) == ("static", 1))
    assert report.timings == {identify_run(timed): (timing,)}
    untimed = write_study(tmp_path / "untimed", list_runs())
    archive_runs([untimed], archive)
    assert not list((archive / "records").glob("*.jsonl"))
    assert build_report(archive).timings == {}


def test_an_archive_keeps_the_answers_to_each_image_that_records_name_and_none_that_were_changed(
    tmp_path: Path,
) -> None:
    answers = Answers.of_classes("classification", np.array([0, 1, 2]), np.array([0, 1, 1]), num_classes=3)
    data = pack_answers(answers)
    kept = make_run("static", 1).model_copy(update={"answers_sha256": hashlib.sha256(data).hexdigest()})
    study = write_study(tmp_path / "components", [make_run("convolution", 1), kept])
    (study / "cells" / "static" / "seed-1" / "answers.safetensors").write_bytes(data)
    archive = archive_runs([study], tmp_path / "archive").folder
    assert (archive / "records" / "static-seed1.answers.safetensors").read_bytes() == data
    assert list(load_runs(archive).answers) == [identify_run(kept)]
    archive_runs([archive], tmp_path / "again")
    assert (tmp_path / "again" / "records" / "static-seed1.answers.safetensors").read_bytes() == data
    (study / "cells" / "static" / "seed-1" / "answers.safetensors").write_bytes(data[:-1])
    with pytest.raises(UserError, match="changed or damaged"):
        archive_runs([study], tmp_path / "archive")


def test_damaged_times_are_named_and_the_run_is_still_reported(tmp_path: Path) -> None:
    study = write_study(tmp_path / "components", list_runs())
    (study / "cells" / "static" / "seed-1" / "timing.jsonl").write_text('{"epoch": 0')
    report = build_report(study)
    assert len(report.comparisons[0].records) == 15
    (left,) = report.left_out
    assert left.path == "cells/static/seed-1/timing.jsonl"
    assert left.reason.startswith("no file of TimingRecords: line 1: Invalid JSON")


def test_the_base_that_was_asked_for_is_kept(tmp_path: Path) -> None:
    study = write_study(tmp_path / "components", list_runs())
    paths = archive_runs([study], tmp_path / "archive", base="static")
    assert "against static (points)" in paths.markdown.read_text("utf-8")


def test_archiving_again_replaces_what_was_there(tmp_path: Path) -> None:
    archive_runs([write_study(tmp_path / "a", list_runs())], tmp_path / "archive")
    archive_runs([write_study(tmp_path / "b", [make_run("dynamic", 0)], seeds=None)], tmp_path / "archive")
    assert [path.name for path in (tmp_path / "archive" / "records").iterdir()] == ["dynamic-seed0.json"]


def test_a_folder_that_holds_something_else_is_not_touched(tmp_path: Path) -> None:
    study = write_study(tmp_path / "components", list_runs())
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.md").write_text("precious")
    with pytest.raises(UserError, match="holds no archived report"):
        archive_runs([study], tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.md"]


@pytest.mark.parametrize(
    ("text", "portable"),
    [
        ("parquet:/home/someone/data/cifar10", "parquet:PATH/cifar10"),
        ("parquet:../data/cifar10", "parquet:../data/cifar10"),
        ("scenes:clutter=8", "scenes:clutter=8"),
        ("folder:C:\\Users\\someone\\birds", "folder:PATH/birds"),
    ],
)
def test_absolute_paths_are_cut_to_their_last_name(text: str, portable: str) -> None:
    record = make_portable(make_run(spec=text, error=f"cannot read {text}"))
    assert record.config.data.spec == portable
    assert record.error == f"cannot read {portable}"


def test_nothing_else_in_a_record_changes(tmp_path: Path) -> None:
    archive_runs([write_study(tmp_path / "a", list_runs())], tmp_path / "archive")
    record = load_record(tmp_path / "archive" / "records" / "dynamic-seed1.json", RunRecord)
    assert record == make_run("dynamic", 1, 71.2)


def test_two_records_of_one_arm_and_seed_get_two_files(tmp_path: Path) -> None:
    study = write_study(tmp_path / "a", [make_run("dynamic", 0)], seeds=None)
    other = write_study(tmp_path / "b", [make_run("dynamic", 0, epochs=1)], seeds=None)
    paths = archive_runs([study, other], tmp_path / "archive")
    names = sorted(path.name for path in (paths.folder / "records").iterdir())
    assert names == ["dynamic-seed0-2.json", "dynamic-seed0.json"]


@pytest.mark.slow
def test_an_archive_killed_at_any_file_operation_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    here = Path(__file__).parent
    folders = (here.parent / "foundations", *filter(None, [os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    program = [sys.executable, here / "kill_archiving.py", tmp_path]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


def test_a_full_disk_leaves_the_archive_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_runs([write_study(tmp_path / "a", list_runs())], tmp_path / "archive").folder
    before = {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()}

    def fill_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vtbench.reporting.table_files.to_latex", fill_disk)
    with pytest.raises(OSError, match="No space"):
        archive_runs([write_study(tmp_path / "b", [make_run("dynamic", 0)], seeds=None)], archive)
    assert {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()} == before


def test_records_behind_a_link_are_not_replaced(tmp_path: Path) -> None:
    study = write_study(tmp_path / "a", list_runs())
    archive = archive_runs([study], tmp_path / "archive").folder
    (archive / "records").rename(tmp_path / "elsewhere")
    (archive / "records").symlink_to(tmp_path / "elsewhere")
    before = sorted(path.name for path in (tmp_path / "elsewhere").iterdir())
    with pytest.raises(UserError, match=r"archive/records is a link to .*elsewhere.*Remove the link"):
        archive_runs([study], archive)
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == before
