"""A report is written whole, the same bytes every time, and without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from synthetic_runs import assert_same_files, list_runs, make_run, write_study

from vtbench.cli.verb_report import report_runs
from vtbench.errors import UserError
from vtbench.metrics import TOP1
from vtbench.reporting.archive import archive_runs
from vtbench.reporting.failures import tell_failures
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.figures import Figure as ReportFigure
from vtbench.reporting.rendering import render_json, render_markdown, write_report
from vtbench.reporting.report import Report, build_report
from vtbench.reporting.scatter import Point, draw_points
from vtbench.reporting.style import find_look, house_style


def test_a_report_has_every_file_and_says_where(tmp_path: Path) -> None:
    paths = write_report(write_study(tmp_path / "components", list_runs()))
    assert paths.folder == tmp_path / "components" / "report"
    names = sorted(path.name for path in paths.folder.iterdir())
    figures = ["accuracy_macs.png", "accuracy_macs.svg", "effects.png", "effects.svg"]
    assert names == [*figures, "report.html", "report.md", "tables"]
    assert all(path.exists() for path in (paths.markdown, *paths.tables, *paths.figures))
    assert paths.markdown.read_text("utf-8").startswith("# components\n\nDo tokens beat convolution")


def test_equal_records_give_equal_bytes_wherever_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    for name in "ab":
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        written.append(write_report(write_study(Path("runs/components"), list_runs())).move(Path("report").absolute()))
        Path("runs/components/report").rename("report")
    first, second = written
    assert_same_files(first.folder, second.folder)


def test_the_svg_is_well_formed_and_holds_neither_date_nor_path(tmp_path: Path) -> None:
    paths = write_report(write_study(tmp_path / "components", list_runs()))
    text = (paths.folder / "accuracy_macs.svg").read_text("utf-8")
    ElementTree.fromstring(text)
    assert "<dc:date>" not in text
    assert str(tmp_path) not in text


def test_a_report_builds_without_torch(tmp_path: Path) -> None:
    write_study(tmp_path, list_runs())
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from vtbench.reporting.rendering import write_report\n"
        f"print(write_report(Path({str(tmp_path)!r})).markdown)"
    )
    answer = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_a_report_where_everything_failed_still_tells_what_failed(tmp_path: Path) -> None:
    paths = write_report(write_study(tmp_path, [make_run("convolution", 0, error="out of memory")], seeds=1))
    assert paths.figures == ()
    text = "\n\n## Failed runs\n\n- convolution, seed 0, in `cells/convolution/seed-0`: out of memory\n"
    assert text in paths.markdown.read_text("utf-8")


def test_a_run_that_failed_says_why_and_where_its_traceback_lies_and_in_an_archive_where_its_record_is(
    tmp_path: Path,
) -> None:
    runs = [make_run("convolution", 0, 70.0), make_run("dynamic", 0, error="Unexpected\nKeyError")]
    study = write_study(tmp_path / "study", runs, seeds=1)
    (study / "cells" / "dynamic" / "seed-0" / "error.txt").write_text("Traceback")
    report = build_report(study)
    assert list(tell_failures(report)) == ["Failed: dynamic, seed 0: Unexpected (cells/dynamic/seed-0/error.txt)"]
    assert "traceback in `cells/dynamic/seed-0/error.txt`: Unexpected KeyError" in render_markdown(report)
    assert [run["place"] for run in json.loads(render_json(report))["failed"]] == ["cells/dynamic/seed-0"]
    archive = archive_runs([study], tmp_path / "archive").markdown.read_text("utf-8")
    assert "- dynamic, seed 0, in `records/dynamic-seed0.json`: Unexpected KeyError" in archive


def test_figures_of_an_earlier_report_do_not_stay_behind(tmp_path: Path) -> None:
    write_study(tmp_path, list_runs())
    stale = tmp_path / "report" / "accuracy_macs_2.svg"
    stale.parent.mkdir()
    stale.write_text("old")
    write_report(tmp_path)
    assert not stale.exists()


def test_what_was_kept_apart_gets_a_figure_of_its_own(tmp_path: Path) -> None:
    other = [make_run(arm, 0, 60.0, epochs=1) for arm in ("dynamic", "static")]
    both = [run for run in list_runs() if run.arm in ("convolution", "dynamic-position")] + other
    paths = write_report(write_study(tmp_path, both))
    assert [path.name for path in paths.figures if path.suffix == ".svg"] == [
        "accuracy_macs.svg",
        "effects.svg",
        "accuracy_macs_2.svg",
        "effects_2.svg",
    ]
    assert "(accuracy_macs_2.svg)" in paths.markdown.read_text("utf-8")


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is(tmp_path: Path) -> None:
    write_study(tmp_path / "components", list_runs())
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write to the output folder"):
        write_report(tmp_path / "components", tmp_path / "file" / "report")


def test_a_point_with_one_seed_has_no_error_bar_and_one_with_three_has() -> None:
    bare = Point("a", "resnet20", 40_000_000, 70.0)
    barred = Point("b", "vt_resnet20", 35_000_000, 71.0, half_width=0.5, seeds=(70.8, 71.0, 71.2))
    with house_style():
        alone = draw_points([bare], TOP1, title="t", caption="c", legend=False)
        both = draw_points([bare, barred], TOP1, title="t", caption="c", legend=True)
    assert len(alone.axes[0].containers) == 0
    assert len(both.axes[0].containers) == 1
    assert both.legends and not alone.legends


def test_a_very_long_error_bar_does_not_flatten_the_figure() -> None:
    points = [Point("a", "resnet20", 1000, 70.0, half_width=40.0), Point("b", "resnet32", 2000, 71.0)]
    with house_style():
        low, high = draw_points(points, TOP1, title="t", caption="c", legend=False).axes[0].get_ylim()
    assert high - low < 6


def test_costs_that_lie_far_apart_are_drawn_on_a_logarithmic_axis() -> None:
    points = [Point("a", "resnet18", 10**9, 70.0), Point("b", "resnet101", 10**10, 71.0)]
    with house_style():
        axes = draw_points(points, TOP1, title="t", caption="c", legend=False).axes[0]
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "1.5", "2", "3", "5", "7", "10"]


def test_every_family_has_a_look_of_its_own() -> None:
    names = ("resnet50", "vt_resnet18", "se_resnet18", "cbam_resnet18", "lr_resnet50", "sasa_resnet50", "aa_resnet50")
    names = (
        *names,
        "san19",
        "glore_resnet50",
        "a2_resnet50",
        "nonlocal_resnet50",
        "botnet_s1_59",
        "vit_b_16",
        "deit_b_16",
    )
    looks = [find_look(name) for name in names]
    assert len({(look.color, look.marker) for look in looks}) == len(names)
    assert "other" not in {look.title for look in looks}


def test_a_registered_figure_is_drawn_for_every_comparison_named_in_the_report_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(report: Report, index: int) -> Figure | None:
        points = [Point("a", "resnet20", 1000 + index, 70.0)]
        return None if index else draw_points(points, TOP1, title=report.outline.title, caption="c", legend=False)

    monkeypatch.setitem(FIGURES._entries, "costs", ReportFigure(title="Costs of the arms", draw=draw))
    other = [make_run(arm, 0, 60.0, epochs=1) for arm in ("dynamic", "static")]
    study = write_study(tmp_path, [*list_runs(), *other])
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "costs_3.png").write_text("old")
    paths = write_report(study)
    assert [path.name for path in paths.figures if path.suffix == ".svg" and path.exists()] == [
        "accuracy_macs.svg",
        "effects.svg",
        "costs.svg",
        "accuracy_macs_2.svg",
        "effects_2.svg",
    ]
    explain = FIGURES["accuracy_macs"].explain
    assert explain is not None
    above = f"![Accuracy against MACs](accuracy_macs.svg)\n\n{explain(build_report(study), 0)}"
    assert f"{above}\n\n![Costs of the arms](costs.svg)" in paths.markdown.read_text("utf-8")
    assert not (paths.folder / "costs_3.png").exists()


def test_names_from_others_records_are_text_in_every_file(tmp_path: Path) -> None:
    hostile = "=<b>$\\frac{$\x1b[31m](u)"
    folder = write_study(tmp_path / "study", [make_run(hostile, seed, 50.0 + seed) for seed in range(3)])
    paths = write_report(folder)
    texts = (paths.markdown, *(paths.folder / "tables" / f"summary.{suffix}" for suffix in ("csv", "tex", "md")))
    markdown, csv, latex, table = (path.read_text("utf-8") for path in texts)
    assert "<b>" not in markdown + table
    assert "](u)" not in markdown + table
    assert "'=<b>$\\frac{$\\x1b[31m](u)" in csv
    assert "\x1b" not in markdown + csv + latex
    assert "$\\frac" not in latex
    assert paths.figures


def test_a_study_of_a_hostile_title_is_text_in_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", [make_run("a\x1b[31m", 0, 50.0)])
    report_runs([folder], None, "table", None, None)
    assert "\x1b" not in capsys.readouterr().out
