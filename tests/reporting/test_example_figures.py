"""Pictures of a report: colours of classes, errors, what is shown of many arms and classes, and archives of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import assert_same_files, make_segmentation_run

from vtbench.palettes import VOID_COLOUR, find_palette
from vtbench.records import NotMeasured, RunRecord, load_record, save_record
from vtbench.records.examples import Example, ExampleNote, Examples, TokenMapsNote, encode_attention, pack_examples
from vtbench.reporting.archive import archive_runs
from vtbench.reporting.example_figure import Tile
from vtbench.reporting.example_pictures import WRONG, find_maps, show_classes, show_errors, show_tokens
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.figures.examples import draw_examples
from vtbench.reporting.figures.worst_images import draw_worst
from vtbench.reporting.rendering import write_report
from vtbench.reporting.report import build_report
from vtbench.reporting.shown_examples import break_rows, find_shown
from vtbench.reporting.style import house_style

NAMES = ("background", "disc", "square")
CONFUSION = [[90, 5, 0], [5, 40, 0], [0, 3, 7]]


def make_example(index: int, num_classes: int, *, worst: bool, tokens: bool) -> Example:
    draw = np.random.default_rng(index)
    truth = np.kron(draw.integers(0, num_classes, (4, 6)), np.ones((6, 6))).astype(np.uint8)
    truth[:3] = 255
    prediction = np.where(draw.random(truth.shape) < 0.2, 0, np.where(truth == 255, 1, truth)).astype(np.uint8)
    maps = draw.random((4, 4, 6)) + 0.1
    note = ExampleNote(
        index=index,
        kept_as=("worst",) if worst else ("fixed",),
        outcome={"miou_percent": 10.0 * index, "pixel_accuracy_percent": 80.0},
        maps=(TokenMapsNote(module=0, tokens=(0, 1, 2, 3), num_tokens=4),) if tokens else (),
    )
    kept = (encode_attention(maps / maps.sum(axis=(1, 2), keepdims=True)),) if tokens else ()
    return Example(note, draw.integers(0, 256, (24, 36, 3), np.uint8), truth, prediction, kept)


def write_runs(folder: Path, arms: Mapping[str, bool], names: Sequence[str] = NAMES) -> Path:
    """Two seeds of each arm with three fixed and two worst examples, of arms with tokens or without."""
    confusion = [[5 * (row == column) for column in range(len(names))] for row in range(len(names))]
    for arm, tokens in arms.items():
        for seed in range(2):
            record = make_segmentation_run(arm, seed, confusion, names=names)
            place = folder / "cells" / arm / f"seed-{seed}"
            save_record(place / "record.json", record)
            kept = [make_example(index, len(names), worst=index > 6, tokens=tokens) for index in (2, 4, 6, 7, 9)]
            packed = pack_examples(Examples(tuple(kept), (9, 7), 50), find_palette(names, "scenes"))
            (place / "examples.zip").write_bytes(packed)
    return folder


def list_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_mask_and_the_legend_have_the_colours_of_the_palette(tmp_path: Path) -> None:
    shown = find_shown(build_report(write_runs(tmp_path, {"FPN": False})), 0)
    assert shown is not None
    palette = find_palette(NAMES, "scenes")
    example = shown.arms[0][1].examples[0]
    picture = show_classes(example.truth, palette)
    for number, colour in enumerate(palette):
        assert (picture[example.truth == number] == colour).all()
    assert (picture[example.truth == 255] == VOID_COLOUR).all()
    legend = {entry.name: entry.colour for entry in shown.list_legend([example])}
    assert legend == {**dict(zip(NAMES, palette, strict=True)), "void": VOID_COLOUR, "wrong (errors)": WRONG}


def test_errors_are_the_wrong_pixels_that_count() -> None:
    example = make_example(2, 3, worst=False, tokens=False)
    picture = show_errors(example)
    void = example.truth == 255
    wrong = (picture == WRONG).all(axis=2)
    np.testing.assert_array_equal(wrong, (example.truth != example.prediction) & ~void)
    assert (picture[void] == VOID_COLOUR).all()
    assert picture[~void & ~wrong].max() < 230


def test_maps_are_those_of_the_finest_module_two_in_a_row() -> None:
    example = make_example(2, 3, worst=False, tokens=True)
    coarse = encode_attention(np.full((4, 2, 2), 0.25))
    both = Example(example.note, example.image, example.truth, example.prediction, (coarse, *example.maps))
    maps = find_maps(both)
    assert maps is not None and maps.shape == (4, 4, 6)
    four, three, one = (show_tokens(example.image, maps[:count], 2) for count in (4, 3, 1))
    assert four.shape == three.shape == (2 * one.shape[0] + 6, 2 * one.shape[1] + 6, 3)
    assert (three[one.shape[0] + 6 :, one.shape[1] + 6 :] == 255).all()
    assert find_maps(make_example(2, 3, worst=False, tokens=False)) is None


def test_an_arm_has_a_row_after_the_image_and_its_truth() -> None:
    tile = Tile("x", np.zeros((2, 2, 3), np.uint8))
    one, three = (
        [[each is not None for each in row] for row in break_rows([tile] * 2, groups)]
        for groups in ([[tile] * 2], [[tile] * 2, [tile] * 3, [tile] * 3])
    )
    assert one == [[True] * 3, [True, False, False]]
    assert three == [[True] * 3 + [False], [True] * 4, [False] + [True] * 3]


@pytest.mark.parametrize("num_arms", [1, 2, 8, 10])
def test_a_figure_stays_of_a_size_that_can_be_read(tmp_path: Path, num_arms: int) -> None:
    arms = {f"arm {number}": number > 0 for number in range(num_arms)}
    names = tuple(f"a class of number {number}" for number in range(60))
    report = build_report(write_runs(tmp_path, arms, names))
    for draw in (draw_examples, draw_worst):
        with house_style():
            drawing = draw(report, 0)
        assert drawing is not None
        assert drawing.get_size_inches()[1] <= 18
        titles = {axes.get_title(loc="left").partition("\n")[0] for axes in drawing.axes}
        assert len(titles & set(arms)) == min(num_arms, 8) and "arm 0" in titles
        texts = [text.get_text() for text in drawing.texts]
        assert ("Of 10 arms the reference and the best." in " ".join(texts)) == (num_arms == 10)
        named = sum(text.startswith("a class of number") for text in texts)
        assert named == 24 if any(text.endswith("classes more") for text in texts) else named < 24


def test_arms_whose_names_begin_and_end_alike_are_told_apart(tmp_path: Path) -> None:
    arms = {"VT-FPN-zeroed-tokens": True, "VT-FPN-all-tokens": True}
    report = build_report(write_runs(tmp_path, arms))
    for draw in (draw_examples, draw_worst):
        with house_style():
            drawing = draw(report, 0)
        assert drawing is not None
        titles = {axes.get_title(loc="left").replace("-\n", "-") for axes in drawing.axes}
        assert all(any(title.startswith(arm) for title in titles) for arm in arms)
        places = [(axes.get_position(), axes.get_title(loc="left").count("\n") + 1) for axes in drawing.axes]
        height = drawing.get_size_inches()[1]
        for place, num_lines in places:  # No title reaches into the picture above it.
            top = place.y1 + 0.15 * num_lines / height
            above = [other.y0 for other, _ in places if other.y0 > place.y1 and abs(other.x0 - place.x0) < 1e-6]
            assert all(top <= bottom for bottom in above)


def test_a_report_shows_the_lowest_seed_and_names_finished_arms_without_examples(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, {"FPN": False, "VT-FPN": True, "plain": False})
    (runs / "cells" / "plain" / "seed-0" / "examples.zip").unlink()
    shown = find_shown(build_report(runs), 0)
    assert shown is not None
    assert ([arm for arm, _ in shown.arms], shown.without, shown.seed) == (["FPN", "VT-FPN"], ("plain",), 0)
    assert "No examples were kept of plain." in shown.describe("These.", tokens=True)


def test_of_many_arms_the_best_are_shown_where_the_reference_kept_no_examples(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, {f"arm {number}": False for number in range(10)})
    for seed in range(2):
        (runs / "cells" / "arm 0" / f"seed-{seed}" / "examples.zip").unlink()
    shown = find_shown(build_report(runs), 0)
    assert shown is not None and len(shown.arms) == 8
    caption = shown.describe("These.", tokens=False)
    assert "Of 9 arms the 8 best." in caption and "No examples were kept of arm 0." in caption


def test_a_run_that_failed_shows_nothing(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, {"FPN": False, "VT-FPN": True})
    record = load_record(runs / "cells" / "FPN" / "seed-0" / "record.json", RunRecord)
    failed = {"status": "failed", "outcome": NotMeasured(reason="no"), "error": "no"}
    save_record(runs / "cells" / "FPN" / "seed-0" / "record.json", record.model_copy(update=failed))
    shown = find_shown(build_report(runs), 0)
    assert shown is not None
    assert [arm for arm, _ in shown.arms] == ["VT-FPN"]


def test_damaged_examples_are_named_and_the_run_is_still_reported(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, {"FPN": False, "VT-FPN": True})
    (runs / "cells" / "FPN" / "seed-0" / "examples.zip").write_bytes(b"torn")
    report = build_report(runs)
    assert [arm.mean.n for arm in report.comparisons[0].arms] == [2, 2]  # type: ignore[union-attr]
    assert [(left.path, "damaged" in left.reason) for left in report.left_out] == [("examples of FPN, seed 0", True)]


def test_an_archive_keeps_the_examples_it_shows_and_renders_to_the_same_bytes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtbench.reporting.rendering.PNG_DPI", 40)
    runs = write_runs(tmp_path / "runs", {"VT-FPN": True})
    archive = archive_runs([runs], tmp_path / "archive").folder
    assert {name for name in list_names(archive / "records") if name.endswith("zip")} == {"VT-FPN-seed0.examples.zip"}
    again = write_report(archive, tmp_path / "again").folder
    assert {"examples.svg", "worst_images.png"} <= list_names(again)
    assert_same_files(again, archive)
    text = (again / "report.md").read_text("utf-8")
    assert (
        text.index("| IoU (%)") < text.index("## Examples\n\n![Examples](examples.svg)") < text.index("## Provenance")
    )
    for kept in runs.rglob("*.zip"):
        kept.unlink()
    archive_runs([runs], archive)
    assert not list((archive / "records").glob("*.zip")) and not (archive / "examples.svg").exists()


def test_runs_without_examples_have_no_such_figures(tmp_path: Path) -> None:
    records: list[RunRecord] = [make_segmentation_run("FPN", 0, CONFUSION)]
    save_record(tmp_path / "FPN" / "record.json", records[0])
    report = build_report(tmp_path)
    assert [FIGURES[name].draw(report, 0) for name in ("examples", "worst_images")] == [None, None]
