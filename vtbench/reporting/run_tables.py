"""How the single runs of each arm spread: lowest, median and highest outcome, and what time a run took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.records import RunRecord, TimingRecord
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.runs import RunKey, identify_run
from vtbench.units import format_duration


def time_runs(records: Iterable[RunRecord], timings: Mapping[RunKey, Sequence[TimingRecord]]) -> dict[RunKey, float]:
    """The seconds that training and validating took, by `identify_run`, of the runs whose every epoch was timed."""
    found = ((len(record.epochs), run, timings.get(run, ())) for record in records for run in (identify_run(record),))
    return {run: sum(one.seconds for one in timed) for num, run, timed in found if timed and len(timed) >= num}


def tabulate_runs(comparison: Comparison, seconds: Mapping[RunKey, float], *, with_ends: bool = True) -> Table | None:
    """One row an arm; None where no arm has two finished runs. ``seconds`` are those of `time_runs`.

    Without ``with_ends`` the median of the times stands alone, for which a terminal has room.
    """
    metric = comparison.metric
    apart, time = f"apart ({metric.difference_unit})", ("median time", "shortest", "longest")
    header = ("runs", f"lowest ({metric.unit})", "median", "highest", apart, *time)
    rows, most = [], 0
    for arm, runs in zip(comparison.arms, comparison.runs, strict=True):
        values = [one.value for one in arm.outcomes.values() if isinstance(one.value, float)]
        most = max(most, len(values))
        ends = [min(values), median(values), max(values)] if values else []
        shown = [metric.format(value) for value in ends] or [NOTHING] * 3
        distance = metric.format(max(values) - min(values)) if len(values) > 1 else NOTHING
        rows.append((arm.name, *shown, distance, *_tell_times(runs.values(), seconds)))
    if most < 2:
        return None
    table = make_table(header, rows, numbers=header[1:])
    if all(row[-1] == NOTHING for row in rows):
        return table.without(*time)
    return table if with_ends else table.without(*time[1:])


def list_run_numbers(comparison: Comparison, seconds: Mapping[RunKey, float]) -> list[dict[str, Any]]:
    """One flat dictionary an arm, None where there is no number; none at all where no arm has two finished runs."""
    rows, key, most = [], comparison.metric.key, 0
    for arm, runs in zip(comparison.arms, comparison.runs, strict=True):
        values = [one.value for one in arm.outcomes.values() if isinstance(one.value, float)]
        most = max(most, len(values))
        rows.append(
            {
                "arm": arm.name,
                "n": len(values),
                **_summarise(values, key),
                **_summarise(_list_times(runs.values(), seconds), "seconds"),
            }
        )
    return rows if most > 1 else []


def list_seed_numbers(comparison: Comparison, seconds: Mapping[RunKey, float]) -> Iterator[dict[str, Any]]:
    """One flat dictionary a run: how it ended, the headline metric and its seconds; None where there is no number."""
    for arm, runs in zip(comparison.arms, comparison.runs, strict=True):
        for seed, outcome in arm.outcomes.items():
            taken = seconds.get(identify_run(runs[seed])) if seed in runs else None
            yield {
                "arm": arm.name,
                "seed": seed,
                "state": outcome.state,
                comparison.metric.key: outcome.value if isinstance(outcome.value, float) else None,
                "seconds": None if taken is None else round(taken, 3),
            }


def _summarise(values: Sequence[float], key: str) -> dict[str, float | None]:
    ends = [min(values), median(values), max(values)] if values else [None] * 3
    names = ("lowest", "median", "highest")
    return {f"{name}_{key}": None if end is None else round(end, 6) for name, end in zip(names, ends, strict=True)}


def _list_times(runs: Iterable[RunRecord], seconds: Mapping[RunKey, float]) -> list[float]:
    finished = (record for record in runs if record.status == "finished")
    return [found for record in finished if (found := seconds.get(identify_run(record))) is not None]


def _tell_times(runs: Iterable[RunRecord], seconds: Mapping[RunKey, float]) -> tuple[str, str, str]:
    if not (taken := _list_times(runs, seconds)):
        return (NOTHING,) * 3
    ends = (median(taken), min(taken), max(taken))
    return format_duration(ends[0]), format_duration(ends[1]), format_duration(ends[2])
