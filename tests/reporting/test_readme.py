"""The numbers in the README are those of the committed records."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import list_runs, make_run, write_study

from vtbench.errors import UserError
from vtbench.reporting.archive import archive_runs
from vtbench.reporting.committed import render_readme, rewrite_readme

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (
    "# Title\n\n<!-- generated: components -->\nstale\n<!-- end -->\n\nwords <!-- generated: costs -->\n<!-- end -->\n"
)


def test_the_readme_of_the_repository_is_up_to_date() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    assert render_readme(text, REPOSITORY) == text, "run python -m vtbench.reporting.committed"


def test_a_block_holds_the_table_of_its_study_and_the_rest_stays(tmp_path: Path) -> None:
    archive_runs([write_study(tmp_path / "runs", list_runs())], tmp_path / "reports" / "components")
    text = render_readme(TEXT, tmp_path)
    assert "stale" not in text
    assert "71.8 ± 1.4" in text
    assert "](reports/components/accuracy_macs.svg)" in text
    assert "Data: scenes, 32 x 32 px: 5,000 training" in text
    assert text.startswith("# Title\n\n<!-- generated: components -->\n")
    assert render_readme(text, tmp_path) == text


def test_arms_of_one_cost_are_drawn_by_their_differences(tmp_path: Path) -> None:
    runs = [make_run(arm, seed, 60.0 + seed, variant="resnet20") for arm in ("ours", "paper") for seed in range(3)]
    archive_runs([write_study(tmp_path / "runs", runs, seeds=None)], tmp_path / "reports" / "components")
    text = render_readme(TEXT, tmp_path)
    assert "](reports/components/effects.svg)" in text and "accuracy_macs" not in text


def test_the_costs_come_from_the_golden_data(tmp_path: Path) -> None:
    archive_runs([write_study(tmp_path / "runs", list_runs())], tmp_path / "reports" / "components")
    assert "| `resnet34`     |      21.80 | 3,663.76 |" in render_readme(TEXT, tmp_path)
    text = render_readme("<!-- generated: costs of segmentation -->\n<!-- end -->\n", tmp_path)
    assert "| `fpn_resnet50`     |      28.48 | 159,134.52 |                       |" in text
    assert "| `vt_fpn_resnet50`  |      30.26 | 112,551.60 |                -29.3% |" in text


def test_a_study_without_a_committed_report_says_so(tmp_path: Path) -> None:
    (tmp_path / "ablations").mkdir()
    (tmp_path / "ablations" / "components.toml").write_text("")
    assert "No report of the study `components` has been committed yet." in render_readme(TEXT, tmp_path)


def test_a_block_of_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a block nor a study"):
        render_readme("<!-- generated: componnets -->\n<!-- end -->", tmp_path)


def test_rewriting_changes_the_file_once(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("<!-- generated: costs -->\n<!-- end -->\n")
    assert rewrite_readme(tmp_path)
    assert not rewrite_readme(tmp_path)
    assert "1,578.95" in (tmp_path / "README.md").read_text("utf-8")
