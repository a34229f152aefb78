"""``vtbench report`` on the command line: formats, pipes, narrow terminals, mistakes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_runs import list_runs, make_run, write_study
from typer.testing import CliRunner

from vtbench.cli.main import app
from vtbench.errors import UserError
from vtbench.reporting.report import build_report
from vtbench.reporting.terminal import print_report

RUNNER = CliRunner()


def call(*arguments: object) -> tuple[str, str]:
    answer = RUNNER.invoke(app, ["report", *map(str, arguments)], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stdout, answer.stderr


def test_the_table_is_printed_and_the_files_are_named(tmp_path: Path) -> None:
    out, err = call(write_study(tmp_path / "components", list_runs()))
    assert "71.8 ± 1.4" in out
    assert "accuracy_macs.svg" in err
    assert (tmp_path / "components" / "report" / "report.md").exists()


def test_piped_output_has_no_escape_codes_and_no_cut_columns(tmp_path: Path) -> None:
    out, _ = call(write_study(tmp_path, list_runs()))
    assert "\x1b" not in out
    assert "…" not in out
    assert "dynamic-position" in out


def test_a_narrow_terminal_cuts_no_number(tmp_path: Path) -> None:
    stream = io.StringIO()
    print_report(build_report(write_study(tmp_path, list_runs())), Console(file=stream, width=80, highlight=False))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for number in ("71.3 ± 1.4", "-1.45 ± 0.33", "0.332", "33.91", "72.60"):
        assert number in text


@pytest.mark.parametrize("num_seeds", [12, 24, 25])
def test_a_narrow_terminal_shows_each_of_many_seeds_whole_or_says_where_they_stand(
    tmp_path: Path, num_seeds: int
) -> None:
    stream = io.StringIO()
    runs = [make_run(arm, seed, 40.01 + seed) for arm in ("convolution", "static") for seed in range(num_seeds)]
    report = build_report(write_study(tmp_path, runs, seeds=None))
    print_report(report, Console(file=stream, width=80, highlight=False))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert all((f"{40 + seed}.01" in text) == (num_seeds <= 24) for seed in (1, 2, 9, 10))
    assert (f"each of the {num_seeds} seeds" in " ".join(text.split())) == (num_seeds > 24)


def test_a_report_of_other_runs_or_of_nobody_is_replaced_only_when_that_is_asked_for(tmp_path: Path) -> None:
    one, other = (write_study(tmp_path / name, list_runs(), seeds=None) for name in ("one", "other"))
    for _ in range(2):
        call(one, "--out", tmp_path / "out")
    before = (tmp_path / "out" / "report.md").read_bytes()
    answer = RUNNER.invoke(app, ["report", str(other), "--out", str(tmp_path / "out")])
    assert "report.md is there already and is not of other: it would be replaced" in str(answer.exception)
    assert (tmp_path / "out" / "report.md").read_bytes() == before
    call(other, "--out", tmp_path / "out", "--overwrite")
    mine = tmp_path / "mine" / "tables" / "contrasts.md"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    answer = RUNNER.invoke(app, ["report", str(one), "--out", str(tmp_path / "mine")])
    assert f"{mine} is there already and is not of one" in str(answer.exception)
    assert mine.read_text() == "mine"
    call(one, other)
    assert not (one / "report").exists()
    assert (one / "report-with-other" / "report.md").is_file()


def test_tables_that_earlier_reports_left_go_and_files_of_others_stay(tmp_path: Path) -> None:
    study = write_study(tmp_path / "one", list_runs())
    earlier = {
        "table.csv": "comparison,arm,variant\n1,a,b\n",
        "table.tex": "% one\n\n\\begin{tabular}{l}\n\\toprule\n",
        "classes.csv": "comparison,class,name\n",
    }
    for folder, texts in (("ours", earlier), ("theirs", dict.fromkeys(earlier, "% mine\n"))):
        for call_again in (("--out", tmp_path / folder), ("--archive", tmp_path / f"{folder}-kept")):
            call(study, *call_again)
            for name, text in texts.items():
                (call_again[1] / name).write_text(text)
            call(study, *call_again)
            assert [(call_again[1] / name).exists() for name in texts] == [folder == "theirs"] * 3
    published = tmp_path / "published"
    call("--published", "--out", published)
    (published / "table.csv").write_text("model,family,variant\n")
    call("--published", "--out", published)
    assert not (published / "table.csv").exists()


def test_the_literature_replaces_no_report_of_runs_unless_that_is_asked_for(tmp_path: Path) -> None:
    call(write_study(tmp_path / "one", list_runs()), "--out", tmp_path / "out")
    before = (tmp_path / "out" / "report.md").read_bytes()
    answer = RUNNER.invoke(app, ["report", "--published", "--out", str(tmp_path / "out")])
    assert "report.md is there already and is not of the literature" in str(answer.exception)
    assert (tmp_path / "out" / "report.md").read_bytes() == before
    call("--published", "--out", tmp_path / "out", "--overwrite")
    assert (tmp_path / "out" / "report.md").read_text("utf-8").startswith("# Published")


@pytest.mark.parametrize(("blocking", "is_folder"), [("tables", False), ("tables/runs.md", True)])
def test_what_has_the_place_of_a_table_is_named_before_anything_is_replaced(
    tmp_path: Path, blocking: str, is_folder: bool
) -> None:
    study, path = write_study(tmp_path / "one", list_runs()), tmp_path / "out" / blocking
    path.parent.mkdir(parents=True)
    if is_folder:
        path.mkdir()
    else:
        path.write_text("mine")
    answer = RUNNER.invoke(app, ["report", str(study), "--out", str(tmp_path / "out"), "--overwrite"])
    assert f"{path} is a {'folder where a file' if is_folder else 'file where a folder'}" in str(answer.exception)
    assert [one.name for one in (tmp_path / "out").rglob("*")] == blocking.split("/")


def test_a_folder_of_the_name_of_a_table_that_the_report_does_not_have_stays(tmp_path: Path) -> None:
    (tmp_path / "out" / "tables" / "tuning.csv").mkdir(parents=True)
    call(write_study(tmp_path / "one", list_runs()), "--out", tmp_path / "out", "--overwrite")
    assert (tmp_path / "out" / "tables" / "tuning.csv").is_dir() and (tmp_path / "out" / "report.md").is_file()


@pytest.mark.parametrize("text_format", ["markdown", "csv", "latex", "json"])
def test_other_formats_print_nothing_but_themselves(tmp_path: Path, text_format: str) -> None:
    out, err = call(write_study(tmp_path, list_runs()), "--format", text_format)
    assert "Report:" not in out
    assert "Report:" in err
    if text_format == "json":
        assert json.loads(out)["title"] == "components"
    elif text_format == "csv":
        assert out == (tmp_path / "report" / "tables" / "summary.csv").read_text("utf-8")


def test_out_base_and_archive_do_what_they_say(tmp_path: Path) -> None:
    study = write_study(tmp_path / "components", list_runs())
    out, _ = call(study, "--out", tmp_path / "elsewhere", "--against", "static")
    assert "against static (points)" in out
    assert (tmp_path / "elsewhere" / "tables" / "summary.tex").exists()
    assert not (study / "report").exists()
    call(study, "--archive", tmp_path / "kept")
    assert (tmp_path / "kept" / "records" / "static-seed0.json").exists()
    again, _ = call(tmp_path / "kept")
    assert "71.8 ± 1.4" in again


def test_the_literature_is_reported_with_its_recipes_and_conventions(tmp_path: Path) -> None:
    out, _ = call("--published", "--out", tmp_path / "published")
    assert "VT-R101" in out
    assert "trained by VT's advanced" in out
    assert "(a) printed with the stride in the first 1x1" in out
    assert (tmp_path / "published" / "accuracy_macs.png").exists()
    table, err = call("--published", "--out", tmp_path / "published", "--format", "csv")
    assert table == (tmp_path / "published" / "tables" / "published.csv").read_text("utf-8")
    assert "Report:" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Which runs"),
        (["absent"], "There is no folder absent"),
        (["absent", "--published"], "takes no runs"),
        (["absent", "--archive", "a", "--out", "b"], "Leave out --out"),
    ],
)
def test_a_mistake_is_one_message(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RUNNER.invoke(app, ["report", *arguments], catch_exceptions=False)
