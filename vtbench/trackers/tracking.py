"""Tell trackers of runs, in a thread of its own: training waits for none, and what one raises is said once.

What there is to tell stands in the files of a run, so that one that went on, or was tracked later, is told in full, and
what a tracker has already is not told again.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vtbench.documents.table import Table, make_table
from vtbench.files import publish_text, read_json, refuse_link
from vtbench.metrics import is_of_class
from vtbench.records import EpochRecord, NotMeasured, RunRecord, TimingRecord, load_lines
from vtbench.run_folder import CONFIG, COSTS, METRICS, TIMING, TRACKING
from vtbench.trackers.tracker import TRACKERS, TrackedRun, Tracker
from vtbench.training import ProgressListener, RunStart
from vtbench.training.progress import BatchProgress


class Tracking:
    """The trackers ``names`` of all runs of one call; ``root`` is its folder and ``group`` its name.

    ``warn`` is given one sentence, from another thread, when a tracker fails; it is left alone from then on.
    """

    def __init__(self, names: Sequence[str], root: Path, group: str, warn: Callable[[str], None]) -> None:
        self._names, self._root, self._group, self._warn = names, root, group, warn
        self._failed: set[str] = set()
        self._open: dict[Path, dict[str, _Told]] = {}
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        if names:
            self._thread.start()

    def update(self, folder: Path, name: str) -> None:
        """The run in ``folder`` has begun, gone on, or done another epoch."""
        self._put(lambda: self._update(folder, name))

    def finish(self, folder: Path, name: str, record: RunRecord) -> None:
        """The run has ended, and this is its record; one that was told to the end before is left alone."""
        self._put(lambda: self._finish(folder, name, record))

    def conclude(self, name: str, table: Table) -> None:
        """Enter the table of the whole call, as a run of its own."""
        self._put(lambda: self._conclude(name, table))

    def close(self, *, within_seconds: float = 60.0) -> None:
        """Tell what is left to tell; a tracker that takes longer is left behind with a warning."""
        if not self._names:
            return
        self._put(self._close_all)
        self._tasks.put(None)
        self._thread.join(within_seconds)
        if self._thread.is_alive():
            self._warn(f"Tracking was not done within {within_seconds:.0f} s and is cut short. The runs are unharmed.")

    def describe_places(self) -> str | None:
        """Where to look for what was told, in one line; None where there is no tracker, or none that worked."""
        working = [name for name in self._names if name not in self._failed]
        elsewhere = os.environ.get("MLFLOW_TRACKING_URI")
        places = [elsewhere if name == "mlflow" and elsewhere else str(self._root) for name in working]
        told = ", ".join(f"{name} in {place}" for name, place in zip(working, places, strict=True))
        return f"Tracking: {told}" if told else None

    def _put(self, task: Callable[[], None]) -> None:
        if self._names:
            self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()

    def _update(self, folder: Path, name: str) -> None:
        for told in self._find(folder, name):
            with self._guard(told.name):
                told.catch_up(folder)

    def _finish(self, folder: Path, name: str, record: RunRecord) -> None:
        ended = set(_read_note(folder).get("ended", []))
        for told in self._find(folder, name, but=ended):
            with self._guard(told.name):
                told.catch_up(folder, is_over=True)
                told.tracker.log_table("result", tabulate_result(record))
                told.tracker.close(record.status)
                if record.status == "finished":
                    ended.add(told.name)
        self._open.pop(folder, None)
        with contextlib.suppress(OSError):
            publish_text(folder / TRACKING, json.dumps({**_read_note(folder), "ended": sorted(ended)}) + "\n")

    def _conclude(self, name: str, table: Table) -> None:
        for told in self._find(self._root, name):
            with self._guard(told.name):
                told.tracker.log_table("report", table)
                told.tracker.close("finished")
        self._open.pop(self._root, None)

    def _close_all(self) -> None:
        for told in [told for of_run in self._open.values() for told in of_run.values()]:
            with self._guard(told.name):
                told.tracker.close("stopped")
        self._open.clear()

    def _find(self, folder: Path, name: str, *, but: set[str] = frozenset()) -> list[_Told]:  # type: ignore[assignment]
        """The trackers of a run that work, opened if they are not."""
        of_run = self._open.setdefault(folder, {})
        for kind in self._names:
            if kind not in of_run and kind not in self._failed and kind not in but:
                with self._guard(kind):
                    refuse_link(folder / kind)
                    run = TrackedRun(_find_key(folder), name, folder, self._root, self._group, read_settings(folder))
                    of_run[kind] = _Told(kind, TRACKERS[kind](run))
        return [told for kind, told in of_run.items() if kind not in self._failed]

    @contextlib.contextmanager
    def _guard(self, kind: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failed.add(kind)
            reason = " ".join(str(error).split())[:300]
            self._warn(
                f"Tracking with {kind} failed and ends here: {type(error).__name__}: {reason}. The runs are unharmed; "
                "the same command tells it the rest once it works."
            )


@contextlib.contextmanager
def open_tracking(names: Sequence[str], root: Path, group: str, warn: Callable[[str], None]) -> Iterator[Tracking]:
    """`Tracking` while the block runs, told to the end."""
    tracking = Tracking(names, root, group, warn)
    try:
        yield tracking
    finally:
        tracking.close()


class _Told:
    """A tracker of one run, and which epochs it has."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name, self.tracker = name, tracker
        self._steps = set(tracker.find_steps())

    def catch_up(self, folder: Path, *, is_over: bool = False) -> None:
        """Tell every epoch on file that it has not; of a run that is not over, only those whose times are on file, too.

        The run writes its times after its metrics, perhaps while this reads.
        """
        if not (folder / METRICS).exists():
            return
        epochs = load_lines(folder / METRICS, EpochRecord)
        timed = load_lines(folder / TIMING, TimingRecord) if (folder / TIMING).exists() else []
        timings = {one.epoch: one for one in timed}
        for epoch in epochs:
            step, timing = epoch.epoch + 1, timings.get(epoch.epoch)
            if step not in self._steps and (is_over or timing is not None):
                self.tracker.log_epoch(step, list_numbers(epoch, timing))
                self._steps.add(step)


