"""What ``vtbench watch`` shows: the grid of each study, and a line for each run under way or in trouble."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from vtbench.cli.progress import RunView, list_cells_of
from vtbench.cli.study_clock import StudyClock
from vtbench.cli.study_grid import StudyGrid
from vtbench.documents.table import NOTHING, escape_controls
from vtbench.documents.terminal import lay_out_live
from vtbench.metrics import METRICS
from vtbench.records import CostRecord
from vtbench.reporting.found_folders import find_folders
from vtbench.reporting.live_runs import LiveRun, RunReader
from vtbench.run_folder import PLACEMENT, RECORD, STUDY
from vtbench.studies.cells import Cell, ResolvedStudy
from vtbench.studies.placement import Placement
from vtbench.studies.tuning import find_stage
from vtbench.training.folder import describe_other
from vtbench.units import format_duration

_MEMORY_EPOCHS = 5
_FIRST_SENTENCE = 300
_LIVELY = ("running", "silent", "killed", "stopped")
_STYLES = {"silent": "bold red", "killed": "bold red", "failed": "bold red", "stopped": "yellow"}


@dataclass(frozen=True)
class WatchedStudy:
    """A study in its folder, and its cells as they stand."""

    folder: Path
    study: ResolvedStudy
    cells: tuple[Cell, ...]
    runs: tuple[LiveRun, ...]
    jobs: int
    shares_at_the_end: bool = False

    def sum_up(self) -> StudyGrid:
        """The grid, with the time that is left as the study itself would tell it."""
        ended = {cell.folder: run.record for cell, run in zip(self.cells, self.runs, strict=True) if run.record}
        views = {
            cell.folder: (cell, view_run(run, cell.label))
            for cell, run in zip(self.cells, self.runs, strict=True)
            if run.state == "running"
        }
        begun = {
            cell.folder: view_run(run, cell.label).done
            for cell, run in zip(self.cells, self.runs, strict=True)
            if run.state in _LIVELY
        }
        left = self._estimate(views) if views else None
        return StudyGrid(self.study, self.cells, ended, begun, left, place=self.folder)

    def _estimate(self, views: dict[Path, tuple[Cell, RunView]]) -> float | None:
        clock = StudyClock(self.jobs, _count_nothing, shares_at_the_end=self.shares_at_the_end)
        for cell, run in zip(self.cells, self.runs, strict=True):
            if run.record is not None:
                clock.note_costs(cell, run.record)
            if run.state == "finished" and run.timings:
                clock.finish(cell, sum(timing.seconds for timing in run.timings))
            if cell.folder in views:
                clock.begin(cell)
        waiting = [
            cell
            for cell, run in zip(self.cells, self.runs, strict=True)
            if run.record is None and cell.folder not in views
        ]
        return clock.seconds_left(views, waiting)


def _count_nothing(variant: str, image_size: tuple[int, int], num_classes: int) -> CostRecord:
    raise LookupError("a watcher counts nothing: it shows what is on file")


def view_run(run: LiveRun, label: str) -> RunView:
    """The run as a display of `train` would have it."""
    config, task = run.config, run.record.task if run.record is not None else _find_task(run)
    view = RunView(label, METRICS[task][0])
    if config is not None:
        view.epochs = config.recipe.epochs
    view.epoch, view.part = len(run.epochs), run.part
    view.images_per_second = run.images_per_second or (run.timings[-1].train_images_per_second if run.timings else None)
    view.seconds_of_epochs = [timing.seconds for timing in run.timings[-_MEMORY_EPOCHS:]]
    if run.epochs:
        last = run.epochs[-1]
        view.loss, view.val = last.train["loss"], last.outcome.get(view.metric.key)
    return view


def _find_task(run: LiveRun) -> str:
    """The task whose headline metric the epochs have; which it is matters only once there is one."""
    keys = run.epochs[-1].outcome if run.epochs else {}
    return next((task for task in METRICS if METRICS[task][0].key in keys), next(iter(METRICS)))


@dataclass
class Watch:
    """Looks at folders again and again. ``folders`` are studies, runs, or folders of them."""

    folders: Sequence[Path]
    reader: RunReader = field(default_factory=RunReader)

    def look(self) -> tuple[list[WatchedStudy], list[LiveRun], list[str]]:
        """All studies and single runs as they stand, and what cannot be read."""
        studies, runs, problems = [], [], []
        for kind, folder in dict.fromkeys(find_folders(*self.folders)):
            if kind == "run":
                runs.append(self.reader.look(folder))
                continue
            try:
                studies.append(self._look_at_study(folder))
            except ValueError as error:
                problems.append(f"{folder / STUDY}: {error}")
        return studies, runs, problems

    def list_runs(self) -> list[dict[str, Any]]:
        """Every run, and every cell of every study, as plain values; None where there is no number yet."""
        studies, runs, _ = self.look()
        cells = [
            (run, cell.label, watched)
            for watched in studies
            for cell, run in zip(watched.cells, watched.runs, strict=True)
        ]
        return [_list_facts(*one) for one in (*cells, *((run, name, None) for run, name in _name_runs(runs)))]

    def _look_at_study(self, folder: Path) -> WatchedStudy:
        study = self.reader.read(folder / STUDY, lambda path: ResolvedStudy.model_validate_json(path.read_bytes()))
        if study is None:
            raise ValueError("it is gone")
        placement = self.reader.read(folder / PLACEMENT, lambda path: Placement.model_validate_json(path.read_bytes()))
        cells = find_stage(study, folder, lambda cell: self._look_at_cell(cell).record).cells
        runs = tuple(self._look_at_cell(cell) for cell in cells)
        jobs, shares = (1, False) if placement is None else (placement.jobs, placement.shares_at_the_end)
        return WatchedStudy(folder, study, cells, runs, jobs, shares)

    def _look_at_cell(self, cell: Cell) -> LiveRun:
        """The run of a cell; a record that is that of another run is a problem, and no result."""
        run = self.reader.look(cell.folder)
        other = describe_other(run.record, cell.config, arm=cell.arm) if run.record is not None else None
        if other is None:
            return run
        return LiveRun(cell.folder, "failed", problem=f"{RECORD} is the record of another run: {other}")

    def render(self) -> RenderableType:
        """What there is to see now."""
        studies, runs, problems = self.look()
        parts: list[RenderableType] = []
        for watched in studies:
            parts.append(watched.sum_up().render())
            lively = [
                (run, cell.label) for cell, run in zip(watched.cells, watched.runs, strict=True) if run.state in _LIVELY
            ]
            parts += _render_runs(lively)
            parts += _explain((run, cell.label) for cell, run in zip(watched.cells, watched.runs, strict=True))
        parts += _render_runs(_name_runs(runs))
        parts += _explain(_name_runs(runs))
        parts += [Text(escape_controls(problem), style="bold red") for problem in problems]
        if not (studies or runs or problems):
            places = ", ".join(map(str, self.folders))
            parts.append(Text(escape_controls(f"There is no run or study beneath {places} yet.")))
        return Group(*parts)


def _name_runs(runs: Sequence[LiveRun]) -> list[tuple[LiveRun, str]]:
    """Each run by the name of its folder, or by the whole path where another's has the same name."""
    times = Counter(run.folder.name for run in runs)
    return [(run, run.folder.name if times[run.folder.name] == 1 else str(run.folder)) for run in runs]


