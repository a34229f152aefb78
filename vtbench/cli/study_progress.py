"""The course of a study: the grid of arms and seeds above the running cells, or plain lines in a pipe."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import fmean

from rich.console import Group, RenderableType
from rich.text import Text

from vtbench.cli.progress import LiveDisplay, RunView, show_number
from vtbench.documents.table import NOTHING
from vtbench.documents.terminal import lay_out_live
from vtbench.metrics import METRICS
from vtbench.records import RunRecord
from vtbench.studies.cells import Cell
from vtbench.studies.events import CellEpoch, CellMessage, CellProgress, CellStarted, Event
from vtbench.studies.executor import CellResult
from vtbench.studies.running import StudyState
from vtbench.units import format_duration, format_items

_SECONDS_BETWEEN_LINES = 20.0
_WIDEST_GRID = 6
_FIRST_SENTENCE = 300


class StudyDisplay:
    """A `StudyWatcher` that shows the study in a `LiveDisplay`."""

    def __init__(self, display: LiveDisplay) -> None:
        self._display = display
        self._state: StudyState | None = None
        self._views: dict[Path, RunView] = {}
        self._records: dict[Path, RunRecord] = {}
        self._seconds: dict[str, list[float]] = {}
        self._last_line: dict[Path, float] = {}

    def on_set_aside(self, folder: Path) -> None:
        """Say where the old study is now."""
        self._display.say(f"The old study is in {folder} now.")

    def on_measuring(self) -> None:
        """Say why nothing seems to happen for a moment."""
        self._display.say("Measuring how to share this machine out among cells ...")

    def on_study(self, state: StudyState) -> None:
        """Say what is about to be done."""
        self._state, self._records = state, dict(state.records)
        study, placement = state.study, state.placement
        if state.took_over_from is not None:
            self._display.say(f"The study was left by {state.took_over_from}, which is dead; going on with it.")
        done = len(state.cells) - len(state.open_cells)
        self._display.say(
            f"{study.name}: {len(state.cells)} cells (arms x seeds: {len(study.arms)} x {study.seeds}), "
            f"{done} done before"
        )
        self._display.say(f"on {study.data.spec}, recipe {study.recipe.name}, epochs: {study.recipe.epochs}")
        if state.note is not None:
            self._display.say(state.note)
        measured = ", ".join(f"{m.jobs} x {m.threads}: {m.images_per_second:.0f} images/s" for m in placement.measured)
        self._display.say(
            f"{placement.jobs} at once, {format_items(placement.threads, 'thread')} each "
            f"({placement.reason}{f'; {measured}' if measured else ''})"
        )
        self.on_turn()

    def on_begin(self, cell: Cell) -> None:
        """Show a line for the cell."""
        self._views[cell.folder] = self._display.show(cell.label, cell.task)
        self._last_line[cell.folder] = time.monotonic()
        if not self._display.live:
            self._say(cell, "begins")

    def on_event(self, cell: Cell, event: Event) -> None:
        """Move the line of the cell; where no line moves, print one now and then."""
        view = self._views[cell.folder]
        if isinstance(event, CellStarted):
            view.begin(event.run)
            if event.run.first_epoch and not self._display.live:
                self._say(cell, f"goes on in epoch {event.run.first_epoch + 1}")
        elif isinstance(event, CellProgress):
            view.move(event.progress)
        elif isinstance(event, CellEpoch):
            view.end_epoch(event.epoch, event.timing)
            self._print_epoch(cell, view)
        elif isinstance(event, CellMessage):
            self._say(cell, event.text)

    def on_end(self, result: CellResult) -> None:
        """Take the line of the cell away and say what came of it."""
        self._display.drop(result.cell.label)
        self._views.pop(result.cell.folder)
        if result.status == "finished":
            self._seconds.setdefault(result.cell.arm, []).append(result.seconds)
        elif result.status == "stopped":
            self._say(result.cell, "stopped and saved")
        else:
            self._say(result.cell, f"FAILED: {(result.error or 'unknown')[:_FIRST_SENTENCE]}")

    def on_record(self, cell: Cell, record: RunRecord) -> None:
        """Fill the cell of the grid in."""
        self._records[cell.folder] = record
        if record.status == "finished":
            self._say(cell, f"finished with {_show_headline(record)} {record.metric.unit}")

    def on_turn(self) -> None:
        """Draw the grid anew."""
        if self._state is not None and self._display.live:
            self._display.above = self._render(self._state)

    def seconds_left(self) -> float | None:
        """The time that the study still needs: the rest of the running cells and all of the waiting ones, shared out.

        A waiting cell takes as long as finished ones of its arm did, or as any cell does that is known.
        """
        if self._state is None:
            return None
        running = [view.seconds_left() for view in self._views.values()]
        whole = [seconds for many in self._seconds.values() for seconds in many]
        whole += [
            view.epochs * fmean(view.seconds_of_epochs) for view in self._views.values() if view.seconds_of_epochs
        ]
        if not whole:
            return None
        waiting = [c for c in self._state.open_cells if c.folder not in self._records and c.folder not in self._views]
        rest = sum(fmean(self._seconds.get(cell.arm, whole)) for cell in waiting) + sum(left or 0.0 for left in running)
        return max(rest / self._state.placement.jobs, max((left or 0.0 for left in running), default=0.0))

    def _print_epoch(self, cell: Cell, view: RunView) -> None:
        if self._display.live or time.monotonic() - self._last_line[cell.folder] < _SECONDS_BETWEEN_LINES:
            return
        self._last_line[cell.folder] = time.monotonic()
        left = self.seconds_left()
        self._say(
            cell,
            f"epoch {view.epoch}/{view.epochs}  loss {show_number(view.loss)}  val {view.metric.show(view.val or 0.0)}"
            + (f"; study: {format_duration(left)} left" if left else ""),
        )

    def _say(self, cell: Cell, text: str) -> None:
        total = len(self._state.cells) if self._state else 0
        done = sum(record.status == "finished" for record in self._records.values())
        self._display.say(f"[{done}/{total}] {cell.label}: {text}")

    def _render(self, state: StudyState) -> RenderableType:
        done = sum(record.status == "finished" for record in self._records.values())
        failed = len(self._records) - done
        left = self.seconds_left()
        title = f"{state.study.name}: {done} of {len(state.cells)} cells done"
        title += f", {failed} failed" if failed else ""
        title += f", {format_duration(left)} left" if left else ""
        return Group(Text(title, style="bold"), self._render_grid(state), Text(""))

    def _render_grid(self, state: StudyState) -> RenderableType:
        wide = state.study.seeds > _WIDEST_GRID
        columns = ("done", "mean") if wide else [f"seed {seed}" for seed in range(state.study.seeds)]
        rows = []
        for arm in state.study.arms:
            cells = [cell for cell in state.cells if cell.arm == arm]
            rows.append([arm, *(self._sum_up(cells) if wide else [self._show_cell(cell) for cell in cells])])
        return lay_out_live((f"val {METRICS[state.study.task][0].unit}", *columns), rows)

    def _show_cell(self, cell: Cell) -> str:
        record, view = self._records.get(cell.folder), self._views.get(cell.folder)
        if record is not None:
            return _show_headline(record)
        return "·" if view is None else f"{100 * view.done:.0f} %…"

    def _sum_up(self, cells: list[Cell]) -> list[str]:
        records = [self._records[cell.folder] for cell in cells if cell.folder in self._records]
        known = [value for record in records if isinstance(value := record.headline, float)]
        return [f"{len(known)}/{len(cells)}", records[0].metric.format(fmean(known)) if known else NOTHING]


def _show_headline(record: RunRecord) -> str:
    return record.metric.format(record.headline) if isinstance(record.headline, float) else "failed"
