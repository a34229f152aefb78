"""Measuring the arms of a study on this machine, for its report."""

from __future__ import annotations

from pathlib import Path

from vtbench.errors import UserError


def measure_study(folders: list[Path], *, base: str | None, device: str, batch_size: int, time_limit: float) -> None:
    """Measure every arm of the study in the one folder, interleaved, and leave the numbers there for its reports.

    Raises ``UserError`` where there are several folders, the folder cannot be written, or a network cannot be built.
    """
    if len(folders) != 1:
        raise UserError(f"--measure takes one folder of runs, and {len(folders)} were given. Measure them one by one.")
    from vtbench.cli.waiting import tell_waiting
    from vtbench.files import check_writable, finish_set
    from vtbench.records import save_record
    from vtbench.reporting.report import build_report
    from vtbench.run_folder import MEASURED
    from vtbench.units import format_items

    check_writable(folders[0])
    finish_set(folders[0])
    comparison = build_report(*folders, base=base).comparisons[0]
    pairs = zip(comparison.arms, comparison.runs, strict=True)
    arms = [(arm.name, next(iter(runs.values()))) for arm, runs in pairs if runs]
    with tell_waiting(f"measuring {format_items(len(arms), 'arm')}, {time_limit:g} s each at most"):
        import vtbench.models  # noqa: F401  # Makes its families known.
        from vtbench.profiling.measure import MeasureSettings
        from vtbench.profiling.measure_arms import measure_arms

        settings = MeasureSettings(device=device, time_limit=time_limit)
        measured = measure_arms(arms, settings, batch_size=batch_size)
    save_record(folders[0] / MEASURED, measured)
