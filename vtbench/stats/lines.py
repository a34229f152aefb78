"""A straight line through points, for costs: neither its start nor its rate is below zero."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean


def fit_line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Start and rate, neither below zero, of the line of least squares.

    It goes through zero where the points lie too close to tell a rate: within a factor of two.
    """
    if max(x for x, _ in points) < 2 * min(x for x, _ in points):
        return 0.0, sum(y for _, y in points) / sum(x for x, _ in points)
    across, up = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - across) ** 2 for x, _ in points)
    rate = sum((x - across) * (y - up) for x, y in points) / spread if spread else up / across
    if rate < 0:
        return up, 0.0
    if up < rate * across:
        return 0.0, sum(x * y for x, y in points) / sum(x * x for x, _ in points)
    return up - rate * across, rate
