"""What was measured of the arms, beside what was counted, and where the two rank arms differently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.records import CostRecord, NotMeasured
from vtbench.records.measured import MeasuredArm
from vtbench.records.profile import Measurement
from vtbench.reporting.comparisons import Arm, Comparison
from vtbench.reporting.cost_axes import tell_conditions
from vtbench.reporting.report import Report
from vtbench.units import format_bytes, format_fine, format_millions

_MOST_PAIRS = 3


def find_measured(report: Report, arm: Arm) -> MeasuredArm | None:
    """What was measured of an arm on one machine."""
    return None if report.measured is None else report.measured.find(arm.name, arm.variant)


def tabulate_measured(report: Report, comparison: Comparison) -> Table | None:
    """One row an arm: MACs, latency with its quartiles, throughput, peak memory, energy where a meter was read.

    None where nothing was measured.
    """
    found = [(arm, one) for arm in comparison.arms if (one := find_measured(report, arm)) is not None]
    if not found:
        return None
    header: tuple[str, ...] = ("measured", "MACs (M)", "latency (ms)", "quartiles (ms)", "images/s", "peak memory")
    rows = [(arm.name, *_list_cells(arm, one)) for arm, one in found]
    if report.measured is not None and report.measured.energy_of is not None:
        header = (*header, "energy (mJ/image)")
        rows = [(*row, _format_energy(one)) for row, (_, one) in zip(rows, found, strict=True)]
    return make_table(header, rows, numbers=header[1:])


def list_measured_numbers(report: Report, comparison: Comparison) -> Iterator[dict[str, Any]]:
    """One flat dictionary an arm that was measured; None where there is no number."""
    for arm in comparison.arms:
        if (one := find_measured(report, arm)) is None:
            continue
        done = one.measurement if isinstance(one.measurement, Measurement) else None
        memory = done.peak_memory_bytes if done else None
        yield {
            "arm": arm.name,
            "macs": arm.costs.macs if isinstance(arm.costs, CostRecord) else None,
            "device": done.environment.device if done else None,
            "batch_size": done.batch_size if done else None,
            "latency_ms": done.latency_ms if done else None,
            "latency_ms_first_quartile": done.latency_ms_quartiles[0] if done else None,
            "latency_ms_third_quartile": done.latency_ms_quartiles[1] if done else None,
            "images_per_second": done.images_per_second if done else None,
            "peak_memory_bytes": None if isinstance(memory, NotMeasured) else memory,
            "energy_joules": None if isinstance(one.energy_joules, NotMeasured) else one.energy_joules,
        }


def list_measured_notes(report: Report, comparison: Comparison) -> list[str]:
    """Where and how it was measured, what could not be, and which arms MACs and latency rank differently."""
    found = [(arm, one) for arm in comparison.arms if (one := find_measured(report, arm)) is not None]
    done = [(arm, one.measurement) for arm, one in found if isinstance(one.measurement, Measurement)]
    notes = [
        f"Not measured: {arm.name}: {one.measurement.reason}."
        for arm, one in found
        if isinstance(one.measurement, NotMeasured)
    ]
    if done:
        conditions = tell_conditions(done[0][1])
        notes.insert(0, f"Measured on {conditions}, arms taking turns: median and quartiles of a forward pass.")
        timed = [
            Timed(arm.name, arm.variant, arm.costs.macs, one) for arm, one in done if isinstance(arm.costs, CostRecord)
        ]
        notes += list_unsettled(timed)
        if conflicts := find_conflicts(timed):
            notes.append(f"MACs and latency rank arms differently: {tell_conflicts(conflicts)}")
        elif len(timed) > 1:
            notes.append("Of no two arms does the one with fewer MACs clearly take longer.")
    if report.measured is not None and (covers := report.measured.energy_of) is not None:
        notes.append(f"Energy is that of {covers}, at rest and by other processes included: the median of windows.")
    notes += dict.fromkeys(
        f"Energy: {one.energy_joules.reason}." for _, one in found if isinstance(one.energy_joules, NotMeasured)
    )
    return notes


def _list_cells(arm: Arm, one: MeasuredArm) -> tuple[str, ...]:
    macs = format_millions(arm.costs.macs) if isinstance(arm.costs, CostRecord) else NOTHING
    measured = one.measurement
    if isinstance(measured, NotMeasured):
        return (macs, *(NOTHING,) * 4)
    low, high = (format_fine(part, digits=2) for part in measured.latency_ms_quartiles)
    memory = measured.peak_memory_bytes
    return (
        macs,
        format_fine(measured.latency_ms, digits=2),
        f"{low} to {high}",
        format_fine(measured.images_per_second, digits=0),
        NOTHING if isinstance(memory, NotMeasured) else format_bytes(memory),
    )


def _format_energy(one: MeasuredArm) -> str:
    return NOTHING if isinstance(one.energy_joules, NotMeasured) else format_fine(1000 * one.energy_joules, digits=2)


class Timed(NamedTuple):
    """One network by its name in the text, its spelling, its MACs for an image and its time."""

    name: str
    variant: str
    macs: int
    measurement: Measurement


def list_unsettled(timed: Sequence[Timed]) -> list[str]:
    """Notes on times that were still moving when time was up, and on pairs of networks whose ratio was, too."""
    notes = []
    if moving := [one.name for one in timed if not one.measurement.settled]:
        notes.append(
            f"The quartiles had not settled within 2 % when time was up: {', '.join(moving)}. Pairs are compared round "
            "by round all the same: what slows both cancels."
        )
    apart = [
        f"{first.name} and {second.name}"
        for first, second in combinations(timed, 2)
        if second.variant not in first.measurement.ratios
    ]
    if apart:
        more = f", and {len(apart) - _MOST_PAIRS} more pairs" if len(apart) > _MOST_PAIRS else ""
        notes.append(f"Not compared, since their ratio had not settled: {', '.join(apart[:_MOST_PAIRS])}{more}.")
    return notes


def find_conflicts(timed: Sequence[Timed]) -> list[tuple[Timed, Timed]]:
    """Pairs (lean, dear) of which the one with fewer MACs surely takes longer, by their ratio; the farthest first."""
    pairs = []
    for first, second in combinations(timed, 2):
        lean, dear = sorted((first, second), key=lambda one: one.macs)
        ratio = lean.measurement.compare(dear.variant)
        if lean.macs < dear.macs and ratio is not None and ratio[0] > 1:
            pairs.append((ratio[0], lean, dear))
    pairs.sort(key=lambda pair: -pair[0])
    return [(lean, dear) for _, lean, dear in pairs]


def tell_conflicts(pairs: Sequence[tuple[Timed, Timed]]) -> str:
    """What `find_conflicts` found, at most three pairs of it by name."""
    told = [
        f"{lean.name} has {format_millions(lean.macs)} M MACs and takes "
        f"{format_fine(lean.measurement.latency_ms, digits=2)} ms, {dear.name} "
        f"{format_millions(dear.macs)} M and {format_fine(dear.measurement.latency_ms, digits=2)} ms"
        for lean, dear in pairs[:_MOST_PAIRS]
    ]
    more = f"; {len(pairs) - _MOST_PAIRS} more pairs" if len(pairs) > _MOST_PAIRS else ""
    return f"{'; '.join(told)}{more}."
