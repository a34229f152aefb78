"""The differences of arms over images: a table beside that over seeds, of runs that kept what they answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.records import NotMeasured, RunRecord
from vtbench.records.answers import Answers
from vtbench.reporting.comparisons import Arm, Comparison
from vtbench.reporting.described_data import list_drawn
from vtbench.reporting.runs import RunKey, identify_run
from vtbench.reporting.tables import format_estimate
from vtbench.stats.estimates import Estimate
from vtbench.stats.image_pairs import McNemarTest, compute_mcnemar, estimate_over_images
from vtbench.units import format_items

# N images of a run.

_CLEAR_P = 0.05
_SEEDS = ("seeds higher : lower", "of these p < 0.05")


@dataclass(frozen=True)
class ImageComparison:
    """One arm against the base over images: the difference of mean scores, and McNemar's test by seed."""

    arm: Arm
    difference: Estimate
    tests: Mapping[int, McNemarTest]


def compare_images(comparison: Comparison, answers: Mapping[RunKey, Answers]) -> tuple[ImageComparison, ...]:
    """Every arm of which a seed can be paired with the base image by image; none for a study stopped by its outcome."""
    if comparison.stopped or not answers:
        return ()
    base, alike = comparison.runs[0], _have_same_images(comparison)
    found = []
    for arm, runs in zip(comparison.arms[1:], comparison.runs[1:], strict=True):
        paired = {
            seed: pair
            for seed, record in sorted(runs.items())
            if seed in base and (pair := _pair_answers(record, base[seed], answers, alike=alike)) is not None
        }
        estimate = estimate_over_images([(own.scores, one.scores, rows_N) for own, one, rows_N in paired.values()])
        if isinstance(estimate, Estimate):
            tests = {
                seed: compute_mcnemar(own.is_correct, one.is_correct)
                for seed, (own, one, _) in paired.items()
                if own.truth is not None
            }
            found.append(ImageComparison(arm, estimate, tests))
    return tuple(found)


def _pair_answers(
    record: RunRecord, base: RunRecord, answers: Mapping[RunKey, Answers], *, alike: bool
) -> tuple[Answers, Answers, NDArray[np.integer[Any]]] | None:
    """The answers of both to the same images, and which these are; None where they are not kept or of others."""
    own, of_base = (answers.get(identify_run(one)) for one in (record, base))
    if own is None or of_base is None or not _has_split_of(record, base):
        return None
    own_rows_N, base_rows_N = _list_rows(own, record, alike=alike), _list_rows(of_base, base, alike=alike)
    if own_rows_N is None or base_rows_N is None or not np.array_equal(own_rows_N, base_rows_N):
        return None
    return own, of_base, own_rows_N


def _has_split_of(record: RunRecord, base: RunRecord) -> bool:
    """Whether both are of one data set, though the place that ``--data`` names may be another."""
    contents = [one.certificate.val_content for one in (record, base) if one.certificate is not None]
    known = len(contents) == 2 and contents[0] is not None
    return contents[0] == contents[1] if known else record.config.data.spec == base.config.data.spec


def _have_same_images(comparison: Comparison) -> bool:
    """Whether all runs were judged by the same images in the same order, whichever these are."""
    certificates = [record.certificate for record in comparison.records if record.certificate is not None]
    return len({one.val_data for one in certificates}) == 1


def _list_rows(answers: Answers, record: RunRecord, *, alike: bool) -> NDArray[np.integer[Any]] | None:
    """Which images a run was judged by: their places in the split, or their numbers if those of all runs are ``alike``.

    None where a limit drew others for each run before their places were kept.
    """
    if answers.rows is None and (alike or record.config.data.limit_val is None):
        return np.arange(len(answers.scores))
    return answers.rows


def tabulate_images(comparison: Comparison, found: Sequence[ImageComparison]) -> Table | None:
    """One row an arm of what `compare_images` found; None where no runs can be paired image by image."""
    if not found:
        return None
    metric, tested = comparison.metric, any(one.tests for one in found)
    against = f"against {comparison.base}, over images ({metric.difference_unit})"
    header = ["arm", against, "images", *(["right alone", *_SEEDS] if tested else [])]
    rows = [
        [
            one.arm.name,
            format_estimate(one.difference, metric, sign="+"),
            f"{one.difference.n:,}",
            *([_format_alone(one), *_count_seeds(one)] if tested else []),
        ]
        for one in found
    ]
    return make_table(header, rows, numbers=header[1:])


