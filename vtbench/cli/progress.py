"""The live display of runs, on a terminal and in a pipe. `train` shows one run, `ablate` many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from vtbench.documents.table import NOTHING, escape_controls
from vtbench.documents.terminal import lay_out_live
from vtbench.metrics import METRICS, Metric
from vtbench.records import EpochRecord, RunRecord, TimingRecord
from vtbench.training import BatchProgress, ProgressListener, RunStart
from vtbench.units import format_duration, format_fine, format_items

_REFRESHES_PER_SECOND = 4
_MEMORY_EPOCHS = 5
_WIDE_BAR_WIDTH = 40
_BAR_WIDTH = 8  # The longest line then just fits 80 columns.


@dataclass
class RunView:
    """What is shown of one run. Epochs and batches count from 0."""

    label: str
    metric: Metric
    epochs: int = 0
    epoch: int = 0
    part: float = 0.0
    loss: float | None = None
    train: float | None = None
    val: float | None = None
    images_per_second: float | None = None
    num_train: int = 0
    seconds_of_epochs: list[float] = field(default_factory=list)

    def begin(self, start: RunStart) -> None:
        """Data and network are ready."""
        self.epochs, self.epoch, self.num_train = start.epochs, start.first_epoch, start.num_train

    def move(self, progress: BatchProgress) -> None:
        """Some batches are done."""
        self.epoch, self.part = progress.epoch, progress.batch / progress.num_batches
        self.loss, self.train = progress.train["loss"], progress.train[self.metric.key]
        self.images_per_second = progress.images_per_second

    def end_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        """An epoch is trained and evaluated."""
        self.epoch, self.part, self.loss = epoch.epoch + 1, 0.0, epoch.train["loss"]
        self.val = epoch.outcome[self.metric.key]
        self.seconds_of_epochs = [*self.seconds_of_epochs, timing.seconds][-_MEMORY_EPOCHS:]

    @property
    def done(self) -> float:
        """The part of the run that is done, from 0 to 1."""
        return min((self.epoch + self.part) / self.epochs, 1.0) if self.epochs else 0.0

    def seconds_left(self) -> float | None:
        """The time that this run still needs, from its last epochs, or from its speed while it is in the first."""
        left = self.epochs - self.epoch - self.part
        if self.seconds_of_epochs:
            return left * sum(self.seconds_of_epochs) / len(self.seconds_of_epochs)
        return left * self.num_train / self.images_per_second if self.images_per_second else None


class LiveDisplay:
    """Shows runs while the block runs: ``with LiveDisplay(Console()) as display``.

    On a terminal it is, from the first run on, one live block: ``above`` (any rich renderable, for example the grid of
    a study), which stays at the end, then a line for each run under way. In a pipe nothing is redrawn; what is said
    with `say` appears as lines.

    It is redrawn by `refresh`, in the thread that also says things: rich measures what it has to erase before it
    writes, and of two threads one would erase by the measure of the other.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.above: RenderableType | None = None
        self._views: dict[str, RunView] = {}
        self._live = Live(console=console, get_renderable=self._render, auto_refresh=False, transient=True)
        self._drawn = -math.inf

    def __enter__(self) -> LiveDisplay:
        return self

    def __exit__(self, *problem: object) -> None:
        was_shown = self._live.is_started
        self._live.stop()
        if was_shown and self.above is not None:
            self.console.print(self.above)

    @property
    def live(self) -> bool:
        """Whether there is a terminal to redraw."""
        return self.console.is_terminal and not self.console.quiet

    def show(self, label: str, task: str) -> RunView:
        """Start to show a run; change the view that is returned and the display follows."""
        self._views[label] = RunView(label, METRICS[task][0])
        if self.live and not self._live.is_started:
            self._live.start()
        return self._views[label]

    def refresh(self) -> None:
        """Draw the live block anew, if there is one and it is time to."""
        if self._live.is_started and time.monotonic() - self._drawn > 1 / _REFRESHES_PER_SECOND:
            self._live.refresh()
            self._drawn = time.monotonic()

    def drop(self, label: str) -> None:
        """A run has ended: show it no longer."""
        self._views.pop(label, None)

    def say(self, text: str) -> None:
        """Print lines that stay, above the live block."""
        piped = not self.console.is_terminal
        self.console.print(Text(escape_controls(text)), soft_wrap=piped, overflow="ignore" if piped else "fold")

    def _render(self) -> RenderableType:
        views = list(self._views.values())
        lines = _line_of(views[0]) if len(views) == 1 and self.above is None else _table_of(views)
        return Group(self.above, lines) if self.above is not None else lines


