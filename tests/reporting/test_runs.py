"""Every record beneath a folder is found, and what cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import COMPONENTS, list_runs, make_run, write_study

import vtbench
from vtbench.errors import UserError, format_names
from vtbench.records import save_record
from vtbench.reporting.report import build_report
from vtbench.reporting.runs import load_runs
from vtbench.reporting.sources import tabulate_sources


def test_all_records_beneath_a_study_are_found_in_the_order_of_arms_and_seeds(tmp_path: Path) -> None:
    write_study(tmp_path, [make_run("convolution", seed) for seed in range(11)], seeds=11)
    loaded = load_runs(tmp_path)
    assert [record.seed for record in loaded.records] == list(range(11))
    assert loaded.left_out == ()


def test_the_plan_of_a_study_gives_question_base_order_and_seeds(tmp_path: Path) -> None:
    write_study(tmp_path, [make_run("dynamic", 1)], seeds=3)
    outline = load_runs(tmp_path).outline
    assert outline.title == "components"
    assert outline.question is not None
    assert outline.base == "convolution"
    assert outline.arms == ("convolution", "static", "static-position", "dynamic", "dynamic-position")
    assert outline.seeds == (0, 1, 2)


def test_a_single_run_folder_is_read_too(tmp_path: Path) -> None:
    save_record(tmp_path / "mine" / "record.json", make_run(None, study=None))
    loaded = load_runs(tmp_path / "mine")
    assert len(loaded.records) == 1
    assert loaded.outline.title == "mine"


def test_several_folders_are_read_once_each_record(tmp_path: Path) -> None:
    write_study(tmp_path / "a", list_runs())
    assert len(load_runs(tmp_path / "a", tmp_path / "a" / "cells").records) == 15


@pytest.mark.parametrize("text", ["{", '{"macs": 1}', "", "\0\1"])
def test_a_torn_or_foreign_file_is_named_and_the_rest_is_read(tmp_path: Path, text: str) -> None:
    write_study(tmp_path, list_runs())
    torn = tmp_path / "cells" / "dynamic" / "seed-1" / "record.json"
    torn.write_text(text)
    loaded = load_runs(tmp_path)
    assert len(loaded.records) == 14
    assert [left.path for left in loaded.left_out] == ["cells/dynamic/seed-1/record.json"]
    assert "not a RunRecord" in loaded.left_out[0].reason


def test_a_cell_that_was_begun_and_not_finished_is_named(tmp_path: Path) -> None:
    write_study(tmp_path, list_runs())
    begun = tmp_path / "cells" / "dynamic" / "seed-3"
    begun.mkdir()
    (begun / "config.json").write_text(make_run("dynamic", 3).config.model_dump_json())
    (tmp_path / "weights-of-others").mkdir()
    (tmp_path / "weights-of-others" / "config.json").write_text('{"hidden_size": 768}')
    left = load_runs(tmp_path).left_out
    assert [(one.path, "not finished" in one.reason) for one in left] == [("cells/dynamic/seed-3", True)]
    with pytest.raises(UserError, match=r"the first being seed-3: begun but not finished"):
        load_runs(begun)


def test_a_second_record_of_one_cell_with_another_outcome_is_named_and_not_averaged(tmp_path: Path) -> None:
    save_record(tmp_path / "first" / "record.json", make_run("dynamic", 0, 70.0))
    save_record(tmp_path / "second" / "record.json", make_run("dynamic", 0, 75.0))
    loaded = load_runs(tmp_path)
    assert [record.headline for record in loaded.records] == [70.0]
    assert "second record of the same cell with another outcome" in loaded.left_out[0].reason
    same = make_run("dynamic", 0, 70.0)
    data = {"data": same.config.data.model_copy(update={"limit_val": 2000})}
    limited = same.model_copy(update={"config": same.config.model_copy(update=data)})
    save_record(tmp_path / "second" / "record.json", limited)
    assert "with other settings and the same outcome" in load_runs(tmp_path).left_out[0].reason
    noted = {"recipe": same.config.recipe.model_copy(update={"file": "mine.toml"})}
    save_record(
        tmp_path / "second" / "record.json",
        same.model_copy(update={"config": same.config.model_copy(update=noted)}),
    )
    loaded = load_runs(tmp_path)
    assert (loaded.left_out, loaded.num_copies) == ((), 1)
    save_record(tmp_path / "second" / "record.json", same.model_copy(update={"weights_sha256": "0" * 64}))
    assert "with the same settings and outcome, and other weights, costs" in load_runs(tmp_path).left_out[0].reason


def test_a_second_record_that_says_more_of_the_same_cell_is_no_other_outcome(tmp_path: Path) -> None:
    run = make_run("dynamic", 0, 70.0)
    save_record(tmp_path / "first" / "record.json", run)
    save_record(tmp_path / "second" / "record.json", run.model_copy(update={"class_names": ("disc", "square")}))
    assert load_runs(tmp_path).left_out == ()


def test_all_runs_are_found_with_their_folders_where_two_studies_have_the_same_cells(tmp_path: Path) -> None:
    one, other = (write_study(tmp_path / name, [make_run("dynamic", 0, 70.0)]) for name in ("one", "other"))
    save_record(tmp_path / "alone" / "record.json", make_run(None, 3, study=None))
    loaded = load_runs(tmp_path)
    assert [run.study for run in loaded.found] == [None, one, other]
    assert [run.path.parent.name for run in loaded.found] == ["alone", "seed-0", "seed-0"]
    assert len(loaded.records) == 2
    assert load_runs(one / "cells" / "dynamic").found[0].study == one
    deep = write_study(tmp_path / "deep", [make_run("nets/mine/wide", 0)])
    assert [run.study for run in load_runs(deep).found] == [deep]


def test_a_report_of_a_folder_with_several_results_says_what_is_there_and_how_to_ask_for_one(tmp_path: Path) -> None:
    one, other = (write_study(tmp_path / name, [make_run("dynamic", 0, 70.0)]) for name in ("one", "other"))
    with pytest.raises(UserError) as refused:
        build_report(tmp_path)
    assert f" holds 2 studies, which do not belong into one table: {one}, {other}. Give one" in str(refused.value)
    assert f"as in vtbench report {one}, or those" in str(refused.value)
    assert len(build_report(one, other).comparisons) == 1
    save_record(tmp_path / "alone" / "record.json", make_run(None, 3, study=None))
    with pytest.raises(UserError, match=r"holds 2 studies and 1 single run, which .*alone\. Give"):
        build_report(tmp_path)
    save_record(tmp_path / "singles" / "a" / "record.json", make_run(None, 3, study=None))
    save_record(tmp_path / "singles" / "b" / "record.json", make_run(None, 4, study=None))
    assert build_report(tmp_path / "singles").comparisons[0].seeds == (3, 4)


def test_a_folder_that_is_not_there_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder .*absent"):
        load_runs(tmp_path / "absent")


def test_a_folder_without_records_says_who_writes_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="vtbench ablate"):
        load_runs(tmp_path)


def test_a_study_of_which_no_cell_has_finished_is_told_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "u" / "cells" / "static" / "seed-0").mkdir(parents=True)
    study = write_study(tmp_path / "u", [])
    told = r"No cell has finished yet of \S*u \(15 cells\), .* vtbench ablate goes on, and vtbench watch \S*u says"
    for folder in (study, tmp_path):
        with pytest.raises(UserError, match=told):
            load_runs(folder)
    save_record(study / "cells" / "static" / "seed-0" / "record.json", make_run("static", 0, 70.0))
    assert len(load_runs(study).records) == 1


def test_arms_of_each_folder_are_named_in_the_order_of_their_study(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_study(tmp_path / name, [*map(make_run, reversed(COMPONENTS)), make_run("added", variant="resnet20")])
    folders = (tmp_path / "one", tmp_path / "other")
    table = tabulate_sources(folders, load_runs(*folders).found)
    assert table is not None
    assert [row[3] for row in table.rows] == [format_names([*COMPONENTS, "added"])] * 2


def test_a_folder_with_torn_records_only_says_what_is_wrong_with_them(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(UserError, match=r"1 were left out, the first being record\.json: not a RunRecord"):
        load_runs(tmp_path)


def test_a_damaged_study_file_is_named(tmp_path: Path) -> None:
    write_study(tmp_path, list_runs())
    (tmp_path / "study.json").write_text('{"name": 1')
    with pytest.raises(UserError, match=r"study\.json is damaged"):
        load_runs(tmp_path)


def test_the_study_of_a_run_is_found_above_the_folder_that_is_read(tmp_path: Path) -> None:
    study = write_study(tmp_path / "mine", list_runs())
    for place in (study, study / "cells", study / "cells" / "static", study / "cells" / "static" / "seed-1"):
        assert {one.study for one in load_runs(place).found} == {study}
    deep = write_study(tmp_path / "mine" / "a" / "b" / "c", [make_run("static", 1)], seeds=None)
    assert {one.study for one in load_runs(deep).found} == {None}
    assert {one.study for one in load_runs(tmp_path).found} == {study}


def test_no_folder_of_a_study_is_asked_for_its_files_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_study(tmp_path, [make_run("convolution", seed) for seed in range(40)])
    asked: list[Path] = []
    is_file = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: asked.append(path) or is_file(path))
    assert len(load_runs(study).records) == 40
    assert len(asked) < 50  # A record itself, and no other file, each.


@pytest.mark.parametrize("several", [list, tuple])
def test_several_folders_are_as_many_arguments_or_one_list(
    several: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arm in ("convolution", "dynamic"):
        save_record(tmp_path / arm / "record.json", make_run(arm, study=None))
    assert vtbench.load_runs(several(["convolution", Path("dynamic")]))["arm"].tolist() == ["convolution", "dynamic"]
    report = vtbench.report(several(["convolution", "dynamic"]))
    assert report.table["arm"].tolist() == ["convolution", "dynamic"]
    assert report.folders == (Path("convolution"), Path("dynamic"))