class RunTracking(ProgressListener):
    """Tells ``tracking`` of one run that is trained in this process."""

    def __init__(self, tracking: Tracking, folder: Path, name: str) -> None:
        self._tracking, self._folder, self._name = tracking, folder, name

    def on_start(self, start: RunStart) -> None:
        """Open it."""
        self._tracking.update(self._folder, self._name)

    def on_batch(self, progress: BatchProgress) -> None:
        """Nothing: an epoch is the least that is told."""

    def on_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        """Tell the epoch, which is on file."""
        self._tracking.update(self._folder, self._name)

    def on_finish(self, record: RunRecord) -> None:
        """Tell how it ended."""
        self._tracking.finish(self._folder, self._name, record)


def list_numbers(epoch: EpochRecord, timing: TimingRecord | None) -> dict[str, float]:
    """What an epoch came to, as trackers name numbers: ``val/top1_percent``. Those of single classes are left out."""
    parts: dict[str, Mapping[str, float]] = {"train": epoch.train, "val": epoch.val}
    if epoch.averaged_val is not None:
        parts["averaged_val"] = epoch.averaged_val
    numbers = {
        f"{part}/{key}": value
        for part, of_part in parts.items()
        for key, value in of_part.items()
        if not is_of_class(key)
    }
    numbers["learning_rate"] = epoch.learning_rate
    if timing is not None:
        numbers |= {"images_per_second": timing.train_images_per_second, "epoch_seconds": timing.seconds}
    return numbers


def tabulate_result(record: RunRecord) -> Table:
    """The last word on a run."""
    rows: list[tuple[str, str]] = [("status", record.status)]
    if isinstance(record.outcome, NotMeasured):
        rows.append(("reason", record.outcome.reason))
    else:
        numbers = {key: value for key, value in record.outcome.items() if not is_of_class(key)}
        rows += [("val loss" if key == "loss" else key, f"{value:.6g}") for key, value in numbers.items()]
    if not isinstance(record.costs, NotMeasured):
        rows += [("macs", f"{record.costs.macs:,}"), ("params", f"{record.costs.params:,}")]
    rows.append(("weights_sha256", record.weights_sha256 or "none"))
    return make_table(("of the run", "value"), rows)


def read_settings(folder: Path) -> dict[str, Any]:
    """The configuration and the costs of a run by dotted keys: numbers, words, and None."""
    found: dict[str, Any] = {}
    for file, prefix in ((CONFIG, ""), (COSTS, "costs.")):
        with contextlib.suppress(OSError, ValueError):
            found |= _flatten(read_json(folder / file), prefix)
    return found


def _flatten(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _read_note(folder: Path) -> dict[str, Any]:
    try:
        note = read_json(folder / TRACKING)
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _find_key(folder: Path) -> str:
    """The key of the run: drawn once, and kept in its folder."""
    note = _read_note(folder)
    if "key" not in note:
        note["key"] = uuid.uuid4().hex[:16]
        publish_text(folder / TRACKING, json.dumps(note) + "\n")
    return str(note["key"])
