"""What was measured of the arms stands beside what was counted, and says where the two disagree."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import COMPONENTS, ENVIRONMENT, list_runs, write_study

from vtbench.records import NotMeasured, save_record
from vtbench.records.measured import MeasuredArm, MeasuredArms
from vtbench.records.profile import Measurement, Part
from vtbench.reporting.archive import archive_runs
from vtbench.reporting.content import list_all_notes
from vtbench.reporting.cost_axes import LATENCY, MACS, MEMORY, CostAxis
from vtbench.reporting.figures.accuracy_costs import chart_accuracy, draw_accuracy
from vtbench.reporting.measured_tables import tabulate_measured
from vtbench.reporting.rendering import render_markdown
from vtbench.reporting.report import build_report
from vtbench.reporting.style import house_style


def measure(arm: str, latency_ms: float) -> MeasuredArm:
    measurement = Measurement(
        latency_ms=latency_ms,
        latency_ms_quartiles=(0.9 * latency_ms, 1.1 * latency_ms),
        latency_per_image_ms=latency_ms,
        images_per_second=1000 / latency_ms,
        peak_memory_bytes=2**20 * int(latency_ms),
        batch_size=1,
        dtype="float32",
        threads=1,
        num_samples=20,
        passes_per_sample=1,
        warm_up_passes=3,
        settled=True,
        measured_together=(),
        environment=ENVIRONMENT,
        ratios={COMPONENTS["convolution"][0]: (1.5, 1.4, 1.6)} if arm == "static" else {},
    )
    variant, macs, _ = COMPONENTS[arm]
    roles = (Part(name="convolution", macs=macs - 1000), Part(name="tokenizer", macs=1000))
    meter = NotMeasured(reason="no meter")
    return MeasuredArm(arm=arm, variant=variant, measurement=measurement, roles=roles, energy_joules=meter)


def write_measured(folder: Path) -> Path:
    study = write_study(folder, list_runs())
    save_record(study / "measured.json", MeasuredArms(arms=(measure("convolution", 2.0), measure("static", 3.0))))
    return study


def test_an_arm_with_fewer_macs_that_takes_longer_is_named(tmp_path: Path) -> None:
    report = build_report(write_measured(tmp_path / "study"))
    table = tabulate_measured(report, report.comparisons[0])
    assert table is not None
    assert table.rows[0] == ("convolution", "40.55", "2.00", "1.80 to 2.20", "500", "2.0 MiB")
    said = "static has 33.12 M MACs and takes 3.00 ms, convolution 40.55 M and 2.00 ms"
    assert f"MACs and latency rank arms differently: {said}." in list_all_notes(report)
    assert "Energy: no meter." in list_all_notes(report)


def test_no_number_of_a_quick_or_slow_network_is_rounded_to_nothing(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", list_runs())
    quick = measure("convolution", 0.004).model_copy(update={"energy_joules": 2e-6})
    slow = measure("static", 4000.0).model_copy(update={"energy_joules": 2.0})
    save_record(study / "measured.json", MeasuredArms(arms=(quick, slow), energy_of="GPU 0"))
    report = build_report(study)
    table = tabulate_measured(report, report.comparisons[0])
    assert table is not None
    assert table.rows[0][2:5] == ("0.0040", "0.0036 to 0.0044", "250,000") and table.rows[0][-1] == "0.0020"
    assert table.rows[1][4] == "0.25"
    assert "convolution 40.55 M and 0.0040 ms" in " ".join(list_all_notes(report))


def test_an_archive_keeps_what_was_measured(tmp_path: Path) -> None:
    archive = archive_runs([write_measured(tmp_path / "study")], tmp_path / "archive").folder
    assert "| static      |    33.12 |         3.00 |" in (archive / "report.md").read_text("utf-8")


def test_an_interim_report_says_in_its_title_and_once_in_its_answer_what_is_missing(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", list_runs({"convolution": (71.0, 72.0), "dynamic": (71.0,)}))
    text = render_markdown(build_report(study, interim=True))
    assert text.startswith("# components (interim)")
    assert text.count("Interim: 3 of 15 runs have finished, 12 are missing.") == 1
    assert "**Answer.** Interim: 3 of 15 runs" in text
    whole = build_report(write_study(tmp_path / "whole", list_runs()), interim=True)
    for text in (render_markdown(build_report(study)), render_markdown(whole)):
        assert "(interim)" not in text
        assert "Interim" not in text


def test_energy_has_a_column_where_a_meter_was_read(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", list_runs())
    arms = (measure("convolution", 2.0).model_copy(update={"energy_joules": 0.0417}), measure("static", 3.0))
    save_record(study / "measured.json", MeasuredArms(arms=arms, energy_of="GPU 0"))
    report = build_report(study)
    table = tabulate_measured(report, report.comparisons[0])
    assert table is not None
    assert table.header[-1] == "energy (mJ/image)"
    assert [row[-1] for row in table.rows] == ["41.70", "–"]
    notes = list_all_notes(report)
    assert "Energy is that of GPU 0, at rest and by other processes included: the median of windows." in notes
    assert "Energy: no meter." in notes


@pytest.mark.parametrize("axis", [LATENCY, MEMORY, MACS])
def test_a_figure_of_what_was_measured_says_where_and_at_which_batch(tmp_path: Path, axis: CostAxis) -> None:
    report = build_report(write_measured(tmp_path / "study"))
    with house_style():
        drawing = draw_accuracy(report, 0, axis)
    chart = chart_accuracy(report, 0, "title", axis)
    assert drawing is not None and chart is not None
    for text in (" ".join(text.get_text() for text in drawing.texts).replace("\n", " "), chart):
        assert ("measured on" in text and "1 thread, float32, batch 1" in text) == (axis is not MACS)