class RunDisplay(ProgressListener):
    """Shows one run. ``on_begin`` is called when it begins.

    ``epochs_before`` is how many epochs were done by then, None where the run did not begin, since it had finished.
    """

    def __init__(self, display: LiveDisplay, on_begin: Callable[[], None] = lambda: None) -> None:
        self._display, self._on_begin = display, on_begin
        self.epochs_before: int | None = None
        self._view: RunView

    def on_start(self, start: RunStart) -> None:
        """Say what is trained, and where it goes on."""
        self._on_begin()
        self.epochs_before = start.first_epoch
        images, classes = format_items(start.num_train, "image"), format_items(start.num_classes, "class", "classes")
        self._display.say(
            f"{start.variant}, seed {start.seed}: {format_items(start.epochs, 'epoch')} of {images} "
            f"in {classes}, {start.num_val:,} to validate, on {start.device}"
        )
        if start.first_epoch or start.first_batch:
            done = f" after {format_items(start.first_batch, 'batch', 'batches')}" if start.first_batch else ""
            self._display.say(f"Going on in epoch {start.first_epoch + 1}{done}")
        self._view = self._display.show(start.variant, start.task)
        self._view.begin(start)

    def on_batch(self, progress: BatchProgress) -> None:
        """Move the line."""
        self._view.move(progress)
        self._display.refresh()

    def on_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        """Move the line, or print one where none moves."""
        metric = self._view.metric
        self._view.end_epoch(epoch, timing)
        self._display.refresh()
        if not self._display.live:
            left = self._view.seconds_left()
            self._display.say(
                f"epoch {epoch.epoch + 1}/{self._view.epochs}  train loss {epoch.train['loss']:.4f}  "
                f"train {metric.show(epoch.train[metric.key])}  "
                f"val {metric.show(epoch.outcome[metric.key])}  "
                f"{format_fine(timing.train_images_per_second, digits=0)} images/s"
                + (f"  {format_duration(left)} left" if left else "")
            )

    def on_message(self, text: str) -> None:
        """Print it."""
        self._display.say(text)

    def on_finish(self, record: RunRecord) -> None:
        """The line goes; the verb prints the summary."""
        self._display.drop(record.variant)


def _line_of(view: RunView) -> RenderableType:
    cells: list[RenderableType] = [f"epoch {min(view.epoch + 1, view.epochs)}/{view.epochs}"]
    cells.append(draw_bar(view.done, _BAR_WIDTH))
    cells += [f"loss {show_number(view.loss)}"]
    if view.val is not None:
        cells.append(f"val {view.metric.show(view.val, digits=view.metric.digits - 1)}")
    elif view.train is not None:
        cells.append(f"train {view.metric.show(view.train, digits=view.metric.digits - 1)}")
    cells += [_speed(view), _left(view)]
    return lay_out_live([""] * len(cells), [cells])


def draw_bar(part: float, width: int) -> Text:
    """How much is done, from 0 to 1: told by its lines, so that it needs no colours."""
    done = int(part * width)
    return Text.assemble(("━" * done, "bar.complete"), ("─" * (width - done), "bar.back"))


class _BarColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return draw_bar(task.percentage / 100, _WIDE_BAR_WIDTH)


def open_bar(console: Console) -> Progress:
    """A bar for work of known length, with the time that is left; gone in the end, and none in a pipe."""
    return Progress(
        TextColumn("{task.description}"),
        _BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=console.quiet or not console.is_terminal,
    )


def _table_of(views: list[RunView]) -> RenderableType:
    if not views:
        return Text("")
    header = ("run", "epoch", "train\nloss", f"val {views[0].metric.unit}", "images/s", "left")
    return lay_out_live(header, [list_cells_of(view) for view in views])


def list_cells_of(view: RunView) -> tuple[str, ...]:
    """What a table says of a run: its label, epoch, training loss, validation, speed, and the time that is left."""
    val = NOTHING if view.val is None else view.metric.format(view.val, digits=view.metric.digits - 1)
    epoch = f"{min(view.epoch + 1, view.epochs)}/{view.epochs}" if view.epochs else "starts"
    speed = NOTHING if view.images_per_second is None else format_fine(view.images_per_second, digits=0)
    left = view.seconds_left()
    return view.label, epoch, show_number(view.loss), val, speed, NOTHING if left is None else format_duration(left)


def show_number(value: float | None) -> str:
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.3f}"


def _speed(view: RunView) -> str:
    return "" if view.images_per_second is None else f"{format_fine(view.images_per_second, digits=0)} images/s"


def _left(view: RunView) -> str:
    left = view.seconds_left()
    return "" if left is None else f"{format_duration(left)} left"
