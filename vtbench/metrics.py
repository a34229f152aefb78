"""What networks are judged by: for each task its metrics, of which table heads, axes and progress lines are made."""

from __future__ import annotations

import math
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

METRICS: Registry[tuple[Metric, ...]] = Registry("task")
"""The metrics of each task by its name; the first is the headline, by which runs are compared."""

METRICS.add("classification", (TOP1,))
