"""What a network costs, as the axis of a figure: MACs and parameters are counted, latency and memory measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtbench.records import CostRecord

if TYPE_CHECKING:
    from vtbench.reporting.comparisons import Arm
    from vtbench.reporting.report import Report


@dataclass(frozen=True)
class CostAxis:
    """One cost. ``units`` are (size, name) from the smallest on; ``read`` gives that of an arm, None where unknown."""

    label: str
    units: tuple[tuple[float, str], ...]
    read: Callable[[Report, Arm], float | None]

    def choose_unit(self, costs: Sequence[float]) -> tuple[float, str]:
        """The largest unit of which the greatest cost has one or more, as (size, name)."""
        return (
            [unit for unit in self.units if unit[0] <= max(costs)][-1:][0]
            if max(costs) >= self.units[0][0]
            else (self.units[0])
        )


def _read_macs(report: Report, arm: Arm) -> float | None:
    return arm.costs.macs if isinstance(arm.costs, CostRecord) else None


def _read_params(report: Report, arm: Arm) -> float | None:
    return arm.costs.params if isinstance(arm.costs, CostRecord) else None


MACS = CostAxis("MACs per image", ((1e6, "M"), (1e9, "G")), _read_macs)
PARAMS = CostAxis("parameters", ((1e6, "M"),), _read_params)
