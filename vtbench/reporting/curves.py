"""The learning curves of a comparison: the headline metric after every epoch, by arm, and where their names stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtbench.records import RunRecord
from vtbench.reporting.comparisons import Comparison

# Dimensions: S seeds, E epochs.

MOST_NAMED = 24
"""Of more arms the base and those that end best are named; the others are grey."""


@dataclass(frozen=True)
class Curve:
    """The ``values`` (S, E) of one arm, and their ``mean`` (E,) over seeds."""

    name: str
    values: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        return np.asarray(self.values.mean(axis=0))


def list_curves(comparison: Comparison) -> list[Curve]:
    """Those of all arms that have finished runs of equally many epochs."""
    pairs = zip(comparison.arms, comparison.runs, strict=True)
    found = ((arm.name, _read_values(of_arm, comparison.metric.key)) for arm, of_arm in pairs)
    return [Curve(name, np.array(values)) for name, values in found if values and len(set(map(len, values))) == 1]


def _read_values(runs: Mapping[int, RunRecord], key: str) -> list[list[float]]:
    finished = (record for _, record in sorted(runs.items()) if record.status == "finished")
    return [[epoch.outcome[key] for epoch in record.epochs] for record in finished if record.epochs]


def choose_named(curves: Sequence[Curve], comparison: Comparison) -> list[Curve]:
    """All, or of many the base and those that end best."""
    if len(curves) <= MOST_NAMED:
        return list(curves)
    best = sorted(curves[1:], key=lambda curve: -comparison.metric.rank(float(curve.mean[-1])))[: MOST_NAMED - 1]
    return [curve for curve in curves if curve is curves[0] or any(curve is one for one in best)]


def spread_heights(wanted: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Heights that rise by ``gap`` at least and lie as near to ``wanted``, which rise, as least squares has it.

    Less their least distances, heights only have to rise: that is isotonic regression, by pooling
    neighbours (SciPy's takes longer to import than a figure to draw).
    """
    steps = gap * np.arange(len(wanted))
    pools: list[tuple[float, int]] = []  # The sum and the number of heights that are equal.
    for height in wanted - steps:
        total, size = float(height), 1
        while pools and pools[-1][0] * size >= total * pools[-1][1]:
            total, size = total + pools[-1][0], size + pools.pop()[1]
        pools.append((total, size))
    heights = np.repeat([total / size for total, size in pools], [size for _, size in pools]) + steps
    return np.asarray(heights - max(0.0, float(heights[-1]) - max(1.0, steps[-1])))
