"""The differences by class as figures show them: the classes with the most pixels, and the arms that differ most."""

from __future__ import annotations

from dataclasses import dataclass

from vtbench.reporting.class_tables import PAGE, choose_largest, score_classes
from vtbench.reporting.comparisons import Comparison
from vtbench.stats.estimates import Estimate, PairedDifference

MOST_ARMS = 7


@dataclass(frozen=True)
class ClassDifferences:
    """``arms`` by their place in the comparison; ``rows`` give for each class the difference of each of them."""

    arms: tuple[tuple[int, str], ...]
    rows: tuple[tuple[str, tuple[Estimate | None, ...]], ...]
    num_arms: int


def find_class_differences(comparison: Comparison) -> ClassDifferences | None:
    """None where the task has no classes of pixels, or no arm has a difference."""
    classes = [one for one in choose_largest(score_classes(comparison), PAGE) if one.pixels]
    found = [
        (
            one.name,
            [score.difference if isinstance(score.difference, PairedDifference) else None for score in one.scores],
        )
        for one in classes
    ]
    sizes = {
        place: max((abs(row[place].estimate.mean) for _, row in found if row[place] is not None), default=None)  # type: ignore[union-attr]
        for place in range(1, len(comparison.arms))
    }
    known = {place: size for place, size in sizes.items() if size is not None}
    if not known:
        return None
    kept = sorted(sorted(known, key=lambda place: -known[place])[:MOST_ARMS])
    rows = tuple(
        (name, tuple(None if (one := row[place]) is None else one.estimate for place in kept)) for name, row in found
    )
    return ClassDifferences(tuple((place, comparison.arms[place].name) for place in kept), rows, len(known))
