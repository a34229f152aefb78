"""Every table of a report is there as CSV, Markdown and LaTeX: rounded in words, exact in numbers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from synthetic_runs import list_runs, make_run, write_crossed, write_study

from vtbench.reporting.rendering import render_csv, render_json, render_markdown, save_report
from vtbench.reporting.report import build_report
from vtbench.reporting.table_files import list_table_files, list_tables

REPORTS = Path(__file__).parents[2] / "reports"


def read(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "tables" / f"{name}.csv").read_text("utf-8").splitlines()))


def test_words_are_rounded_by_their_uncertainty_and_numbers_are_not(tmp_path: Path) -> None:
    save_report(build_report(write_study(tmp_path / "runs", list_runs())), tmp_path)
    dynamic = next(row for row in read(tmp_path, "summary") if row["arm"] == "dynamic")
    assert float(dynamic["top1_half_width"]) == pytest.approx(4.302653 * 0.31**0.5 / 3**0.5, abs=1e-6)
    assert dynamic["difference_points"] == "0.483333"
    words = (tmp_path / "tables" / "summary.md").read_text("utf-8")
    assert " 71.8 ± 1.4 |" in words and " +0.48 ± 0.36 |" in words
    latex = (tmp_path / "tables" / "summary.tex").read_text("utf-8")
    assert "71.8 $\\pm$ 1.4 &" in latex
    assert latex.startswith("% components\n\\begin{tabular}{lrrrrrr}\n\\toprule\n")
    assert "% $\\pm$ is the half width of the 95 \\% t interval over seeds." in latex


def test_every_run_and_how_runs_spread_are_tables_of_their_own(tmp_path: Path) -> None:
    records = [*list_runs({"convolution": (70.0, 72.0, 71.0)}), make_run("static", 0, 69.5)]
    save_report(build_report(write_study(tmp_path / "runs", records)), tmp_path)
    assert [(row["arm"], row["seed"], row["state"], row["top1_percent"]) for row in read(tmp_path, "seeds")][1:5] == [
        ("convolution", "1", "finished", "72.0"),
        ("convolution", "2", "finished", "71.0"),
        ("static", "0", "finished", "69.5"),
        ("static", "1", "missing", ""),
    ]
    spread = ("n", "lowest_top1_percent", "median_top1_percent", "highest_top1_percent")
    assert [read(tmp_path, "runs")[0][key] for key in spread] == ["3", "70.0", "71.0", "72.0"]
    assert not (tmp_path / "tables" / "contrasts.csv").exists(), "a table that is not there has no file"


def test_what_is_nested_in_json_has_a_column_each_in_csv(tmp_path: Path) -> None:
    factors = {"model": ("a", "b"), "data": ("x", "y")}
    write_crossed(tmp_path / "runs", factors, lambda level, seed: 70.0 + seed + 5 * (level["model"] == "b"))
    report = build_report(tmp_path / "runs")
    save_report(report, tmp_path)
    first, second = read(tmp_path, "interactions")[:2]
    assert "change" not in first
    assert (first["where"], first["there_effect"], first["change_effect"]) == ("data=x", "5.0", "")
    assert (second["where"], second["change_effect"]) == ("data=y", "0.0")
    nested = json.loads(render_json(report))["comparisons"][0]["interactions"]
    assert nested[0]["change"] is None and nested[1]["change"]["effect"] == 0


def test_comparisons_stand_below_each_other_and_are_told_apart(tmp_path: Path) -> None:
    others = [make_run("static", seed, 60.0 + seed, recipe="other") for seed in range(3)]
    records = [*list_runs({"convolution": (70.0, 71.0)}), *others]
    save_report(build_report(write_study(tmp_path / "runs", records)), tmp_path)
    assert ("2", "static") in {(row["comparison"], row["arm"]) for row in read(tmp_path, "summary")}
    assert (tmp_path / "tables" / "summary.md").read_text("utf-8").count("**Comparison ") == 2
    assert "% components: Comparison 2\n\\begin{tabular}" in (tmp_path / "tables" / "summary.tex").read_text("utf-8")


def test_two_results_have_the_tables_of_both(tmp_path: Path) -> None:
    folders = [write_study(tmp_path / name, list_runs()) for name in ("old", "new")]
    save_report(build_report(*folders), tmp_path)
    assert read(tmp_path, "old_and_new")[0]["difference"] == "0.0"
    assert len(read(tmp_path, "sources")) == 2


@pytest.mark.parametrize("study", ["tuning", "motivations", "segmentation", "deviations"])
def test_files_are_of_known_names_and_hold_what_the_report_shows(study: str) -> None:
    report = build_report(REPORTS / study)
    tables = list_tables(report)
    assert {f"tables/{name}.csv" for name in tables} <= set(list_table_files())
    text = render_markdown(report)
    shown = [table for one in tables.values() for _, table in one.tables]
    assert all(" | ".join(table.rows[0][:1]) in text for table in shown)
    assert text.count("\n| --") == len(shown)
    assert all(len(one.rows) >= 1 for one in tables.values())


def test_the_summary_is_what_the_command_prints(tmp_path: Path) -> None:
    report = build_report(write_study(tmp_path / "runs", list_runs()))
    save_report(report, tmp_path)
    assert (tmp_path / "tables" / "summary.csv").read_text("utf-8") == render_csv(report)
