"""The classes of a comparison in tables: pixels, IoU of each arm, and the differences to the base."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.errors import format_names
from vtbench.metrics import CLASS_IOU, VOID_PERCENT, read_classes
from vtbench.records import NotMeasured, RunRecord
from vtbench.reporting.comparisons import Arm, Comparison, Score
from vtbench.reporting.tables import TABLES_FOLDER, format_difference, format_estimate, number_score
from vtbench.stats.estimates import Estimate, PairedDifference, estimate_difference, estimate_mean

CLASSES_FILE = f"{TABLES_FOLDER}/classes.csv"
"""The file of a report that has every class and every arm."""
ABSENT = "absent"


@dataclass(frozen=True)
class Extent:
    """How much a table of classes shows.

    With more than ``arms`` it has the IoU of the base and differences only, with more than ``differing`` a row an arm
    in place of one a class. Of more ``classes`` it shows the largest.
    """

    arms: int
    differing: int
    classes: int


PAGE = Extent(arms=4, differing=8, classes=30)
SCREEN = Extent(arms=2, differing=3, classes=20)


@dataclass(frozen=True)
class ClassScores:
    """One class: its pixels in the truth, their share of all that count, and its IoU in each arm of the comparison.

    ``pixels`` is the mean over seeds, which differ where each takes another subset of the validation images.
    """

    number: int
    name: str
    pixels: float
    share_percent: float
    scores: tuple[Score, ...]


def score_classes(comparison: Comparison) -> tuple[ClassScores, ...]:
    """Every class in the order of its number; nothing where the task has no numbers by class.

    A class without a pixel in the truth has no IoU. One that some seeds lack is a mean over the others.
    """
    runs = [
        {seed: record for seed, record in sorted(of_arm.items()) if isinstance(record.outcome, dict)}
        for of_arm in comparison.runs
    ]
    by_seed = {seed: record for of_arm in reversed(runs) for seed, record in of_arm.items()}
    pixels = [_read(record, "pixels") for record in by_seed.values()]
    if not any(pixels):
        return ()
    total = math.fsum(value for one in pixels for value in one.values())
    ious = [{seed: _read(record, CLASS_IOU.key) for seed, record in of_arm.items()} for of_arm in runs]
    found = []
    for number in sorted({number for one in pixels for number in one}):
        support = math.fsum(one.get(number, 0.0) for one in pixels)
        values = [{seed: one[number] for seed, one in of_arm.items() if number in one} for of_arm in ious]
        found.append(
            ClassScores(
                number,
                comparison.name_class(number),
                support / len(pixels),
                100 * support / max(1.0, total),
                tuple(_score(comparison, of_arm, values[0] if place else None) for place, of_arm in enumerate(values)),
            )
        )
    return tuple(found)


def tabulate_classes(comparison: Comparison, extent: Extent = PAGE) -> Table | None:
    """One row a class with a column an arm and a difference; fewer columns, or one row an arm, where these are many.

    None where the task has no numbers by class.
    """
    classes = score_classes(comparison)
    if not classes:
        return None
    if len(comparison.arms) > extent.differing:
        return _sum_up_arms(comparison, classes)
    shown = comparison.arms if len(comparison.arms) <= extent.arms else comparison.arms[:1]
    against = [f"{arm.name} against {comparison.base} ({CLASS_IOU.difference_unit})" for arm in comparison.arms[1:]]
    header = (CLASS_IOU.head, "pixels (%)", *(arm.name for arm in shown), *against)
    rows = (
        (
            one.name,
            _format_share(one),
            *(_format_mean(score, arm) for score, arm in zip(one.scores, shown, strict=False)),
            *(format_difference(score, CLASS_IOU) for score in one.scores[1:]),
        )
        for one in choose_largest(classes, extent)
    )
    return Table(header, tuple(rows), (False, *(True,) * (len(header) - 1)))


def list_class_numbers(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """One flat dictionary a class and arm: pixels, IoU and difference as raw numbers, None where there is none."""
    for one in score_classes(comparison):
        for arm, score in zip(comparison.arms, one.scores, strict=True):
            yield {
                "class": one.number,
                "name": one.name,
                "pixels": round(one.pixels, 6) if one.pixels % 1 else int(one.pixels),
                "share_percent": round(one.share_percent, 6),
                "arm": arm.name,
                **number_score(score, CLASS_IOU, comparison.base),
            }


def list_class_notes(comparisons: Sequence[Comparison], extent: Extent = PAGE) -> list[str]:
    """What a reader must know of the tables of classes: what is absent, what is not shown, what the intervals say."""
    found = [(comparison, classes) for comparison in comparisons if (classes := score_classes(comparison))]
    return list(dict.fromkeys(note for one in found for note in _list_notes(*one, extent)))


def _list_notes(comparison: Comparison, classes: Sequence[ClassScores], extent: Extent) -> Iterator[str]:
    wide = len(comparison.arms) > extent.differing
    void = [record.outcome.get(VOID_PERCENT, 0.0) for record in comparison.records if isinstance(record.outcome, dict)]
    share = f"; {max(void):.2f} % of all are void and count nowhere" if any(void) else ""
    if not wide:
        yield f"By class: pixels (%) is the share of the class in the validation pixels that count{share}."
    absent = [one.name for one in classes if not one.pixels]
    if absent:
        yield (
            f"{ABSENT.capitalize()} from the truth of the validation images: {format_names(absent)}. A class without a "
            "pixel there has no IoU and enters no mean."
        )
    shown = choose_largest(classes, extent)
    if wide:
        yield (
            f"By class, one row an arm: how many of {len(classes)} classes have a difference to {comparison.base} "
            "whose interval is above or below zero, and the largest difference either way. "
            f"{CLASSES_FILE} has every class of every arm."
        )
    if not wide and len(comparison.arms) > extent.arms:
        yield f"By class, only differences are shown of all arms but {comparison.base}; {CLASSES_FILE} has their IoU."
    if not wide and len(shown) < len(classes):
        rest = 100 - math.fsum(one.share_percent for one in shown)
        yield (
            f"By class, the {len(shown)} with the most pixels of {len(classes)} are shown; the others have "
            f"{rest:.2f} % of the pixels. {CLASSES_FILE} has every class."
        )
    without: dict[str, dict[str, None]] = {}
    for one in classes:
        for score in one.scores:
            if isinstance(score.mean, Estimate) and isinstance(score.mean.half_width, NotMeasured):
                without.setdefault(score.mean.half_width.reason, {})[one.name] = None
    yield from (f"By class, IoU without ± ({format_names(names)}): {reason}." for reason, names in without.items())
    if any(_find_interval(score) for one in classes for score in one.scores):
        yield "Intervals by class are of 95 % each, so that one difference in twenty is clear of zero by luck alone."


def _read(record: RunRecord, key: str) -> dict[int, float]:
    return read_classes(record.outcome, key) if isinstance(record.outcome, Mapping) else {}


def _score(comparison: Comparison, values: Mapping[int, float], base: Mapping[int, float] | None) -> Score:
    mean: Estimate | NotMeasured = NotMeasured(reason="no finished run has the class in its truth")
    difference = None if base is None else estimate_difference(values, base)
    if values:
        mean = comparison.withhold(estimate_mean(list(values.values())))
    if isinstance(difference, PairedDifference):
        difference = replace(difference, estimate=comparison.withhold(difference.estimate))
    return Score(mean, difference)


def choose_largest(classes: Sequence[ClassScores], extent: Extent) -> list[ClassScores]:
    """Those with the most pixels, in the order of their numbers: chosen by the data, not by how arms do on them."""
    largest = sorted(classes, key=lambda one: (-one.pixels, one.number))[: extent.classes]
    return sorted(largest, key=lambda one: one.number)


def _sum_up_arms(comparison: Comparison, classes: Sequence[ClassScores]) -> Table:
    header = ("IoU by class", "clear gains", "clear losses", "most gained (points)", "most lost (points)")
    rows = []
    for place, arm in enumerate(comparison.arms[1:], 1):
        scored = [(one.name, one.scores[place]) for one in classes]
        intervals = [ends for _, score in scored if (ends := _find_interval(score))]
        gains, losses = sum(low > 0 for low, _ in intervals), sum(high < 0 for _, high in intervals)
        counts = (str(gains), str(losses)) if intervals else (NOTHING, NOTHING)
        rows.append((arm.name, *counts, _name_extreme(scored, 1), _name_extreme(scored, -1)))
    return make_table(header, rows, numbers=header[1:])


def _name_extreme(scored: Sequence[tuple[str, Score]], sign: int) -> str:
    """The class of the largest difference above zero, or below it for a ``sign`` of -1."""
    found = [
        (sign * score.difference.estimate.mean, name)
        for name, score in scored
        if isinstance(score.difference, PairedDifference)
    ]
    size, name = max(found, key=lambda one: one[0], default=(0.0, ""))
    return f"{sign * size:+.{CLASS_IOU.digits}f} {name}" if size > 0 else NOTHING


def _format_share(one: ClassScores) -> str:
    if not one.pixels:
        return ABSENT
    return f"{one.share_percent:.2f}" if one.share_percent >= 0.005 else "< 0.01"


def _format_mean(score: Score, arm: Arm) -> str:
    """The mean with its interval; the n is named where some of the arm's seeds do not have the class."""
    text = format_estimate(score.mean, CLASS_IOU)
    if not isinstance(score.mean, Estimate) or "(n =" in text or not isinstance(arm.mean, Estimate):
        return text
    return text if score.mean.n == arm.mean.n else f"{text} (n = {score.mean.n})"


def _find_interval(score: Score) -> tuple[float, float] | None:
    return score.difference.estimate.interval if isinstance(score.difference, PairedDifference) else None
