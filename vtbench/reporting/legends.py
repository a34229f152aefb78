"""What the marks of a figure stand for, in words that are shown below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vtbench.reporting.class_differences import find_class_differences
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.effects import list_effects
from vtbench.reporting.token_curves import list_token_curves
from vtbench.stats.estimates import Estimate

if TYPE_CHECKING:
    from vtbench.reporting.report import Report

_CUT = "An arrowhead: the interval goes on."


def explain_costs(report: Report, index: int, *, has_front: bool) -> str:
    """The marks of the metric against a cost. It ``has_front`` where the Pareto front is more than a point."""
    comparison = report.comparisons[index]
    means = [arm.mean for arm in comparison.arms if isinstance(arm.mean, Estimate)]
    said = ["Large dot: mean over seeds." if _has_seeds(comparison) else "Dot: the one seed."]
    said += ["Small dots: single seeds."] if _has_seeds(comparison) else []
    said += [f"Bar: 95 % t interval of the mean. {_CUT}"] if any(mean.interval for mean in means) else []
    front = "Dashed line: Pareto front, the arms that no other beats at the same cost or less."
    return " ".join([*said, *([front] if has_front else [])])


def explain_effects(report: Report, index: int) -> str:
    """The marks of the differences to the reference."""
    comparison = report.comparisons[index]
    rows = list_effects(comparison)
    said = [f"Zero is {comparison.base}.", "Large dot: mean of the differences, paired by seed."]
    said += ["Small dots: single seeds."] if any(len(row.seeds) > 1 for row in rows) else []
    if comparison.until is not None:
        said.append("Line: interval that holds for all arms and looks (95 %).")
    elif any(row.estimate.interval for row in rows):
        family = len(comparison.family)
        thin = f"; thin line: the one that holds for all {family} together" if family > 1 else ""
        said.append(f"Thick line: 95 % t interval of the arm alone{thin}. {_CUT}")
    return " ".join(said)


def explain_curves(report: Report, index: int) -> str:
    """The marks of the learning curves."""
    several = _has_seeds(report.comparisons[index])
    line = "Line: mean over seeds on the validation images, after every epoch." if several else "Line: the one seed."
    return f"{line} Band: from the lowest to the highest seed." if several else line


def explain_classes(report: Report, index: int) -> str:
    """The marks of the differences by class."""
    comparison = report.comparisons[index]
    found = find_class_differences(comparison)
    shown = [one for _, row in found.rows for one in row if one is not None] if found is not None else []
    what = "mean difference" if any(one.n > 1 for one in shown) else "difference, at the one seed,"
    said = [f"Zero is {comparison.base}. Dot: {what} of an arm on a class."]
    said += [f"Bar: its 95 % t interval, each alone. {_CUT}"] if any(one.interval for one in shown) else []
    return " ".join(said)


def explain_roles(_: Report, __: int) -> str:
    """The marks of what MACs are for."""
    return "A bar an arm, as long as its MACs per image. Colours: what they are for."


def explain_tokens(report: Report, index: int) -> str:
    """The marks of the metric against the number of tokens."""
    means = [mean for curve in list_token_curves(report.comparisons[index]) for _, _, mean in curve.points]
    said = ["A line for arms that differ in the number of tokens alone."]
    said += ["Dot: mean over seeds." if any(mean.n > 1 for mean in means) else "Dot: the one seed."]
    said += ["Bar: its 95 % t interval."] if any(mean.interval for mean in means) else []
    return " ".join(said)


def explain_responses(_: Report, __: int) -> str:
    """The marks of the responses to what was tuned."""
    return (
        "Line: the best trial at each value. Dots: single runs of trials. Star: what was chosen, at its score, and "
        "beside its value where another star stands."
    )


def explain_pictures(_: Report, __: int) -> str:
    """What pictures of predictions show."""
    return "Image and truth, what an arm predicts, and its errors: wrong pixels over the image, void in white."


def _has_seeds(comparison: Comparison) -> bool:
    counts: Sequence[int] = [arm.mean.n for arm in comparison.arms if isinstance(arm.mean, Estimate)]
    return max(counts, default=0) > 1
