"""Every table of a report is there as CSV, Markdown and LaTeX: rounded in words, exact in numbers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from synthetic_runs import list_runs, make_run, write_crossed, write_study
from test_measured import write_measured

from vtbench.records import TimingRecord, save_lines
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


def test_each_table_of_an_interim_report_says_that_it_is_one(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", list_runs({"convolution": (71.0, 72.0), "dynamic": (71.0,)}))
    save_report(build_report(study, interim=True), tmp_path / "out")
    tables = [path for path in (tmp_path / "out" / "tables").iterdir() if path.suffix != ".csv"]
    assert len(tables) > 4
    assert [path for path in tables if "Interim: 3 of 15 runs have finished" not in path.read_text("utf-8")] == []
    whole = build_report(write_study(tmp_path / "whole", list_runs()), interim=True)
    assert not any("Interim" in note for one in list_tables(whole).values() for note in one.notes)


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


def test_tables_of_what_was_measured_and_of_times_are_plain_numbers(tmp_path: Path) -> None:
    study = write_measured(tmp_path / "runs")
    timed = [TimingRecord(epoch=0, train_seconds=5.5, val_seconds=1.0, train_images_per_second=900.0)]
    save_lines(study / "cells" / "static" / "seed-1" / "timing.jsonl", timed)
    save_report(build_report(study), tmp_path)
    row = read(tmp_path, "measured")[1]
    assert row.items() >= {"latency_ms": "3.0", "peak_memory_bytes": "3145728", "energy_joules": ""}.items()
    assert float(row["images_per_second"]) == pytest.approx(1000 / 3)
    assert float(row["latency_ms_first_quartile"]) == pytest.approx(2.7)
    assert float(row["latency_ms_third_quartile"]) == pytest.approx(3.3)
    times = {(row["arm"], row["seed"]): row["seconds"] for row in read(tmp_path, "seeds")}
    assert times["static", "1"] == "6.5" and times["static", "0"] == ""
    assert next(row for row in read(tmp_path, "runs") if row["arm"] == "static")["median_seconds"] == "6.5"


def test_tables_of_tuning_have_the_numbers_of_trials_as_people_count_them() -> None:
    tables = list_tables(build_report(REPORTS / "tuning"))
    trials, tuned = tables["trials"].rows, tables["tuning"].rows
    assert [row["trial"] for row in trials if row["arm"] == "convolution"] == [1, 2, 3]
    best = max((row for row in trials if row["arm"] == "static+position"), key=lambda row: row["top1_percent"])
    own = next(row for row in tuned if row["arm"] == "static+position")
    rate = "recipe.optimizer.learning_rate"
    assert (own[rate], own["trials_top1_percent"]) == (best[rate], best["top1_percent"])
    assert own["is_on_edge"] is True and isinstance(own["fresh_seeds_top1_percent"], float)


def test_what_an_arm_does_not_have_is_an_empty_cell_and_tests_have_the_seed_in_their_names(tmp_path: Path) -> None:
    save_report(build_report(REPORTS / "attention_cifar10"), tmp_path)
    assert {row["num_heads"] for row in read(tmp_path, "arms")} >= {"", "4"}
    assert "mcnemar_seed_4_p" in read(tmp_path, "over_images")[0]
    notes = (tmp_path / "tables" / "over_images.md").read_text("utf-8")
    assert "\n- Over images, ± says" in notes and "top-1 is that after the last epoch" not in notes
    assert "top-1 is that after the last epoch" in (tmp_path / "tables" / "summary.md").read_text("utf-8")


def test_the_summary_is_what_the_command_prints(tmp_path: Path) -> None:
    report = build_report(write_study(tmp_path / "runs", list_runs()))
    save_report(report, tmp_path)
    assert (tmp_path / "tables" / "summary.csv").read_text("utf-8") == render_csv(report)
