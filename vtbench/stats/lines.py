"""A straight line through points, for costs: neither its start nor its rate is below zero."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean


def fit_line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Start and rate, neither below zero, of the line of least squares; through zero where there is one point."""
    across, up = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - across) ** 2 for x, _ in points)
    rate = sum((x - across) * (y - up) for x, y in points) / spread if spread else up / across
    if rate < 0:
        return up, 0.0
    if up < rate * across:
        return 0.0, sum(x * y for x, y in points) / sum(x * x for x, _ in points)
    return up - rate * across, rate