def _list_facts(run: LiveRun, label: str, watched: WatchedStudy | None) -> dict[str, Any]:
    view = view_run(run, label)
    return {
        "study": None if watched is None else watched.study.name,
        "study_folder": None if watched is None else str(watched.folder),
        "run": label,
        "folder": str(run.folder),
        "state": run.state,
        "epoch": len(run.epochs),
        "epochs": view.epochs or None,
        "loss": view.loss,
        view.metric.key: view.val,
        "images_per_second": view.images_per_second,
        "seconds_left": view.seconds_left() if run.state == "running" else None,
        "silent_seconds": run.silent_seconds if run.state in ("running", "silent", "killed") else None,
        "problem": run.problem,
    }


def _render_runs(labelled: Sequence[tuple[LiveRun, str]]) -> list[RenderableType]:
    if not labelled:
        return []
    metrics = dict.fromkeys(view_run(run, label).metric.unit for run, label in labelled)
    header = ("run", "epoch", "train\nloss", f"val {'/'.join(metrics)}", "images/s", "left", "state")
    rows: list[tuple[RenderableType, ...]] = []
    for run, label in labelled:
        name, epoch, *cells, left = list_cells_of(view_run(run, label))
        shown = left if run.state == "running" else ""
        epoch = epoch if run.config is not None or run.state == "running" else NOTHING
        rows.append((name, epoch, *cells, shown, Text(_describe(run), style=_STYLES.get(run.state, ""))))
    return [lay_out_live(header, rows), Text("")]


def _describe(run: LiveRun) -> str:
    if run.state == "silent":
        return f"no sign of life for {format_duration(run.silent_seconds)}"
    return "starts" if run.state == "running" and not run.epochs and not run.images_per_second else run.state


def _explain(labelled: Iterable[tuple[LiveRun, str]]) -> list[RenderableType]:
    """Why runs failed and where they lie, a line each."""
    failed = [(run, label) for run, label in labelled if run.state == "failed"]
    texts = (f"{label}: FAILED: {(run.problem or 'unknown')[:_FIRST_SENTENCE]} ({run.folder})" for run, label in failed)
    return [Text(escape_controls(text)) for text in texts]
