"""`run_study`: every cell of a study, and its report."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vtbench.api.asking import read_execution, read_options
from vtbench.mistakes import read_count, read_path
from vtbench.run_options import StudyOptions
from vtbench.units import format_items

if TYPE_CHECKING:
    from pandas import DataFrame

    from vtbench.api.reports import RunsReport
    from vtbench.studies.running import StudyOutcome
    from vtbench.studies.study import Study


@dataclass(frozen=True, repr=False)
class StudyRun:
    """A study in its folder. ``outcome`` counts its cells and holds the error of each that failed."""

    folder: Path
    outcome: StudyOutcome

    @property
    def runs(self) -> DataFrame:
        """One row a run, as `vtbench.load_runs` reads them."""
        from vtbench.api.tables import load_runs

        return load_runs(self.folder)

    def report(self, *, against: str | None = None) -> RunsReport:
        """The comparison of its arms, as `vtbench.report` makes it."""
        from vtbench.api.reports import report

        return report(self.folder, against=against)

    def __repr__(self) -> str:
        failed = f", {len(self.outcome.failed)} failed" if self.outcome.failed else ""
        cells = format_items(self.outcome.num_cells, "cell")
        return f"StudyRun({self.folder}: {self.outcome.finished} of {cells} finished{failed})"

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()


def run_study(
    study: str | Path | Mapping[str, Any] = "components",
    out: str | Path | None = None,
    *,
    name: str | None = None,
    data: str | None = None,
    recipe: str | None = None,
    epochs: int | None = None,
    teacher: str | None = None,
    init: str | None = None,
    freeze: list[str] | None = None,
    limit_train: int | None = None,
    limit_val: int | None = None,
    image_size: int | None = None,
    settings: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    label_smoothing: float | None = None,
    clip: float | None = None,
    base: str | None = None,
    arm: list[str] | None = None,
    seeds: int | None = None,
    until: Literal["decided"] | None = None,
    smallest_effect: float | None = None,
    max_seeds: int | None = None,
    threads: int | None = None,
    jobs: int | None = None,
    ways: Sequence[str] = (),
    executor: str = "local",
    device: str = "auto",
    devices: int = 1,
    workers: int = 0,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    channels_last: bool = True,
    compile: bool = False,
    accumulate: int = 1,
    eval_batch_size: int | None = None,
    shard_optimizer: bool = False,
    uncounted: bool = False,
    fresh: bool = False,
    retry_failed: bool = False,
    track: str | Sequence[str] | None = None,
    progress: bool = True,
) -> StudyRun:
    """Run every cell of ``study`` that its folder lacks, as ``vtbench ablate`` does.

    ``study`` is the name of one that comes with vtbench, the path of a study file, or what such a file holds as a
    dictionary, which ``name`` names. The folder ``out`` is ``runs/NAME`` where it is None. The options are those of the
    command line; ``jobs`` None measures how many cells at once are fastest, and ``ways`` is ``--try``: what all arms
    take if it is faster. The same call again goes on where a study was interrupted or killed; more seeds or arms
    extend it. Cells that failed are warned of. ``track`` names trackers
    that are told of every cell and of the final table, such as "mlflow".

    Raises `vtbench.errors.UserError` for what cannot be used, before anything is written.

    >>> import vtbench
    >>> question = {
    ...     "question": "Is twice as wide better?",
    ...     "arms": {"narrow": "resnet20:width=2", "wide": "resnet20:width=4"},
    ...     "data": "scenes:num_train=20,num_val=10",
    ... }
    >>> study = vtbench.run_study(
    ...     question, name="width", recipe="small", epochs=1, seeds=1, jobs=1, executor="in_process", progress=False
    ... )
    >>> study
    StudyRun(runs/width: 2 of 2 cells finished)
    >>> study.runs["arm"].tolist()
    ['narrow', 'wide']
    """
    given = dict(locals())
    from vtbench.api.told import tell_trackers
    from vtbench.cli.tracked_study import TrackedStudy
    from vtbench.reporting.report import build_report
    from vtbench.reporting.tables import tabulate_summary
    from vtbench.studies.deciding import carry_out_study
    from vtbench.studies.executor import Session, open_executor
    from vtbench.studies.resolution import resolve_study
    from vtbench.studies.ways import check_ways
    from vtbench.training import StopRequest

    called, asked, file = _find(study, name)
    jobs = None if jobs is None else read_count("vtbench.run_study: jobs", jobs)
    options = read_options(StudyOptions, given, "run_study")
    execution = read_execution({key: value for key, value in given.items() if key != "threads"}, "run_study")
    session = Session(open_executor(executor), StopRequest(), jobs=jobs, threads=options.threads, ways=check_ways(ways))
    resolved = resolve_study(
        called,
        asked,
        options,
        execution,
        file=file,
        in_python=isinstance(study, Mapping),
        settle_device=session.executor.settle_device,
        runs_here=session.executor.runs_here,
    )
    folder = read_path("vtbench.run_study: out", out) if out is not None else Path("runs") / called
    with tell_trackers(track, folder, called) as tracking:
        with _show(progress) as shown:
            outcome = carry_out_study(
                resolved,
                folder,
                session,
                watcher=TrackedStudy(shown, tracking),
                on_look=shown.on_look,
                retry_failed=retry_failed,
                fresh=fresh,
            )
            shown.on_turn()  # The last frame stays.
        if track and outcome.finished:
            tracking.conclude(f"{called}: report", tabulate_summary(build_report(folder).comparisons[0]))
    for label, error in outcome.failed.items():
        warnings.warn(f"The cell {label} failed: {error} retry_failed=True runs it again.", stacklevel=2)
    return StudyRun(folder, outcome)


def _find(study: str | Path | Mapping[str, Any], name: str | None) -> tuple[str, Study, str | None]:
    """What the study is called, what it says, and its file where it is one of the user's."""
    from vtbench.studies.study import Study, find_study, is_study_file
    from vtbench.written import validate_configuration

    if isinstance(study, Mapping):
        return name or "study", validate_configuration(Study, study, source="The study"), None
    called, found = find_study(str(study))
    return name or called, found, str(study) if is_study_file(str(study)) else None


def _show(progress: bool) -> Any:
    import os
    from contextlib import contextmanager
    from pathlib import Path

    from vtbench.cli.progress import LiveDisplay
    from vtbench.cli.study_progress import StudyDisplay
    from vtbench.documents.terminal import open_console
    from vtbench.profiling import count_costs

    @contextmanager
    def show() -> Any:
        with Path(os.devnull).open("w") as nowhere:
            console = open_console(None if progress else nowhere)
            with LiveDisplay(console) as display:
                yield StudyDisplay(display, count_costs)

    return show()
