"""``vtbench ablate``: run a study, or say what it would cost, or prove that it can be killed."""

from __future__ import annotations

import os
import sys
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from vtbench.cli.commands import DerivedCommand
from vtbench.cli.completion import complete_executors, complete_studies
from vtbench.cli.exact import EXACT_EXCLUDES, ExactAs, read_choice
from vtbench.cli.loudness import say
from vtbench.cli.mistyped import ALL
from vtbench.cli.options import Json, Track, check_folder
from vtbench.errors import UserError

if TYPE_CHECKING:
    from vtbench.configuration import ExecutionConfig
    from vtbench.run_options import StudyOptions
    from vtbench.stores import Store
    from vtbench.studies.cells import ResolvedStudy
    from vtbench.studies.executor import Session
    from vtbench.studies.mirror import Mirror
    from vtbench.studies.running import StudyOutcome
    from vtbench.studies.study import Study

COMMAND = DerivedCommand
NEEDS = {"no-probe": ("plan",), "shard-optimizer": ("devices",)}
_OF_RUNS = ("fresh", "measure", "track")
EXCLUDES = {
    "list": ALL,
    "plan": ("verify-resume", *_OF_RUNS),
    "verify-resume": ("retry-failed", "try", *_OF_RUNS),
    "exact-as": ("try", *EXACT_EXCLUDES),
    "no-probe": ("try",),
}
MOST_JOBS = 10_000
_TRACKERS_END_WITHIN_SECONDS = 5.0
_STORE_ENDS_WITHIN_SECONDS = 5.0
_STORE_IS_TRIED_SECONDS = 60.0


def run_ablate(
    *,
    study: Annotated[
        str,
        typer.Argument(
            help="A study's name (see --list), or the path of a TOML file. An arm of FILE.py:CALLABLE runs that file's "
            "code.",
            autocompletion=complete_studies,
        ),
    ] = "components",
    options: StudyOptions,
    jobs: Annotated[
        str, typer.Option(help="Cells at once; auto measures how many are fastest; the last may share.")
    ] = "auto",
    ways: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            help="What all arms take if it is measured to be faster: bfloat16, float16, contiguous or compile; may be "
            "repeated.",
        ),
    ] = None,
    exact_as: ExactAs = None,
    executor: Annotated[
        str, typer.Option(help="What carries the cells out: {executors}.", autocompletion=complete_executors)
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Of a Ray cluster: auto, HOST:PORT.  [default: RAY_ADDRESS, else one of this machine]"),
    ] = None,
    execution: Annotated[ExecutionConfig, ("threads", "checkpoint_seconds")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The study's folder.  [default: runs/STUDY]", callback=check_folder),
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Keep the folder there, too, and go on from it: s3://, gs:// or file://.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say which cells there are and what they cost.")] = False,
    cluster: Annotated[
        str | None, typer.Option(help="With --plan: on such a cluster, as nodes=4,gpus=8,gpu=h100,price=2.5.")
    ] = None,
    no_probe: Annotated[bool, typer.Option("--no-probe", help="With --plan: measure nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Move the folder aside and start another study.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")] = False,
    verify_resume: Annotated[
        bool,
        typer.Option("--verify-resume", help="Prove that killed cells go on to the same bits; exit 1 if not proved."),
    ] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the studies and leave.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="At the end measure latency and memory of the arms, taking turns.")
    ] = False,
    track: Track = None,
    as_json: Json = False,
) -> None:
    """Run every cell of a study that its folder lacks, then report it.

    Calling it again goes on where it was stopped or killed; more seeds or arms extend it.
    """
    if list_all:
        from vtbench.cli.study_output import print_studies

        print_studies(as_json=as_json)
        return
    from vtbench.cli.waiting import tell_waiting
    from vtbench.locking import refuse_held
    from vtbench.run_folder import STUDY, STUDY_LOCK
    from vtbench.studies.inspection import Question, can_look_apart, look_apart
    from vtbench.studies.resolution import resolve_study
    from vtbench.studies.study import find_study, is_study_file
    from vtbench.trackers import check_trackers

    if cluster is not None:
        _check_cluster(cluster, plan=plan)
    trackers = check_trackers(track or [])
    name, found = find_study(study)
    session = _open_session(executor, address, jobs, options.threads, ways or [])
    if exact_as is not None:
        choice = read_choice(exact_as)
        session = _give_threads(session, choice.pop("threads"), execution.device)
        execution = execution.model_copy(update=choice)
    folder = out or Path("runs") / name
    stored = _open_store(store, fresh=fresh, only_planned=plan or verify_resume)
    _check_first(found, options, is_new=not (folder / STUDY).exists())
    if not (plan or verify_resume):
        refuse_held(folder / STUDY_LOCK)
    file, there = study if is_study_file(study) else None, session.executor
    if not (plan or verify_resume) and can_look_apart(there):
        with tell_waiting("loading the models of the study and reading its data"):
            answers = look_apart(Question(name, found, options, execution, file, folder, retry_failed, fresh))
        resolved, session = answers.study, replace(session, inspector=answers)
    else:
        with tell_waiting("loading the models of the study"):
            settle = there.settle_device
            resolved = resolve_study(
                name, found, options, execution, file=file, settle_device=settle, runs_here=there.runs_here
            )
    if plan:
        unmeasured = "measuring was left out with --no-probe" if no_probe else None
        _plan(resolved, folder, session, cluster, unmeasured, retry_failed=retry_failed, as_json=as_json)
    elif verify_resume:
        _verify(resolved, folder, session, as_json=as_json)
    else:
        _run(
            resolved,
            folder,
            session,
            trackers,
            stored,
            as_json=as_json,
            measure=measure,
            fresh=fresh,
            retry_failed=retry_failed,
        )


