"""What a report says beside its summary, the same for every format: notes, further tables, why runs stand apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vtbench.documents.table import Table
from vtbench.reporting.answer import answer_question, tell_limits
from vtbench.reporting.class_tables import PAGE, Extent, list_class_notes, list_class_numbers, tabulate_classes
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.contrasts import list_contrast_notes, list_contrast_numbers, tabulate_contrasts
from vtbench.reporting.factor_tables import (
    list_effect_notes,
    list_effect_numbers,
    list_interaction_notes,
    list_interaction_numbers,
    tabulate_effects,
    tabulate_interactions,
)
from vtbench.reporting.image_tables import list_image_notes, list_image_numbers, tabulate_images
from vtbench.reporting.measured_tables import list_measured_notes, list_measured_numbers, tabulate_measured
from vtbench.reporting.notes import list_notes
from vtbench.reporting.report import Report
from vtbench.reporting.run_tables import list_run_numbers, tabulate_runs
from vtbench.reporting.tuning import find_tuning, list_tuning_notes, tabulate_response, tabulate_tuning
from vtbench.units import format_items


@dataclass(frozen=True)
class TableKind:
    """A table that a comparison may have: in words, None where it has none, as rows of plain numbers, and its notes."""

    tabulate: Callable[[Report, Comparison, Extent], Table | None]
    list_numbers: Callable[[Report, Comparison], Iterable[dict[str, Any]]]
    list_notes: Callable[[Report, Comparison], Iterable[str]] = lambda *_: ()


FURTHER_TABLES = {
    "runs": TableKind(
        lambda report, one, extent: tabulate_runs(one, report.seconds, with_ends=extent is PAGE),
        lambda report, one: list_run_numbers(one, report.seconds),
    ),
    "effects": TableKind(
        lambda _, one, __: tabulate_effects(one),
        lambda _, one: list_effect_numbers(one),
        lambda _, one: list_effect_notes(one),
    ),
    "interactions": TableKind(
        lambda _, one, __: tabulate_interactions(one),
        lambda _, one: list_interaction_numbers(one),
        lambda _, one: list_interaction_notes(one),
    ),
    "contrasts": TableKind(
        lambda report, one, _: tabulate_contrasts(one, tuned=list_tuned(report)),
        lambda report, one: list_contrast_numbers(one, tuned=list_tuned(report)),
        lambda report, one: list_contrast_notes(one, tuned=list_tuned(report)),
    ),
    "over_images": TableKind(
        lambda report, one, _: tabulate_images(one, report.compare_images(one)),
        lambda report, one: list_image_numbers(report.compare_images(one)),
        lambda report, one: list_image_notes(one, report.answers, report.compare_images(one)),
    ),
    "measured": TableKind(
        lambda report, one, _: tabulate_measured(report, one), list_measured_numbers, list_measured_notes
    ),
    "classes": TableKind(
        lambda _, one, extent: tabulate_classes(one, extent),
        lambda _, one: list_class_numbers(one),
        lambda _, one: list_class_notes([one]),
    ),
}
"""What stands below the summary and the seeds, by the name of its file and of its place in JSON, in order."""


def list_all_notes(report: Report, extent: Extent = PAGE) -> list[str]:
    """What a reader must know beside the tables of a report, those of classes among them; less what failed."""
    of_one = [kind for name, kind in FURTHER_TABLES.items() if name not in ("interactions", "classes")]
    tuned = list_tuning_notes(tuning) if (tuning := find_tuning(report)) else ()
    classes = list_class_notes(report.comparisons, extent)
    notes = (
        *_describe_copies(report),
        *list_notes(report.comparisons),
        *(
            note
            for kind in of_one
            for note in _name_comparisons([kind.list_notes(report, one) for one in report.comparisons])
        ),
        *classes,
        *tuned,
    )
    return list(dict.fromkeys(notes))


def _name_comparisons(notes_of_each: Sequence[Iterable[str]]) -> Iterator[str]:
    """Every note once, led by the comparisons that it is of where others lack it."""
    listed = [tuple(notes) for notes in notes_of_each]
    for note in dict.fromkeys(note for notes in listed for note in notes):
        having = [str(number) for number, notes in enumerate(listed, 1) if note in notes]
        of_all = len(having) == len(listed)
        yield note if of_all else f"Comparison{'s' if len(having) > 1 else ''} {', '.join(having)}: {note}"


def count_outcomes(report: Report) -> dict[str, int]:
    """How many cells finished, failed or are missing, over all comparisons."""
    states = [
        outcome.state
        for comparison in report.comparisons
        for arm in comparison.arms
        for outcome in arm.outcomes.values()
    ]
    return {state: states.count(state) for state in ("finished", "failed", "missing")}


def list_tuned(report: Report) -> tuple[str, ...]:
    """The settings in which arms have what tuning found for them, which is no choice of the study."""
    return tuple(report.outline.tuning.settings) if report.outline.tuning is not None else ()


def answer_report(report: Report) -> list[str]:
    """What the first comparison answers to the question; of an interim report first that it is one."""
    return [*describe_progress(report), *answer_question(report.comparisons[0], tuned=list_tuned(report))]


def limit_report(report: Report) -> str:
    """What the first comparison cannot say."""
    return tell_limits(report.comparisons[0], tuned=list_tuned(report))


def tell_counts(report: Report) -> str:
    """How many runs finished, failed and are missing, none of them left out."""
    counts = count_outcomes(report)
    return f"{format_items(counts['finished'], 'run')} finished, {counts['failed']} failed, {counts['missing']} missing"


def describe_progress(report: Report) -> list[str]:
    """What an interim report lacks, and how to take it; nothing where it lacks nothing."""
    counts = count_outcomes(report)
    if not report.interim or not counts["missing"]:
        return []
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    return [
        f"Interim: {counts['finished']} of {sum(counts.values())} runs have finished{failed}, {counts['missing']} are "
        "missing. Numbers are of what is there and will move; who stops when they please finds differences that are "
        "none more often than the intervals say."
    ]


def _describe_copies(report: Report) -> list[str]:
    if not report.num_copies:
        return []
    repeats = format_items(report.num_copies, "record repeats", "records repeat")
    return [f"{repeats} one that was read before, equal in settings and outcome: each run is counted once."]


INTERIM = " (interim)"


def name_report(report: Report) -> str:
    """The title, which says of an interim report that it is one."""
    return report.outline.title + (INTERIM if describe_progress(report) else "")


def name_together(report: Report) -> str:
    """The heading of what the runs of several folders come to in one table."""
    num_folders = len(report.sources.rows) if report.sources is not None else 1
    return {1: "Results", 2: "Both together"}.get(num_folders, f"All {num_folders} together")


def list_further_tables(report: Report, comparison: Comparison, extent: Extent = PAGE) -> list[Table]:
    """What stands below the summary and the seeds: of runs, factors, contrasts, over images, measured, by class."""
    tables = (kind.tabulate(report, comparison, extent) for kind in FURTHER_TABLES.values())
    return [table for table in tables if table is not None]


def list_tuning_tables(report: Report) -> list[Table]:
    """What each arm was tuned to, and what its trials came to; none where nothing was tuned."""
    tuning = find_tuning(report)
    return [] if tuning is None else [tabulate_tuning(tuning, report.fresh_means), tabulate_response(tuning)]


def explain_apart(comparison: Comparison) -> str:
    """Why the comparison does not stand in the first one."""
    return (
        "These runs were not treated as those of the first comparison, so no difference is taken between the two. "
        f"What differs: {'; '.join(comparison.apart)}."
    )
