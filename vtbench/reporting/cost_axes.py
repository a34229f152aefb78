"""What a network costs, as the axis of a figure: MACs and parameters are counted, latency and memory measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtbench.records import CostRecord
from vtbench.records.profile import Measurement
from vtbench.units import format_items

if TYPE_CHECKING:
    from vtbench.reporting.comparisons import Arm
    from vtbench.reporting.report import Report


@dataclass(frozen=True)
class CostAxis:
    """One cost. ``units`` are (size, name) from the smallest on; ``read`` gives that of an arm, None where unknown.

    ``measured`` costs depend on a machine and on how many images it had at once: see `tell_conditions`.
    """

    label: str
    units: tuple[tuple[float, str], ...]
    read: Callable[[Report, Arm], float | None]
    measured: bool = False

    def choose_unit(self, costs: Sequence[float]) -> tuple[float, str]:
        """The largest unit of which the greatest cost has one or more, as (size, name)."""
        return next((unit for unit in reversed(self.units) if unit[0] <= max(costs)), self.units[0])


def _read_macs(report: Report, arm: Arm) -> float | None:
    return arm.costs.macs if isinstance(arm.costs, CostRecord) else None


def _read_params(report: Report, arm: Arm) -> float | None:
    return arm.costs.params if isinstance(arm.costs, CostRecord) else None


def read_measurement(report: Report, arm: Arm) -> Measurement | None:
    found = None if report.measured is None else report.measured.find(arm.name, arm.variant)
    return found.measurement if found is not None and isinstance(found.measurement, Measurement) else None


def tell_conditions(measured: Measurement) -> str:
    """Where and how it was measured: processor, threads, precision and images at once."""
    where = measured.environment
    return (
        f"{where.device_name} ({where.device}), {format_items(measured.threads, 'thread')}, {measured.dtype}, "
        f"batch {measured.batch_size}"
    )


def _read_latency(report: Report, arm: Arm) -> float | None:
    found = read_measurement(report, arm)
    return None if found is None else found.latency_ms


def _read_memory(report: Report, arm: Arm) -> float | None:
    found = read_measurement(report, arm)
    return found.peak_memory_bytes if found is not None and isinstance(found.peak_memory_bytes, int) else None


MACS = CostAxis("MACs per image", ((1e6, "M"), (1e9, "G")), _read_macs)
PARAMS = CostAxis("parameters", ((1e6, "M"),), _read_params)
LATENCY = CostAxis("latency, measured", ((1.0, "ms"), (1e3, "s")), _read_latency, measured=True)
MEMORY = CostAxis("peak memory, measured", ((2.0**20, "MiB"), (2.0**30, "GiB")), _read_memory, measured=True)
