"""Tables of classes: numbers by hand, what is absent, and what is shown of many classes and arms."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from synthetic_runs import list_runs, make_segmentation_run, write_study

from vtbench.records import NotMeasured, RunRecord
from vtbench.reporting.class_differences import find_class_differences
from vtbench.reporting.class_tables import CLASSES_FILE, PAGE, SCREEN, list_class_notes, score_classes, tabulate_classes
from vtbench.reporting.comparisons import Comparison, build_comparisons
from vtbench.reporting.outline import ReportOutline, complete_outline
from vtbench.reporting.rendering import render_json, render_latex, save_report
from vtbench.reporting.report import Report, build_report
from vtbench.reporting.terminal import print_report

NAMES = ("sky", "road", "sign & post")
# Rows are the truth: no pixel of it is a sign, though some are taken for one.
BASE = ([[8, 2, 0], [0, 10, 0], [0, 0, 0]], [[6, 4, 0], [0, 10, 0], [0, 0, 0]])
ARM = ([[9, 0, 1], [0, 10, 0], [0, 0, 0]], [[10, 0, 0], [0, 10, 0], [0, 0, 0]])


def compare(records: Sequence[RunRecord]) -> Comparison:
    outline = complete_outline(ReportOutline(title="classes", base="FPN"), records)
    return build_comparisons(records, outline)[0]


def make_study(names: Sequence[str] = NAMES, void_percent: float = 0.0) -> list[RunRecord]:
    return [
        make_segmentation_run(arm, seed, confusion, names=names, void_percent=void_percent)
        for arm, confusions in (("FPN", BASE), ("VT-FPN", ARM))
        for seed, confusion in enumerate(confusions)
    ]


def make_many(num_arms: int, num_classes: int) -> list[RunRecord]:
    """Class k has k pixels of which arm a takes min(a, k) for its neighbour; two seeds differ by one pixel."""
    runs = []
    for arm in range(num_arms):
        for seed in range(2):
            confusion = [[0] * num_classes for _ in range(num_classes)]
            for number in range(1, num_classes):
                wrong = min(arm + (seed if number % 2 else 0), number)
                confusion[number][number] = 10 * number - wrong
                confusion[number][number - 1] = wrong
            runs.append(make_segmentation_run(f"arm {arm}" if arm else "FPN", seed, confusion))
    return runs


def test_every_class_has_its_pixels_its_iou_and_the_paired_difference() -> None:
    sky, road, sign = score_classes(compare(make_study()))
    assert (sky.name, sky.pixels, sky.share_percent) == ("sky", 10, 50)
    assert [score.mean.mean for score in sky.scores] == [pytest.approx(70), pytest.approx(95)]  # type: ignore[union-attr]
    base, arm = road.scores
    assert base.mean.mean == pytest.approx(100 * (10 / 12 + 10 / 14) / 2)  # type: ignore[union-attr]
    assert base.difference is None
    assert arm.difference.estimate.mean == pytest.approx(100 - 100 * (10 / 12 + 10 / 14) / 2)  # type: ignore[union-attr]
    assert (sign.pixels, sign.share_percent) == (0, 0)
    assert all(isinstance(score.mean, NotMeasured) for score in sign.scores)


def test_the_table_says_what_is_absent_and_the_notes_that_it_enters_no_mean() -> None:
    comparison = compare(make_study(void_percent=2.5))
    table = tabulate_classes(comparison)
    assert table is not None
    assert table.header == ("IoU (%)", "pixels (%)", "FPN", "VT-FPN", "VT-FPN against FPN (points)")
    assert table.rows[0] == ("sky", "50.00", "70 ± 127", "95 ± 64", "+25 ± 191")
    assert table.rows[2] == ("sign & post", "absent", "–", "–", "–")
    notes = " ".join(list_class_notes([comparison]))
    assert "Absent from the truth of the validation images: 'sign & post'." in notes
    assert "2.50 % of all are void" in notes
    assert "By class, IoU without ± (road): both values are equal" in notes
    alone = compare([run for run in make_study() if run.seed == 0])
    assert "By class, IoU without ± (sky, road): n = 1: no interval" in " ".join(list_class_notes([alone]))


@pytest.mark.parametrize("names", [(), ("0", "1", "2")])
def test_classes_without_names_go_by_their_numbers(names: tuple[str, ...]) -> None:
    assert [one.name for one in score_classes(compare(make_study(names)))] == ["class 0", "class 1", "class 2"]


def test_a_class_that_only_some_seeds_have_is_a_mean_over_these() -> None:
    records = make_study()
    records[1] = make_segmentation_run("FPN", 1, [[20, 0, 0], [0, 0, 0], [0, 0, 0]], names=NAMES)
    comparison = compare(records)
    road = score_classes(comparison)[1]
    assert (road.pixels, road.share_percent) == (5, 25)
    table = tabulate_classes(comparison)
    assert table is not None
    assert table.rows[1][2:] == ("83.33 (n = 1)", "100.00 (n = 2)", "+16.67 (n = 1)")


def test_one_arm_has_no_differences() -> None:
    table = tabulate_classes(compare([run for run in make_study() if run.arm == "FPN"]))
    assert table is not None
    assert table.header == ("IoU (%)", "pixels (%)", "FPN")


def test_of_many_classes_those_with_the_most_pixels_are_shown_and_the_rest_is_counted() -> None:
    comparison = compare(make_many(2, 150))
    table = tabulate_classes(comparison)
    assert table is not None
    assert [row[0] for row in table.rows] == [f"class {number}" for number in range(120, 150)]
    notes = " ".join(list_class_notes([comparison]))
    assert "the 30 with the most pixels of 150 are shown; the others have 63.89 % of the pixels" in notes
    assert len(tabulate_classes(comparison, SCREEN).rows) == 20  # type: ignore[union-attr]


def test_many_arms_are_summed_up_a_row_each() -> None:
    comparison = compare(make_many(10, 6))
    table = tabulate_classes(comparison)
    assert table is not None
    assert table.header[0] == "IoU by class"
    assert len(table.rows) == 9
    assert all(row[3] == "–" and row[4].startswith("-") for row in table.rows)


def test_with_several_arms_their_differences_are_shown_and_the_iou_of_the_base() -> None:
    comparison = compare(make_many(PAGE.arms + 1, 6))
    table = tabulate_classes(comparison)
    assert table is not None
    assert len(table.header) == 2 + 1 + PAGE.arms
    assert "only differences are shown of all arms but FPN" in " ".join(list_class_notes([comparison]))
    assert len(tabulate_classes(compare(make_many(PAGE.arms, 6))).header) == 2 + PAGE.arms + PAGE.arms - 1  # type: ignore[union-attr]


def test_an_arm_that_has_not_run_and_one_that_failed_have_no_numbers() -> None:
    records = make_study()
    records[2:] = [
        run.model_copy(update={"status": "failed", "outcome": NotMeasured(reason="no")}) for run in records[2:]
    ]
    outline = ReportOutline(title="classes", base="FPN", arms=("FPN", "VT-FPN", "planned"), seeds=(0, 1))
    table = tabulate_classes(build_comparisons(records, outline)[0])
    assert table is not None
    assert table.rows[0] == ("sky", "50.00", "70 ± 127", "–", "–", "–", "–")


def test_every_format_of_a_report_has_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vtbench.documents.terminal import open_console

    write_study(tmp_path / "runs", make_study(), seeds=None)
    report = build_report(tmp_path / "runs")
    paths = save_report(report, tmp_path / "report")
    rows = list(csv.DictReader(io.StringIO((paths.folder / CLASSES_FILE).read_text("utf-8"))))
    assert [(row["class"], row["arm"], row["pixels"]) for row in rows][:3] == [
        ("0", "FPN", "10"),
        ("0", "VT-FPN", "10"),
        ("1", "FPN", "10"),
    ]
    assert rows[1]["difference_points"] == "25.0"
    assert rows[5]["iou_percent"] == ""
    assert "| sky " in paths.markdown.read_text("utf-8")
    assert r"sign \& post & absent" in render_latex(report)
    assert len(json.loads(render_json(report))["comparisons"][0]["classes"]) == 6
    print_report(report, open_console())
    assert "VT-FPN against FPN (points)" in capsys.readouterr().out


def test_a_report_of_classification_has_no_table_of_classes_and_takes_a_stale_one_away(tmp_path: Path) -> None:
    stale = [tmp_path / "report" / name for name in (CLASSES_FILE, "classes.csv", "tables/classes.tex")]
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("comparison,class,name\n")
    report: Report = build_report(write_study(tmp_path / "runs", list_runs()))
    assert "classes" not in {path.stem for path in save_report(report, tmp_path / "report").tables}
    assert not any(path.exists() for path in stale)
    assert "classes" not in json.loads(render_json(report))["comparisons"][0]


def test_of_many_arms_a_figure_by_class_shows_those_that_differ_most() -> None:
    found = find_class_differences(compare(make_many(12, 5)))
    assert found is not None
    assert (len(found.arms), found.num_arms) == (7, 11)
    assert "arm 1" not in {name for _, name in found.arms}  # It differs least.
    assert [name for name, _ in found.rows] == ["class 1", "class 2", "class 3", "class 4"]
    assert find_class_differences(compare(list_runs())) is None