def _check_first(study: Study, options: StudyOptions, *, is_new: bool) -> None:
    """Refuse without torch what can be seen to be wrong without it; a study that is there may need its data no more."""
    from vtbench.cli.first_checks import check_data, check_init, check_teacher, check_variants
    from vtbench.studies.resolution import check_tuning, choose_arms, choose_base, choose_recipe
    from vtbench.studies.treatments import resolve_treatments

    data, recipe = options.choose_data(study.data, study.list_declared()), choose_recipe(study, options)
    base = choose_base(study, options)
    arms = choose_arms(study, options.arm)
    check_variants(*([base] if base is not None else []), *arms.values())
    treatments = resolve_treatments(study, arms, data, recipe, options)
    check_tuning(study, options.seeds or study.seeds, options, recipe, data)
    for spec in dict.fromkeys([data.spec, *(own["data.spec"] for own in treatments.values() if "data.spec" in own)]):
        check_data(spec, look=is_new)
    if not is_new:
        return
    check_teacher(recipe.distillation.teacher if recipe.distillation else None)
    own = study.list_inits()
    check_init({own.get(arm, options.init or study.init) for arm in arms})


def _run(
    study: ResolvedStudy,
    folder: Path,
    session: Session,
    trackers: tuple[str, ...],
    store: Store | None,
    *,
    as_json: bool,
    measure: bool,
    **wishes: bool,
) -> None:
    from vtbench.cli.loudness import open_progress, tell, warn
    from vtbench.cli.mirrored_study import MirroredStudy
    from vtbench.cli.progress import LiveDisplay
    from vtbench.cli.study_progress import StudyDisplay
    from vtbench.cli.tracked_study import TrackedStudy
    from vtbench.cli.verb_report import report_runs
    from vtbench.cli.waiting import tell_waiting
    from vtbench.reporting.report import build_report
    from vtbench.reporting.tables import tabulate_summary
    from vtbench.studies.deciding import carry_out_study
    from vtbench.trackers.tracking import Tracking
    from vtbench.units import format_items

    mirror = _begin_mirror(store, folder, study) if store is not None else None
    session.stop.parting = session.stop.BEFORE_CELLS
    with session.stop.on_signals(grace_seconds=4.9), LiveDisplay(open_progress()) as display:
        what = f"reading the data and building {format_items(len(study.arms), 'arm')}"
        with tell_waiting(what) as begun:
            shown = StudyDisplay(display, session.inspector.count, begun, begun.turn_to)
            tracking = Tracking(trackers, folder, study.name, warn)
            tracked = TrackedStudy(shown, tracking)
            watcher = MirroredStudy(tracked, mirror) if mirror is not None else tracked
            outcome = carry_out_study(study, folder, session, watcher=watcher, on_look=shown.on_look, **wishes)
            shown.on_turn()  # The last frame stays.
    if outcome.stopped:
        tracking.close(within_seconds=_TRACKERS_END_WITHIN_SECONDS)
        say(
            f"Stopped: {outcome.finished} of {format_items(outcome.num_cells, 'cell')} finished, "
            "and what others had done is "
            f"saved, in {folder}. The same command goes on from there."
        )
        _end_mirror(mirror, within_seconds=_STORE_ENDS_WITHIN_SECONDS)
        _leave(130)
    if measure:
        from vtbench.cli.measuring import measure_study

        measure_study([folder], base=None, device="auto", batch_size=1, time_limit=10.0)
    report_runs([folder], None, "json" if as_json else "table", None, None)
    if trackers:
        tracking.conclude(f"{study.name}: report", tabulate_summary(build_report(folder).comparisons[0]))
        tracking.close()
        if (places := tracking.describe_places()) is not None:
            tell(places)
    if outcome.without_weights:
        say(
            f"The weights of {format_items(outcome.without_weights, 'finished cell')} are gone. "
            "The report needs none; to have them "
            "again, remove the record.json of a cell and repeat the command."
        )
    is_kept = _end_mirror(mirror, within_seconds=_STORE_IS_TRIED_SECONDS)
    if outcome.failed:
        _print_failures(outcome, shown.failures_told if as_json else outcome.failed)  # A table tells them, too.
    if outcome.failed or not is_kept:
        raise typer.Exit(1)


def _open_store(url: str | None, *, fresh: bool, only_planned: bool) -> Store | None:
    if url is None:
        return None
    from vtbench.stores import Store

    if fresh:
        raise UserError("--fresh begins another study, and --store goes on with the one that is there. Leave out one.")
    if only_planned:
        raise UserError("--store keeps what a study comes to, and nothing is run with --plan or --verify-resume.")
    return Store(url)


