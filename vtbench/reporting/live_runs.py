"""How far runs are, from their files alone: nothing is locked, written or waited for, so that any machine may look."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from vtbench.configuration import RunConfig
from vtbench.errors import UserError
from vtbench.files import parse_json
from vtbench.locking import DEAD_AFTER_SECONDS, Heartbeats
from vtbench.records import EpochRecord, RunRecord, TimingRecord, load_lines
from vtbench.run_folder import CHECKPOINTS, CONFIG, METRICS, RECORD, RUN_LOCK, TIMING

State = Literal["finished", "failed", "running", "silent", "killed", "stopped", "waiting"]
"""A ``silent`` run has given no sign of life for so long that it is taken for dead; a ``killed`` one has no process."""


T = TypeVar("T")
_LONGEST_HEADER = 1 << 28


@dataclass(frozen=True)
class LiveRun:
    """One run as it stands. ``part`` is how much of the epoch under way is saved, from 0 to 1.

    ``silent_seconds`` is the time since the last sign of life of a run that is held; ``problem`` names a damaged file,
    or why the run failed.
    """

    folder: Path
    state: State
    config: RunConfig | None = None
    record: RunRecord | None = None
    epochs: tuple[EpochRecord, ...] = ()
    timings: tuple[TimingRecord, ...] = ()
    part: float = 0.0
    images_per_second: float | None = None
    silent_seconds: float = 0.0
    problem: str | None = None


@dataclass
class RunReader:
    """Reads runs again and again; what has not changed since is not read anew."""

    heartbeats: Heartbeats = field(default_factory=Heartbeats)
    _read: dict[Path, tuple[tuple[int, int], Any]] = field(default_factory=dict)

    def look(self, folder: Path) -> LiveRun:
        """The run in ``folder``, whatever state it is in."""
        try:
            record = self.read(folder / RECORD, lambda path: RunRecord.from_json(path.read_bytes()))
            config = self.read(folder / CONFIG, lambda path: RunConfig.model_validate_json(path.read_bytes()))
            epochs = self.read(folder / METRICS, _read_epochs) or ()
            timings = self.read(folder / TIMING, _read_timings) or ()
        except ValueError as error:
            return LiveRun(folder, "failed", problem=str(error))
        if record is not None:
            return LiveRun(folder, record.status, record.config, record, record.epochs, timings, problem=record.error)
        state, silent = self._judge(folder, begun=bool(epochs) or (folder / CHECKPOINTS).exists())
        part, speed = self._find_part(folder, len(epochs), timings) if state != "waiting" else (0.0, None)
        return LiveRun(folder, state, config, None, epochs, timings, part, speed, silent)

    def read(self, path: Path, load: Callable[[Path], T]) -> T | None:
        """What ``load`` gives of ``path``, None where it is not there. Raises ``ValueError`` where it is damaged."""
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError(f"{path.name} is no file")
            if path not in self._read or self._read[path][0] != stamp:
                self._read[path] = stamp, _load(path, load)
        except OSError:  # Not there, or replaced at this very moment: the next look sees it.
            return None
        value: T = self._read[path][1]
        return value

    def _judge(self, folder: Path, *, begun: bool) -> tuple[State, float]:
        holder = self.heartbeats.look(folder / RUN_LOCK)
        if holder is None:
            return "stopped" if begun else "waiting", 0.0
        if holder.owner.is_here and not holder.owner.is_alive_here:
            return "killed", holder.silent_seconds
        return "silent" if holder.silent_seconds >= DEAD_AFTER_SECONDS else "running", holder.silent_seconds

    def _find_part(
        self, folder: Path, num_epochs: int, timings: tuple[TimingRecord, ...]
    ) -> tuple[float, float | None]:
        """How much of the epoch under way the newest checkpoint holds, and the speed of training."""
        speed = timings[-1].train_images_per_second if timings else None
        try:
            newest = max((folder / CHECKPOINTS).glob("[0-9]*.safetensors"), default=None)
            saved = self.read(newest, _read_values) if newest is not None else None
        except ValueError:  # Whoever goes on from it will say so.
            saved = None
        if not saved or saved.get("epoch") != num_epochs or not saved.get("num_images"):
            return 0.0, speed
        if timings:
            images = timings[-1].train_images_per_second * timings[-1].train_seconds
            return min(0.99, saved["num_images"] / images), speed
        seconds = saved.get("train_seconds")
        return 0.0, saved["num_images"] / seconds if seconds else None


def _load(path: Path, load: Callable[[Path], T]) -> T:
    try:
        return load(path)
    except (ValueError, UserError) as error:
        raise ValueError(f"{path.name} is damaged, or of another version") from error


def _read_epochs(path: Path) -> tuple[EpochRecord, ...]:
    return tuple(load_lines(path, EpochRecord))


def _read_timings(path: Path) -> tuple[TimingRecord, ...]:
    return tuple(load_lines(path, TimingRecord))


def _read_values(path: Path) -> dict[str, Any]:
    """What a checkpoint holds beside its tensors: a JSON text in its header."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = parse_json(stream.read(min(length, _LONGEST_HEADER)))
    try:
        values = parse_json(header["__metadata__"]["vtbench"])
    except (KeyError, TypeError) as error:
        raise ValueError("no checkpoint") from error
    return values if isinstance(values, dict) else {}
