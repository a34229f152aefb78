"""The literature on one scale: our counts, its accuracy, whose recipe, whose convention."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from synthetic_runs import assert_same_files

from vtbench.published.results import load_results
from vtbench.records import CostRecord
from vtbench.reporting.pages.published import (
    PublishedRow,
    build_rows,
    list_points,
    list_published_notes,
    list_recipes,
    load_rows,
    render_published,
    tabulate_published,
    write_published_report,
)


def cost(macs: int) -> CostRecord:
    return CostRecord(macs=macs, params=10**7, input_shape=(3, 224, 224), num_classes=1000)


def rows_of(**costs: int) -> tuple[PublishedRow, ...]:
    return build_rows(load_results(), {name: cost(macs) for name, macs in costs.items()})


def test_the_front_is_taken_over_our_counts_and_published_accuracy() -> None:
    rows = rows_of(resnet18=2 * 10**9, se_resnet18=10**9, san19=3 * 10**9)
    front = [row.result.model for row in rows if row.on_front]
    assert front == ["SE-R18", "R18 (advanced)", "SAN19"]


def test_a_row_without_a_count_stands_in_the_table_and_is_named_but_not_drawn() -> None:
    rows = rows_of(resnet18=10**9)
    assert len(tabulate_published(rows).rows) == len(load_results())
    assert {point.variant for point in list_points(rows)} == {"resnet18"}
    (absent,) = [note for note in list_published_notes(rows) if note.startswith("Not counted")]
    assert "T2T-ViT_t-24 (not registered; later papers quote 15.0 G)" in absent


def test_rows_of_another_convention_are_marked_and_named() -> None:
    rows = load_rows()
    printed = {row[0]: row[3] for row in tabulate_published(rows).rows}
    assert printed["SE-R50"] == "3.860 (a)"
    assert printed["AA-R50"] == "4.1 (b)"
    assert printed["SAN19"] == "3.3 (c)"
    assert printed["R50"] == "4.089"
    notes = list_published_notes(rows)
    assert any(note.startswith("(a)") and "SE-R50, CBAM-R50, SE-R101, CBAM-R101" in note for note in notes)
    assert any(note.startswith("(b)") and "2 x MACs" in note and "AA-R101" in note for note in notes)
    assert any(note.startswith("(c)") and "normalisation" in note and "SAN15" in note for note in notes)


def test_every_row_says_whose_recipe_trained_it() -> None:
    rows = load_rows()
    assert all(row.result.recipe for row in rows)
    named = " ".join(list_recipes(rows))
    assert all(row.result.model in named for row in rows)


def test_vts_trained_by_the_advanced_recipe_are_set_apart_from_the_same_nets_by_the_default_one() -> None:
    hollow = {point.label: point.hollow for point in list_points(load_rows())}
    assert hollow["VT-R18"] and hollow["R18 (advanced)"]
    assert not hollow["VT-R18 (default)"] and not hollow["SE-R18"]


def test_all_formats_hold_every_row() -> None:
    rows = load_rows()
    assert len(list(csv.DictReader(io.StringIO(render_published(rows, "csv"))))) == len(rows)
    assert len(json.loads(render_published(rows, "json"))["rows"]) == len(rows)
    assert render_published(rows, "latex").count(" \\\\\n") == len(rows) + 1
    assert render_published(rows, "markdown").count("\n| ") == len(rows) + 2


def test_equal_data_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (write_published_report(tmp_path / name) for name in "ab")
    assert_same_files(first.folder, second.folder)


def test_the_column_of_the_front_is_explained() -> None:
    assert "front" in tabulate_published(load_rows()).header
    assert any(note.startswith("Front (Pareto): yes where") for note in list_published_notes(load_rows()))