def _begin_mirror(store: Store, folder: Path, study: ResolvedStudy) -> Mirror:
    from vtbench.cli.loudness import tell, warn
    from vtbench.studies.mirror import Mirror, fetch_study

    fetch_study(store, folder, study, tell)
    return Mirror(store, folder, warn)


def _end_mirror(mirror: Mirror | None, *, within_seconds: float) -> bool:
    """Whether the store, if there is one, has everything; else it is said."""
    lacking = mirror.close(within_seconds=within_seconds) if mirror is not None else None
    if lacking is not None:
        say(lacking)
    return lacking is None


def _leave(code: int) -> NoReturn:
    """End the process here and now: taking torch down in good order takes seconds on a busy machine."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _print_failures(outcome: StudyOutcome, told: Container[str]) -> None:
    from vtbench.units import format_items

    for label, error in outcome.failed.items():
        if label not in told:
            say(f"{label}: {error}")
    say(
        f"\n{len(outcome.failed)} of {format_items(outcome.num_cells, 'cell')} failed. The same command with "
        "--retry-failed runs them again; their errors are kept beside them."
    )


def _check_cluster(text: str, *, plan: bool) -> None:
    from vtbench.studies.cluster_plan import parse_cluster

    parse_cluster(text)
    if not plan:
        raise UserError("--cluster says where a study that is planned is to run. Give --plan, too, or leave it out.")


def _plan(
    study: ResolvedStudy,
    folder: Path,
    session: Session,
    cluster: str | None,
    unmeasured: str | None,
    *,
    retry_failed: bool,
    as_json: bool,
) -> None:
    from vtbench.cli.cluster_output import list_cluster, print_cluster
    from vtbench.cli.study_output import list_plan, print_plan
    from vtbench.cli.waiting import tell_waiting
    from vtbench.documents.table import to_plain_json
    from vtbench.studies.cluster_plan import is_here, parse_cluster, plan_cluster
    from vtbench.studies.planning import ELSEWHERE, plan_study
    from vtbench.units import format_items

    asked = parse_cluster(cluster) if cluster is not None else None
    has_gpu = asked is not None and is_here(asked[1], study.execution.device)
    if asked is not None and not has_gpu:
        unmeasured = ELSEWHERE
    is_measured = unmeasured is None
    what = f"building {format_items(len(study.arms), 'arm')}{' and measuring some' if is_measured else ''}"
    session.stop.parting = session.stop.IN_A_PLAN
    with session.stop.on_signals(), tell_waiting(what):
        plan = plan_study(study, folder, session, retry_failed=retry_failed, unmeasured=unmeasured)
        there = None
        if asked is not None:
            there = plan_cluster(plan, *asked, is_measured=is_measured, could_measure=has_gpu)
    if session.stop.requested:
        raise typer.Exit(130)
    if as_json:
        extra = {"cluster": list_cluster(there)} if there is not None else {}
        typer.echo(to_plain_json(list_plan(plan) | extra), nl=False)
    elif there is not None:
        print_cluster(plan, there)
    else:
        print_plan(plan)


def _verify(study: ResolvedStudy, folder: Path, session: Session, *, as_json: bool) -> None:
    from vtbench.cli.loudness import tell
    from vtbench.cli.resume_output import list_verdicts, print_verdict
    from vtbench.documents.table import to_plain_json
    from vtbench.studies.verification import verify_resume

    checks = verify_resume(study, folder, session, report=tell)
    if as_json:
        typer.echo(to_plain_json(list_verdicts(checks)), nl=False)
    else:
        print_verdict(checks)
    if not all(check.is_proved for check in checks):
        raise typer.Exit(1)


def _open_session(executor: str, address: str | None, jobs: str, threads: int | None, ways: list[str]) -> Session:
    from vtbench.environment import count_started
    from vtbench.studies.executor import Session, open_executor
    from vtbench.studies.ways import check_ways
    from vtbench.training import StopRequest

    if count_started() > 1:  # They carry out one cell together, and then the next.
        if executor not in ("local", "in_process"):
            raise UserError(
                f"--executor was given {executor!r}, and torchrun's processes carry the cells out together. "
                "Leave out one of the two."
            )
        executor = "in_process"
    opened, at_once = open_executor(executor, address=address), _parse_jobs(jobs)
    return Session(opened, StopRequest(), jobs=at_once, threads=threads, ways=check_ways(ways))


def _give_threads(session: Session, threads: int, device: str) -> Session:
    """The session in which each cell has so many ``threads``."""
    affinity = session.executor.affinity(session.executor.settle_device(device))
    if affinity.is_queue:
        return replace(session, threads=threads)
    jobs = session.jobs or max(1, affinity.threads // threads)
    return replace(session, jobs=jobs, threads=jobs * threads)


def _parse_jobs(text: str) -> int | None:
    if text == "auto":
        return None
    jobs = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= jobs <= MOST_JOBS:
        raise UserError(f"--jobs was given {text!r}. Give a number of cells from 1 to {MOST_JOBS:,}, or auto.")
    return jobs