def list_image_numbers(found: Sequence[ImageComparison]) -> list[dict[str, Any]]:
    """One flat dictionary an arm."""
    return [
        {
            "arm": one.arm.name,
            "difference": round(one.difference.mean, 6),
            "half_width": None
            if isinstance(one.difference.half_width, NotMeasured)
            else round(one.difference.half_width, 6),
            "num_images": one.difference.n,
            **{
                f"mcnemar_seed_{seed}": {
                    "only_arm": test.num_only_arm,
                    "only_base": test.num_only_base,
                    "p": float(f"{test.p_value:.6g}"),
                }
                for seed, test in one.tests.items()
            },
        }
        for one in found
    ]


def list_image_notes(
    comparison: Comparison, answers: Mapping[RunKey, Answers], found: Sequence[ImageComparison]
) -> Iterator[str]:
    """What an interval over images says, and what it does not."""
    if not answers:
        return
    kept = [(record, answers[run]) for record in comparison.records if (run := identify_run(record)) in answers]
    alike = _have_same_images(comparison)
    unknown = sum(_list_rows(one, record, alike=alike) is None for record, one in kept)
    if unknown and not comparison.stopped:
        yield (
            f"{format_items(unknown, 'run')} kept what was answered, but not to which of the images of the split, of "
            "which each seed drew some: not compared over images."
        )
    if not found:
        return
    trainings = "what other trainings would do on these images"
    if any(split == "validation" for split, *_ in list_drawn(comparison.records)):
        trainings = (
            "what other trainings would do on images drawn anew, as each seed drew its own of the validation split; "
            "an image that several seeds drew is counted once"
        )
    yield (
        "Over images, ± says what these trained networks would do on other images of the kind (95 %, normal); it knows "
        f"nothing of other trainings. Over seeds, ± says {trainings}."
    )
    if any(one.tests for one in found):
        yield (
            f"Right alone: images that only the arm and only {comparison.base} gets right, the mean over seeds. Seeds "
            f"higher : lower: in how many the arm gets more and in how many fewer images right than {comparison.base}, "
            f"and of these those in which McNemar's exact test of that seed alone has p < {_CLEAR_P:g}."
        )
    else:
        label = comparison.metric.label
        yield f"The score of an image is its own {label}; their mean is not the {label} of all images together."
    overruled = [one for one in found if _is_clear(one.difference) and not _is_clear(one.arm.together)]
    if overruled:
        yield (
            f"Clear over images but not over seeds: {', '.join(one.arm.name for one in overruled)}. Another training "
            f"may come out otherwise{_name_turned(overruled)}."
        )


def _is_clear(estimate: Estimate | None) -> bool:
    ends = None if estimate is None else estimate.interval
    return ends is not None and not ends[0] <= 0 <= ends[1]


def _format_alone(one: ImageComparison) -> str:
    """Both means in whole images; with digits where a half would be rounded, or two that differ would look equal."""
    if not one.tests:
        return NOTHING
    alone = [(test.num_only_arm, test.num_only_base) for test in one.tests.values()]
    means = [sum(side) / len(alone) for side in zip(*alone, strict=True)]
    digits = int(any(mean % 1 == 0.5 for mean in means))
    while means[0] != means[1] and f"{means[0]:.{digits}f}" == f"{means[1]:.{digits}f}":
        digits += 1
    return f"{means[0]:.{digits}f} : {means[1]:.{digits}f}"


def _count_seeds(one: ImageComparison) -> tuple[str, str]:
    """How many seeds speak for the arm and how many against it, and of these how many by McNemar's test."""
    if not one.tests:
        return NOTHING, NOTHING
    sides = [(test.num_only_arm - test.num_only_base, test.p_value) for test in one.tests.values()]
    every = (sum(side > 0 for side, _ in sides), sum(side < 0 for side, _ in sides))
    clear = (
        sum(side > 0 and p < _CLEAR_P for side, p in sides),
        sum(side < 0 and p < _CLEAR_P for side, p in sides),
    )
    return f"{every[0]} : {every[1]}", f"{clear[0]} : {clear[1]}"


def _name_turned(overruled: Sequence[ImageComparison]) -> str:
    """The seeds at hand whose difference points the other way than the mean of their arm."""
    turned = [
        f"{one.arm.name} ({format_items(number, 'seed')} of {len(one.tests)})"
        for one in overruled
        for tests in [one.tests.values()]
        if (number := sum((test.num_only_arm - test.num_only_base) * one.difference.mean < 0 for test in tests))
    ]
    return f", and has done so here for {', '.join(turned)}" if turned else ""
