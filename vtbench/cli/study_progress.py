"""The course of a study: the grid of arms and seeds above the running cells, or plain lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import RenderableType

from vtbench.cli.progress import LiveDisplay, RunView, show_number
from vtbench.cli.study_clock import CountCosts, StudyClock
from vtbench.cli.study_grid import StudyGrid, show_headline
from vtbench.records import RunRecord
from vtbench.run_folder import CHECKPOINTS
from vtbench.settings import read_settings, spell_setting
from vtbench.stats.stopping import Decision, describe_decision
from vtbench.studies.cells import Cell
from vtbench.studies.events import CellEpoch, CellMessage, CellProgress, CellStarted, Event
from vtbench.studies.executor import CellResult
from vtbench.studies.running import StudyState
from vtbench.units import format_duration, format_items

_SECONDS_BETWEEN_LINES = 20.0


class StudyDisplay:
    """A `StudyWatcher` that shows the study in a `LiveDisplay`.

    ``on_begin`` is called when all is decided, and ``turn_to`` with what is done, from a step of it on; by default that
    is said.
    """

    def __init__(
        self,
        display: LiveDisplay,
        count: CountCosts,
        on_begin: Callable[[], None] = lambda: None,
        turn_to: Callable[[str], None] | None = None,
    ) -> None:
        self._display, self._count, self._on_begin = display, count, on_begin
        self._turn_to = turn_to or (lambda what: display.say(f"{what[:1].upper()}{what[1:]} ..."))
        self._state: StudyState | None = None
        self._clock: StudyClock | None = None
        self._running: dict[Path, tuple[Cell, RunView]] = {}
        self._records: dict[Path, RunRecord] = {}
        self._last_line: dict[Path, float] = {}
        self.failures_told: set[str] = set()

    def on_set_aside(self, folder: Path) -> None:
        """Say where the old study is now."""
        self._display.say(f"The old study is in {folder} now.")

    def on_measuring(self) -> None:
        """Say why nothing seems to happen for a moment."""
        self._turn_to("measuring how to share this machine out among cells")

    def on_study(self, state: StudyState) -> None:
        """Say what is about to be done."""
        if self._state is None:
            self._on_begin()
        self._state, self._records = state, dict(state.records)
        study, placement = state.study, state.placement
        self._clock = StudyClock(
            placement.jobs, self._count, state.facts, shares_at_the_end=placement.shares_at_the_end
        )
        for cell in state.cells:
            if (record := state.records.get(cell.folder)) is not None:
                self._clock.note_costs(cell, record)
        if state.took_over_from is not None:
            self._display.say(f"The study was left by {state.took_over_from}, which is dead; going on with it.")
        done = len(state.cells) - len(state.open_cells)
        self._say_stage(state, done)
        self._display.say(
            f"on {state.facts.name_data(len(study.arms))}, recipe {study.recipe.name}, "
            f"{format_items(study.recipe.epochs, 'epoch')}"
        )
        if state.facts.note is not None:
            self._display.say(state.facts.note)
        measured = "; ".join(
            (placement.reason, *([", ".join(map(str, placement.measured))] if placement.measured else ()))
        )
        self._display.say(f"{placement.at_once} ({measured})")
        for tried in placement.tried:
            self._display.say(str(tried))
        self.on_turn()

    def on_look(self, seeds: int, decisions: Mapping[str, Decision | None]) -> None:
        """Say what a look has decided."""
        for arm, one in decisions.items():
            if one is None:
                self._display.say(f"Look at {seeds} seeds: {arm} cannot be judged, it lacks a seed")
            elif one.estimate.n == seeds:
                self._display.say(f"Look at {seeds} seeds: {arm} {describe_decision(one)}")

    def _say_stage(self, state: StudyState, done: int) -> None:
        """What is about to be run, and in a study that was tuned with which settings."""
        study, tuning = state.study, state.study.tuning
        if tuning is None or state.stage is None or state.stage.is_last:
            self._display.say(
                f"{study.name}: {format_items(len(state.cells), 'cell')} (arms x seeds: {len(study.arms)} x "
                f"{study.seeds}), "
                f"{done} done before"
            )
            own = {
                cell.arm: read_settings(cell.config.data, cell.config.recipe, tuning.settings if tuning else ())
                for cell in state.cells
            }
            for arm, values in own.items() if tuning is not None else ():
                self._display.say(f"{arm}: tuned to {', '.join(f'{k}={spell_setting(v)}' for k, v in values.items())}")
            return
        length = f" over {format_items(tuning.epochs, 'epoch')}" if tuning.epochs is not None else ""
        self._display.say(
            f"{study.name}: {state.stage.name}: {format_items(len(state.cells), 'run')} of "
            f"{format_items(len(study.arms), 'arm')}{length}, validated on "
            f"{100 * tuning.held_out:g} % of the training split; {done} done before"
        )

    def on_begin(self, cell: Cell) -> None:
        """Show a line for the cell."""
        self._running[cell.folder] = cell, self._display.show(cell.label, cell.task)
        if self._clock is not None:
            self._clock.begin(cell)
        self._last_line[cell.folder] = time.monotonic()
        if not self._display.live:
            self._say(cell, "begins")

    def on_event(self, cell: Cell, event: Event) -> None:
        """Move the line of the cell; where no line moves, print one now and then."""
        _, view = self._running[cell.folder]
        if isinstance(event, CellStarted):
            view.begin(event.run)
            if self._clock is not None:
                self._clock.start(cell, event.run)
            if event.run.first_epoch and not self._display.live:
                self._say(cell, f"goes on in epoch {event.run.first_epoch + 1}")
        elif isinstance(event, CellProgress):
            view.move(event.progress)
        elif isinstance(event, CellEpoch):
            view.end_epoch(event.epoch, event.timing)
            self._print_epoch(cell, view)
        elif isinstance(event, CellMessage):
            self._say(cell, event.text)
        self._display.refresh()

    def on_end(self, result: CellResult) -> None:
        """Take the line of the cell away and say what came of it."""
        self._display.drop(result.cell.label)
        self._running.pop(result.cell.folder)
        if result.status == "finished":
            if self._clock is not None:
                self._clock.finish(result.cell, result.seconds)
        elif result.status == "stopped":
            saved = any((result.cell.folder / CHECKPOINTS).glob("*"))
            self._say(result.cell, "stopped and saved" if saved else "stopped before there was anything to save")
        else:
            error = result.error or "unknown"
            self._say(result.cell, f"FAILED: {error}")
            self.failures_told |= set() if self._display.console.quiet else {result.cell.label}

    def on_record(self, cell: Cell, record: RunRecord) -> None:
        """Fill the cell of the grid in."""
        self._records[cell.folder] = record
        if record.status == "finished":
            self._say(cell, f"finished with {show_headline(record)} {record.metric.unit}")

    def on_turn(self) -> None:
        """Draw the grid anew, and count an arm that the time left needs."""
        if self._state is None or self._clock is None:
            return
        if self._running:
            self._clock.count_next(self._state.open_cells)
        if self._display.live:
            self._display.above = self._render(self._state)
            self._display.refresh()

    def seconds_left(self) -> float | None:
        """The time that the study still needs, as `StudyClock` has it."""
        if self._state is None or self._clock is None:
            return None
        begun = self._records.keys() | self._running.keys()
        return self._clock.seconds_left(self._running, [c for c in self._state.open_cells if c.folder not in begun])

    def _print_epoch(self, cell: Cell, view: RunView) -> None:
        if self._display.live or time.monotonic() - self._last_line[cell.folder] < _SECONDS_BETWEEN_LINES:
            return
        self._last_line[cell.folder] = time.monotonic()
        left = self.seconds_left()
        self._say(
            cell,
            f"epoch {view.epoch}/{view.epochs}  train loss {show_number(view.loss)}  "
            f"val {view.metric.show(view.val or 0.0)}" + (f"; study: {format_duration(left)} left" if left else ""),
        )

    def _say(self, cell: Cell, text: str) -> None:
        total = len(self._state.cells) if self._state else 0
        done = sum(record.status == "finished" for record in self._records.values())
        self._display.say(f"[{done}/{total}] {cell.label}: {text}")

    def _render(self, state: StudyState) -> RenderableType:
        parts = {folder: view.done for folder, (_, view) in self._running.items()}
        return StudyGrid(state.study, state.cells, self._records, parts, self.seconds_left()).render()
