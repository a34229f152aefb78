"""A report of runs: read and compared, not yet written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vtbench.records import TimingRecord
from vtbench.reporting.comparisons import Comparison, build_comparisons
from vtbench.reporting.outline import ReportOutline
from vtbench.reporting.provenance import describe_provenance
from vtbench.reporting.runs import LeftOut, RunKey, load_runs


@dataclass(frozen=True)
class Report:
    """Everything that formats and figures show. ``comparisons[0]`` is that of the base; the others were kept apart.

    ``timings`` are those of the epochs of each run, by `identify_run`, where they were kept.
    """

    outline: ReportOutline
    comparisons: tuple[Comparison, ...]
    left_out: tuple[LeftOut, ...]
    provenance: tuple[tuple[str, str], ...]
    timings: Mapping[RunKey, tuple[TimingRecord, ...]] = field(default_factory=dict)


def build_report(*folders: Path, base: str | None = None) -> Report:
    """Read all runs beneath ``folders`` and compare them. Raises ``UserError`` if there is nothing to report."""
    loaded = load_runs(*folders)
    comparisons = build_comparisons(loaded.records, loaded.outline, base=base)
    provenance = describe_provenance(loaded.records, loaded.outline)
    return Report(loaded.outline, comparisons, loaded.left_out, tuple(provenance), loaded.timings)
