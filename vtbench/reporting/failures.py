"""Runs that failed: why, and where what they left lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vtbench.records import NotMeasured
from vtbench.reporting.report import Report
from vtbench.reporting.runs import identify_run
from vtbench.run_folder import ERROR


@dataclass(frozen=True)
class Failure:
    """A run that failed. ``reason`` is what its record says; ``place`` is its folder, or its record in an archive."""

    arm: str
    seed: int
    reason: str
    place: str
    traceback: str | None

    @property
    def name(self) -> str:
        """How the run is called."""
        return f"{self.arm}, seed {self.seed}"


def list_failures(report: Report) -> Iterator[Failure]:
    """Every run that failed, in the order of the tables."""
    for comparison in report.comparisons:
        for arm, runs in zip(comparison.arms, comparison.runs, strict=True):
            for seed, outcome in arm.outcomes.items():
                if outcome.state == "failed" and isinstance(outcome.value, NotMeasured) and seed in runs:
                    run = identify_run(runs[seed])
                    place = report.places.get(run, "")
                    traceback = f"{place}/{ERROR}" if run in report.traced else None
                    yield Failure(arm.name, seed, outcome.value.reason, place, traceback)


def tell_failures(report: Report) -> Iterator[str]:
    """One sentence a run that failed: why, and where to look."""
    for run in list_failures(report):
        where = run.traceback or run.place
        yield f"Failed: {run.name}: {_shorten(run.reason)}{f' ({where})' if where else ''}"


def _shorten(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if text.startswith("Traceback") else lines[0] if lines else "no message"
