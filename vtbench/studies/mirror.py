"""A study's folder kept equal in a store, so that it goes on from there when this machine is gone.

The folder here stays the place of work. A thread of its own sends what has changed; a store that fails meanwhile holds
nothing up and is sent what it lacks when it answers again. Files are sent in an order in which the store can be taken
up at any moment: what says which study it is first of all, weights before the checksum of a checkpoint, and a cell's
record last of its files.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from vtbench.errors import UserError
from vtbench.files import place_within, publish_bytes, publish_text, read_file, read_json
from vtbench.run_folder import CHECKPOINTS, RECORD, RUN_LOCK, STUDY, STUDY_LOCK
from vtbench.stores import Store, StoreError
from vtbench.studies.cells import ResolvedStudy
from vtbench.studies.ledger import Ledger
from vtbench.units import format_items

_AGAIN_SECONDS = 5.0
_NOTES = ".store.json"
"""Beside the study: which files the store was sent, by size and time of change, so that none is sent twice."""
_Seen = tuple[int, int]


def fetch_study(store: Store, folder: Path, study: ResolvedStudy, tell: Callable[[str], None]) -> None:
    """Bring here what the store has of a study and ``folder`` lacks.

    A cell that is further there, because it has ended or was not begun here, is taken whole. Raises ``UserError`` if
    the store holds another study or something else, or cannot be read: a study must not begin anew that may be there,
    and files of others must not be mixed with it. Nothing is fetched where a file would come to lie outside of
    ``folder``, behind a link or by its name; nor where ``folder`` holds another study, which is not to be sent.
    """
    Ledger(folder).check(study, same_data=True)
    store.refuse_overlap(folder)
    there = store.list_files()
    if STUDY not in there:
        if there:
            raise UserError(
                f"The store {store.url} holds no study, but other files: {min(there)}. Give an empty folder of its own "
                "with --store."
            )
        return
    _refuse_other(store, study)
    missing = [name for name in there if not (folder / name).exists()]
    cells = {_find_cell(name) for name in missing}
    wanted = set(missing)
    for cell in cells - {None}:
        begun_here = any((folder / str(cell) / name).exists() for name in (RECORD, CHECKPOINTS))
        of_cell = {name for name in there if _find_cell(name) == cell}
        if f"{cell}/{RECORD}" in missing:
            wanted |= of_cell
        elif begun_here:
            wanted -= of_cell
    if not wanted:
        return
    places = {name: place_within(folder, name) for name in sorted(wanted, key=_rank)}
    tell(f"Fetching {format_items(len(wanted), 'file')} of the study from {store.url}.")
    for name, place in places.items():
        publish_bytes(place, store.read(name))


class Mirror:
    """Sends ``folder`` to ``store`` from a thread of its own; ``warn`` hears of a store that fails, once each time."""

    def __init__(self, store: Store, folder: Path, warn: Callable[[str], None]) -> None:
        self._store, self._folder, self._warn = store, folder, warn
        self._there: dict[str, int] | None = None
        self._sent = _read_notes(folder / _NOTES, store.url)
        self._changed: set[Path] = set()
        self._wake = threading.Condition()
        self._ends = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self.note(folder)

    def note(self, folder: Path) -> None:
        """Files in ``folder``, or below it, may have changed."""
        with self._wake:
            self._changed.add(folder)
            self._wake.notify()

    def close(self, *, within_seconds: float) -> str | None:
        """Send what is left, for so long at most; why the store lacks something, if it does."""
        self.note(self._folder)
        with self._wake:
            self._ends = True
            self._wake.notify()
        self._thread.join(within_seconds)
        if not self._thread.is_alive():
            return None
        return (
            f"{self._store.url} lacks files of {self._folder}, where everything is: the store did not take them. "
            "The same command sends them."
        )

    def _work(self) -> None:
        has_failed = False
        while True:
            with self._wake:
                while not (self._changed or self._ends):
                    self._wake.wait()
                changed, self._changed = self._changed, set()
            try:
                self._send(changed)
                has_failed = False
            except (StoreError, OSError) as error:
                if not has_failed:
                    self._warn(f"{error} The study goes on, and what is missing there is sent later.")
                has_failed = True
                with self._wake:
                    self._changed |= changed
                time.sleep(_AGAIN_SECONDS)
                continue
            with self._wake:
                if self._ends and not self._changed:
                    return

    def _send(self, changed: Iterable[Path]) -> None:
        if self._there is None:
            self._there = self._store.list_files()
        if STUDY not in self._there:
            if not (self._folder / STUDY).exists():
                return
            self._send_one(STUDY, self._folder / STUDY)
            changed = [self._folder]
        for folder in changed:
            here = {path.relative_to(self._folder).as_posix(): path for path in folder.rglob("*") if _is_kept(path)}
            for name in sorted(here, key=_rank):
                self._send_one(name, here[name])
            below = "" if folder == self._folder else f"{folder.relative_to(self._folder).as_posix()}/"
            for name in [name for name in self._there if name.startswith(below) and _is_passing(name)]:
                if name not in here and (self._folder / str(_find_cell(name))).exists():
                    self._store.remove(name)
                    del self._there[name]
                    self._sent.pop(name, None)
        publish_text(self._folder / _NOTES, json.dumps({"url": self._store.url, "sent": self._sent}))

    def _send_one(self, name: str, path: Path) -> None:
        assert self._there is not None
        try:
            stat = path.stat()
            seen = (stat.st_mtime_ns, stat.st_size)
            if self._sent.get(name) == seen and self._there.get(name) == stat.st_size:
                return
            data = read_file(path)
        except FileNotFoundError:  # A checkpoint that a newer one has replaced.
            return
        if self._there.get(name) != len(data) or self._store.read(name) != data:
            self._store.write(name, data)
        self._there[name], self._sent[name] = len(data), seen


def _read_notes(path: Path, url: str) -> dict[str, _Seen]:
    """What another call sent to the same store; nothing where that is not known."""
    try:
        notes = read_json(path)
        if notes["url"] != url:
            return {}
        return {name: (int(time), int(size)) for name, (time, size) in notes["sent"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _refuse_other(store: Store, study: ResolvedStudy) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        publish_bytes(Path(scratch) / STUDY, store.read(STUDY))
        try:
            Ledger(Path(scratch)).check(study, same_data=True)
        except UserError as error:
            said = str(error).replace(f"The folder {scratch}", f"The store {store.url}").replace(scratch, store.url)
            raise UserError(said.replace("--out", "--store")) from error


def _find_cell(name: str) -> str | None:
    """The folder of the cell that a file belongs to: what lies beneath ``seed-N``."""
    parts = PurePosixPath(name).parts
    at = next((place for place, part in enumerate(parts[:-1]) if part.startswith("seed-")), None)
    return None if at is None else "/".join(parts[: at + 1])


def _rank(name: str) -> tuple[int, str]:
    """In which order files travel: the study, weights of checkpoints, their checksums, the rest, records."""
    if name == STUDY:
        return 0, name
    if name.endswith(f"/{RECORD}"):
        return 4, name
    if _is_passing(name):
        return (2 if name.endswith(".sha256") else 1), name
    return 3, name


def _is_passing(name: str) -> bool:
    """Whether a file is of a checkpoint, which goes when there is a newer one."""
    return f"/{CHECKPOINTS}/" in f"/{name}"


def _is_kept(path: Path) -> bool:
    return (
        path.is_file()
        and not path.is_symlink()
        and path.name not in (RUN_LOCK, STUDY_LOCK, _NOTES)
        and not path.name.endswith((".partial", ".soft"))
    )
