"""Counts that stand in for the live ones, so that a test says what it puts in."""

from __future__ import annotations

from collections.abc import Mapping

from vtbench.audit.counting import CountFunction, Counts
from vtbench.records import NotMeasured


def make_counts(
    macs: int = 0, params: int = 0, *, norm_params: int = 0, stage5_macs: int = 0, stage5_params: int = 0
) -> Counts:
    """Counts with only what a test needs."""
    return Counts(macs, params, norm_params, {"stage5": stage5_macs}, {"stage5": stage5_params})


def count_from(known: Mapping[str, Counts]) -> CountFunction:
    """A count function over ``known``; anything else is not registered."""

    def count(variant: str, image_size: tuple[int, int]) -> Counts | NotMeasured:
        assert image_size == (224, 224)
        return known.get(variant, NotMeasured(reason=f"There is no model named {variant!r}."))

    return count
