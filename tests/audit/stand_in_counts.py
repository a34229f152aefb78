"""Counts that stand in for the live ones, so that a test says what it puts in."""

from __future__ import annotations

from collections.abc import Mapping

from vtbench.audit.counting import CountFunction, Counts
from vtbench.records import NotMeasured

SEGMENTATION = [((800, 1216), 54), ((473, 473), 20)]


def make_counts(
    macs: int = 0,
    params: int = 0,
    *,
    norm_params: int = 0,
    stage5_macs: int = 0,
    stage5_params: int = 0,
    neck_macs: int = 0,
) -> Counts:
    """Counts with only what a test needs."""
    return Counts(macs, params, norm_params, {"stage5": stage5_macs, "neck": neck_macs}, {"stage5": stage5_params})


def count_from(known: Mapping[str, Counts]) -> CountFunction:
    """A count function over ``known``; anything else is not registered.

    Classifiers are asked for at 224x224, segmentation networks with the sizes and classes of tables 9 and 10.
    """

    def count(variant: str, image_size: tuple[int, int], num_classes: int | None) -> Counts | NotMeasured:
        segments = "fpn" in variant
        assert (image_size, num_classes) in (SEGMENTATION if segments else [((224, 224), None)])
        return known.get(variant, NotMeasured(reason=f"There is no model named {variant!r}."))

    return count
