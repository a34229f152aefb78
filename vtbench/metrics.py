"""What networks are judged by: for each task its metrics, of which table heads, axes and progress lines are made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vtbench.registry import Registry


@dataclass(frozen=True)
class Metric:
    """A number that a network is judged by. ``key`` names it in records; ``digits`` are shown after the point."""

    key: str
    label: str
    title: str
    unit: str
    digits: int
    better: Literal["higher", "lower"]

    @property
    def head(self) -> str:
        """The head of a column: ``top-1 (%)``."""
        return f"{self.label} ({self.unit})"

    @property
    def axis(self) -> str:
        """The name of an axis: ``top-1 accuracy (%)``."""
        return f"{self.title} ({self.unit})"

    @property
    def difference_unit(self) -> str:
        """What a difference of two values is counted in: percentages differ by points."""
        return "points" if self.unit == "%" else self.unit

    def rank(self, value: float) -> float:
        """The value, or its negative where lower is better: of two ranks the higher is the better."""
        return value if self.better == "higher" else -value

    def format(self, value: float, *, digits: int | None = None) -> str:
        """Print a value without its unit: ``71.5 -> '71.50'``."""
        return "–" if math.isnan(value) else f"{value:.{self.digits if digits is None else digits}f}"

    def show(self, value: float, *, digits: int | None = None) -> str:
        """Print a value with its unit: ``71.5 -> '71.50 %'``."""
        return f"{self.format(value, digits=digits)} {self.unit}"


TOP1 = Metric("top1_percent", "top-1", "top-1 accuracy", unit="%", digits=2, better="higher")
TOP5 = Metric("top5_percent", "top-5", "top-5 accuracy", unit="%", digits=2, better="higher")
ECE = Metric("ece_percent", "ECE", "expected calibration error", unit="%", digits=2, better="lower")
CLASS_ACCURACY = Metric("accuracy_percent", "accuracy", "accuracy of a class", unit="%", digits=2, better="higher")

MIOU = Metric("miou_percent", "mIoU", "mean intersection over union", unit="%", digits=2, better="higher")
PIXEL_ACCURACY = Metric("pixel_accuracy_percent", "pixel acc.", "pixel accuracy", unit="%", digits=2, better="higher")
MEAN_ACCURACY = Metric("mean_accuracy_percent", "mean acc.", "mean accuracy", unit="%", digits=2, better="higher")
WEIGHTED_IOU = Metric("fwiou_percent", "fwIoU", "frequency-weighted IoU", unit="%", digits=2, better="higher")
DICE = Metric("dice_percent", "Dice", "mean Dice coefficient", unit="%", digits=2, better="higher")

CLASS_IOU = Metric("iou_percent", "IoU", "intersection over union of a class", unit="%", digits=2, better="higher")
"""Of each class that is in the truth; `read_classes` finds it in the numbers of an epoch."""

METRICS: Registry[tuple[Metric, ...]] = Registry("task")
"""The metrics of each task by its name; the first is the headline, by which runs are compared."""

METRICS.add("classification", (TOP1,))
METRICS.add("segmentation", (MIOU, PIXEL_ACCURACY, MEAN_ACCURACY, WEIGHTED_IOU, DICE))

VOID_PERCENT = "void_percent"
"""The key of the share of pixels that no network was judged on: of the data, not of a network."""


def is_of_class(key: str) -> bool:
    """Whether a number of an epoch belongs to one class: its key is ``iou_percent/3``, by the number of the class."""
    return "/" in key


def read_classes(numbers: Mapping[str, float], key: str) -> dict[int, float]:
    """The numbers ``key`` of each class that has one: ``iou_percent``, ``accuracy_percent`` or ``pixels``.

    >>> read_classes({"loss": 1.0, "iou_percent/0": 90.0, "iou_percent/2": 40.0}, "iou_percent")
    {0: 90.0, 2: 40.0}
    """
    found = (name.rpartition("/") for name in numbers)
    return {int(number): numbers[f"{name}/{number}"] for name, _, number in found if name == key}


def score_segmentation(confusion: Sequence[Sequence[int]]) -> dict[str, float]:
    """The metrics of segmentation in percent, from how many pixels of class ``row`` were taken for class ``column``.

    The rows and columns are those of all pixels of a split that are not void. A class without a pixel in the truth is
    left out of every mean, even where it was predicted, as in detectron2; those pixels still count as wrong for the
    classes that they belong to. mmsegmentation gives a class that is predicted and absent an IoU of 0, and kornia one
    that is neither an IoU of 1; both enter their means. Where no pixel counts, every mean is 0. Besides the means:
    ``iou_percent/C`` and ``accuracy_percent/C`` of each class C that is in the truth, and ``pixels/C`` of every class.

    >>> scores = score_segmentation([[3, 1], [0, 4]])
    >>> scores["iou_percent/0"], scores["iou_percent/1"], scores["miou_percent"]
    (75.0, 80.0, 77.5)
    """
    truth = [sum(row) for row in confusion]
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    present = [number for number, pixels in enumerate(truth) if pixels]
    right = {number: confusion[number][number] for number in present}
    iou = {number: 100 * right[number] / (truth[number] + predicted[number] - right[number]) for number in present}
    accuracy = {number: 100 * right[number] / truth[number] for number in present}
    dice = [200 * right[number] / (truth[number] + predicted[number]) for number in present]
    total, classes = max(1, sum(truth)), max(1, len(present))
    return {
        MIOU.key: math.fsum(iou.values()) / classes,
        PIXEL_ACCURACY.key: 100 * sum(right.values()) / total,
        MEAN_ACCURACY.key: math.fsum(accuracy.values()) / classes,
        WEIGHTED_IOU.key: math.fsum(truth[number] * iou[number] for number in present) / total,
        DICE.key: math.fsum(dice) / classes,
        **{f"{CLASS_IOU.key}/{number}": value for number, value in iou.items()},
        **{f"accuracy_percent/{number}": value for number, value in accuracy.items()},
        **{f"pixels/{number}": float(pixels) for number, pixels in enumerate(truth)},
    }
