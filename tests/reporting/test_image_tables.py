"""Differences over images stand beside those over seeds, and are told apart from them in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_runs import list_runs
from test_formats import report_on

from vtbench.configuration import DataConfig
from vtbench.documents.table import Table
from vtbench.records import RunRecord
from vtbench.records.answers import Answers
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.content import list_all_notes
from vtbench.reporting.image_tables import (
    _format_alone,
    _name_turned,
    compare_images,
    list_image_notes,
    tabulate_images,
)
from vtbench.reporting.rendering import render_report
from vtbench.reporting.report import Report
from vtbench.reporting.runs import RunKey, identify_run
from vtbench.stats.image_pairs import McNemarTest


def tabulate(comparison: Comparison, answers: Mapping[RunKey, Answers]) -> Table | None:
    return tabulate_images(comparison, compare_images(comparison, answers))


def list_notes(comparison: Comparison, answers: Mapping[RunKey, Answers]) -> Iterator[str]:
    return list_image_notes(comparison, answers, compare_images(comparison, answers))


def _answer(report: Report, *arms: str) -> Report:
    """Of 200 images, the base is right on 100, the others on 20 more and 4 less, whatever the seed."""
    truth = np.zeros(200, dtype=np.uint8)
    base, other = (
        (np.arange(200) >= 100).astype(np.uint8),
        ((np.arange(200) < 4) | (np.arange(200) >= 120)).astype(np.uint8),
    )
    answers = {
        identify_run(record): Answers.of_classes(
            "classification", truth, base if record.arm == "convolution" else other, num_classes=10
        )
        for record in report.comparisons[0].records
        if record.arm in arms
    }
    return replace(report, answers=answers)


def test_an_arm_has_its_difference_over_images_and_the_test_of_every_seed() -> None:
    report = _answer(report_on(list_runs(), base="convolution"), "convolution", "static")
    [found] = compare_images(report.comparisons[0], report.answers)
    assert found.arm.name == "static"
    assert (found.difference.mean, found.difference.n) == (8.0, 200)
    assert [(test.num_only_arm, test.num_only_base) for test in found.tests.values()] == [(20, 4)] * 3
    table = tabulate(report.comparisons[0], report.answers)
    assert table is not None
    # Of 200 images 20 differ by 100 points and 4 by -100: s = 33.79, and 1.96 * 33.79 / sqrt(200) = 4.68.
    assert table.rows == (("static", "+8.0 ± 4.7", "200", "20 : 4", "3 : 0", "3 : 0"),)


def _draw(
    report: Report, rows_of: Callable[[int], NDArray[np.int64]] | None, *, images: Callable[[int], str] = str
) -> Report:
    """The same, of runs whose images a limit drew for each seed; without ``rows_of`` which ones was not kept."""
    [comparison] = report.comparisons
    data = {"data": DataConfig(spec="scenes", limit_val=200)}
    records = tuple(
        record.model_copy(
            update={
                "config": record.config.model_copy(update=data),
                "certificate": record.certificate
                and record.certificate.model_copy(update={"val_data": images(record.seed)}),
            }
        )
        for record in comparison.records
    )
    answers = {
        identify_run(new): replace(kept, rows=None if rows_of is None else rows_of(new.seed))
        for old, new in zip(comparison.records, records, strict=True)
        if (kept := report.answers.get(identify_run(old))) is not None
    }
    return replace(report, comparisons=(replace(comparison, records=records),), answers=answers)


def test_an_image_that_several_seeds_drew_is_counted_once() -> None:
    plain = _answer(report_on(list_runs(), base="convolution"), "convolution", "static")
    drawn = _draw(plain, lambda seed: np.arange(200) + 50 * seed)
    [found] = compare_images(drawn.comparisons[0], drawn.answers)
    assert (found.difference.mean, found.difference.n) == (8.0, 300)
    assert "counted once" in next(iter(list_notes(drawn.comparisons[0], drawn.answers)))
    assert not any("counted once" in note for note in list_notes(plain.comparisons[0], plain.answers))


def test_answers_of_which_it_is_not_known_to_which_images_they_are_are_not_compared_and_this_is_said() -> None:
    unknown = _draw(_answer(report_on(list_runs(), base="convolution"), "convolution", "static"), None)
    assert tabulate(unknown.comparisons[0], unknown.answers) is None
    [note] = list_notes(unknown.comparisons[0], unknown.answers)
    assert note.startswith("6 runs kept what was answered, but not to which of the images")


def test_answers_of_which_all_are_to_the_same_images_are_compared_whichever_these_are() -> None:
    plain = _answer(report_on(list_runs(), base="convolution"), "convolution", "static")
    whole = _draw(plain, None, images=lambda _: "those of the whole split")
    assert tabulate(whole.comparisons[0], whole.answers) == tabulate(plain.comparisons[0], plain.answers)
    assert not any("not compared" in note for note in list_notes(whole.comparisons[0], whole.answers))


def test_notes_of_several_comparisons_say_which_they_are_of() -> None:
    report = _answer(report_on(list_runs(), base="convolution"), "convolution", "dynamic")
    drawn = _draw(report, lambda seed: np.arange(200) + seed)
    several = replace(
        report,
        comparisons=(*report.comparisons, *drawn.comparisons),
        answers={**report.answers, **drawn.answers},
    )
    notes = list_all_notes(several)
    over = [note for note in notes if "Over images, ±" in note]
    assert [note.partition("Over")[0] for note in over] == ["Comparison 1: ", "Comparison 2: "]
    assert [note for note in notes if "Right alone" in note] == [next(n for n in notes if n.startswith("Right alone"))]


def test_a_study_that_its_outcome_stopped_needs_no_word_on_images_that_are_not_known() -> None:
    unknown = _draw(_answer(report_on(list_runs(), base="convolution"), "convolution", "static"), None)
    assert list(list_notes(replace(unknown.comparisons[0], stopped=True), unknown.answers)) == []


def test_images_are_those_of_one_split_by_its_content_and_not_by_its_place() -> None:
    report = _answer(report_on(list_runs(), base="convolution"), "convolution", "static")
    [comparison] = report.comparisons

    def place(record: RunRecord, *, content: str, spec: str) -> RunRecord:
        assert record.certificate is not None
        if record.arm == "static":
            data = {"data": DataConfig(spec=spec)}
            certificate = record.certificate.model_copy(update={"val_content": content})
            record = record.model_copy(
                update={"config": record.config.model_copy(update=data), "certificate": certificate}
            )
        return record

    known = comparison.records[0].certificate
    assert known is not None
    for content, spec, pairs in ((str(known.val_content), "folder:MOVED", 1), ("of others", "scenes", 0)):
        records = tuple(place(record, content=content, spec=spec) for record in comparison.records)
        answers = {
            identify_run(new): kept
            for old, new in zip(comparison.records, records, strict=True)
            if (kept := report.answers.get(identify_run(old))) is not None
        }
        assert len(compare_images(replace(comparison, records=records), answers)) == pairs, content


def test_answers_to_other_images_are_not_paired() -> None:
    report = _answer(report_on(list_runs(), base="convolution"), "convolution", "static")
    answers = {run: replace(kept, rows=np.arange(200) + (run[0] == "static")) for run, kept in report.answers.items()}
    assert compare_images(report.comparisons[0], answers) == ()


def test_seeds_for_and_against_an_arm_are_counted_apart_and_told_where_one_turns_the_mean_around() -> None:
    report = _answer(report_on(list_runs(), base="convolution"), "convolution", "dynamic")
    [turned] = [identify_run(run) for run in report.comparisons[0].records if (run.arm, run.seed) == ("dynamic", 2)]
    truth = np.zeros(200, dtype=np.uint8)
    worse = (np.arange(200) >= 60).astype(np.uint8)  # Right on 60 images: on none alone, where the base is on 40.
    answers = {**report.answers, turned: Answers.of_classes("classification", truth, worse, num_classes=10)}
    comparison = report.comparisons[0]
    table = tabulate(comparison, answers)
    assert table is not None
    assert table.header[4:] == ("seeds higher : lower", "of these p < 0.05")
    assert table.rows[0][3:] == ("13 : 16", "2 : 1", "2 : 1")
    [found] = compare_images(comparison, answers)
    against = replace(found, difference=replace(found.difference, half_width=0.1))
    assert _name_turned([against]) == (", and has done so here for dynamic (2 seeds of 3)")
    assert _name_turned(compare_images(comparison, report.answers)) == ""


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ([(5, 5), (4, 3)], "4.5 : 4.0"),
        ([(6, 5), (5, 4)], "5.5 : 4.5"),
        ([(4, 4), (4, 4), (5, 4)], "4.3 : 4.0"),
        ([(4, 3), (3, 4)], "3.5 : 3.5"),
        ([(9, 3), (9, 3)], "9 : 3"),
    ],
)
def test_means_of_images_that_differ_never_look_equal_and_halves_are_not_rounded(
    counts: list[tuple[int, int]], shown: str
) -> None:
    report = _answer(report_on(list_runs(), base="convolution"), "convolution", "static")
    [found] = compare_images(report.comparisons[0], report.answers)
    assert (
        _format_alone(replace(found, tests={seed: McNemarTest(*pair, 1.0) for seed, pair in enumerate(counts)}))
        == shown
    )


def test_the_two_intervals_are_told_apart_in_words() -> None:
    report = _answer(report_on(list_runs(), base="convolution"), "convolution", "dynamic")
    notes = list(list_notes(report.comparisons[0], report.answers))
    assert notes[0].startswith("Over images, ± says what these trained networks would do on other images")
    assert any(note.startswith("Clear over images but not over seeds: dynamic.") for note in notes)
    text = render_report(report, "markdown")
    assert "over images (points)" in text and notes[0] in text


def test_runs_without_answers_have_no_such_table() -> None:
    report = report_on(list_runs(), base="convolution")
    assert tabulate(report.comparisons[0], report.answers) is None
    assert "over images" not in render_report(report, "markdown")
    alone = _answer(report, "static")
    assert tabulate(alone.comparisons[0], alone.answers) is None
