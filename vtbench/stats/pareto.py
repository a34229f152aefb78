"""The Pareto front: what no other point beats on cost and value at once."""

from __future__ import annotations

from collections.abc import Sequence


def find_pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the points that no other point dominates, by rising cost; ``costs`` are to be low, ``values`` high.

    One point dominates another if it is at least as good in both respects and better in one. Equal points stand
    together.
    """
    if len(costs) != len(values):
        raise ValueError(f"{len(costs)} costs do not match {len(values)} values")
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -values[index], index))
    front: list[int] = []
    for index in order:
        best = front[-1] if front else None
        if best is None or values[index] > values[best] or (costs[index], values[index]) == (costs[best], values[best]):
            front.append(index)
    return front
