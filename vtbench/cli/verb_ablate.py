"""``vtbench ablate``: run a study, or say what it would cost, or prove that it can be killed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vtbench.cli.derived_options import DerivedCommand

if TYPE_CHECKING:
    from vtbench.configuration import ExecutionConfig, StudyOptions
    from vtbench.studies.cells import ResolvedStudy
    from vtbench.studies.plan import StudyPlan
    from vtbench.studies.running import StudyOutcome

COMMAND = DerivedCommand


def run_ablate(
    *,
    study: Annotated[
        str, typer.Argument(help="A study's name (see --list), or the path of a TOML file.")
    ] = "components",
    options: StudyOptions,
    jobs: Annotated[str, typer.Option(help="Cells at once; auto measures the fastest split.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of all cells together.  [default: all cores]", show_default=False)
    ] = None,
    execution: Annotated[ExecutionConfig, ("threads", "checkpoint_seconds")],
    out: Annotated[
        Path | None, typer.Option(help="The study's folder.  [default: runs/STUDY]", show_default=False)
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say which cells there are and what they cost.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Move the folder aside and start another study.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")] = False,
    verify_resume: Annotated[
        bool, typer.Option("--verify-resume", help="Prove that killed cells go on to the same bits.")
    ] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the studies and leave.")] = False,
) -> None:
    """Run every cell of a study that its folder lacks, then report it.

    Calling it again goes on where it was stopped or killed; more seeds or arms extend it.
    """
    if list_all:
        from vtbench.cli.study_output import print_studies

        print_studies()
        return
    from vtbench.cli.study_output import print_plan
    from vtbench.studies.finding import find_study
    from vtbench.studies.resolution import resolve_study

    name, found = find_study(study)
    wishes = {"jobs": _parse_jobs(jobs), "threads": _check_threads(threads)}
    resolved = resolve_study(name, found, options, execution)
    folder = out or Path("runs") / name
    if plan:
        print_plan(_plan(resolved, folder, retry_failed=retry_failed, **wishes))
    elif verify_resume:
        _verify(resolved, folder, threads)
    else:
        _run(resolved, folder, fresh=fresh, retry_failed=retry_failed, **wishes)


def _run(study: ResolvedStudy, folder: Path, **wishes: Any) -> None:
    from vtbench.cli.console import open_console
    from vtbench.cli.progress import LiveDisplay
    from vtbench.cli.study_progress import StudyDisplay
    from vtbench.studies.running import run_study
    from vtbench.training import StopRequest

    with StopRequest().on_signals(grace_seconds=4.9) as stop, LiveDisplay(open_console()) as display:
        outcome = run_study(study, folder, watcher=StudyDisplay(display), stop=stop, **wishes)
    if outcome.stopped:
        typer.echo(
            f"Stopped: {outcome.finished} of {outcome.num_cells} cells are finished and the others saved in {folder}. "
            "The same command goes on from there.",
            err=True,
        )
        _leave(130)
    _report(folder)
    if outcome.failed:
        _print_failures(outcome)
        raise typer.Exit(1)


def _leave(code: int) -> NoReturn:
    """End the process here and now: taking torch down in good order takes seconds on a busy machine."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _report(folder: Path) -> None:
    from vtbench.cli.console import open_console
    from vtbench.reporting.report import build_report, default_output, save_report
    from vtbench.reporting.terminal import print_report

    report = build_report(folder)
    paths = save_report(report, default_output(folder))
    print_report(report, open_console())
    files = ", ".join(path.name for path in (paths.markdown, paths.csv, paths.latex, *paths.figures))
    typer.echo(f"\nReport: {paths.folder} ({files})")


def _print_failures(outcome: StudyOutcome) -> None:
    typer.echo(f"\n{len(outcome.failed)} of {outcome.num_cells} cells failed:", err=True)
    for label, error in outcome.failed.items():
        typer.echo(f"- {label}: {error}", err=True)
    typer.echo("The same command with --retry-failed runs them again; their errors are kept beside them.", err=True)


def _plan(study: ResolvedStudy, folder: Path, **wishes: Any) -> StudyPlan:
    from vtbench.studies.plan import plan_study
    from vtbench.training import StopRequest

    with StopRequest().on_signals() as stop:
        plan = plan_study(study, folder, stop=stop, **wishes)
    if stop.requested:
        raise typer.Exit(130)
    return plan


def _verify(study: ResolvedStudy, folder: Path, threads: int | None) -> None:
    from vtbench.cli.study_output import print_verdict
    from vtbench.studies.local_processes import make_slots
    from vtbench.studies.machine import list_gpus
    from vtbench.studies.resolution import inspect_study
    from vtbench.studies.split import count_cores, read_split
    from vtbench.studies.verification import verify_resume
    from vtbench.units import format_items

    before = read_split(folder)
    used = threads or (before.threads if before else count_cores())
    slot = make_slots(1, threads=used, gpus=list_gpus(study.execution.device))[0]
    facts = inspect_study(study)
    checks = verify_resume(study, facts, environment=slot.environment, threads=used, say=typer.echo)
    print_verdict(checks, f"{format_items(used, 'thread')}, {study.execution.device}")
    if any(check.different for check in checks):
        raise typer.Exit(1)


def _parse_jobs(text: str) -> int | None:
    from vtbench.errors import UserError

    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"--jobs was given {text!r}. Give a number of cells of 1 or more, or auto.")
    return int(text)


def _check_threads(threads: int | None) -> int | None:
    from vtbench.errors import UserError

    if threads is not None and threads < 1:
        raise UserError(f"--threads was given {threads}. Give a number of CPU threads of 1 or more.")
    return threads
