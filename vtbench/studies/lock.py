"""One owner of a study folder at a time, and an owner that has died is seen to be dead.

The operating system holds the lock (``flock``) and drops it when the last process that inherited it is gone, so a
killed study needs no cleaning up. The file names the owner for people, and its time of change is the owner's heartbeat
for other machines: on a network file system that keeps locks to one machine, a fresh heartbeat from elsewhere counts as
held.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from vtbench.errors import UserError
from vtbench.run_folder import STUDY_LOCK

HEARTBEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 120.0
_ORPHANS_END_WITHIN_SECONDS = 10.0


@dataclass(frozen=True)
class Owner:
    """Who holds a folder: process, machine and the moment it began, in universal time."""

    pid: int
    host: str
    since: str

    def is_alive_here(self) -> bool:
        """Whether this machine has a process of that number."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class FolderLock:
    """Hold ``folder / "lock"`` for the length of a ``with`` block.

    Entering raises ``UserError`` naming the owner when the folder is held. ``took_over_from`` is the dead owner whose
    lock this one replaced, if there was one. Processes that are to keep the lock while they live inherit ``fileno()``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / STUDY_LOCK
        self.took_over_from: Owner | None = None
        self._handle: int | None = None
        self._last_beat = 0.0

    def __enter__(self) -> FolderLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._acquire(handle)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        self._last_beat = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.ftruncate(self._handle, 0)  # An empty file says that the owner left in good order.
            os.close(self._handle)
            self._handle = None

    def fileno(self) -> int:
        """The handle that carries the lock; a process that inherits it keeps the folder held until it ends."""
        assert self._handle is not None, "the lock is not held"
        return self._handle

    def beat(self) -> None:
        """Show other machines that the owner lives; cheap enough to be called in every turn of a loop."""
        if self._handle is not None and time.monotonic() - self._last_beat > HEARTBEAT_SECONDS:
            os.utime(self.path)
            self._last_beat = time.monotonic()

    def _acquire(self, handle: int) -> None:
        deadline = time.monotonic() + _ORPHANS_END_WITHIN_SECONDS
        while not _try_lock(handle):
            owner = _read_owner(self.path)
            orphaned = owner is not None and owner.host == socket.gethostname() and not owner.is_alive_here()
            if not orphaned or time.monotonic() > deadline:
                raise UserError(self._refusal(owner, orphaned=orphaned))
            time.sleep(0.1)
        owner = _read_owner(self.path)
        if owner is not None:
            age = time.time() - self.path.stat().st_mtime
            if owner.host != socket.gethostname() and age < DEAD_AFTER_SECONDS:
                raise UserError(
                    f"{self._refusal(owner, orphaned=False)} Its last sign of life is {max(age, 0):.0f} s old; once "
                    f"{DEAD_AFTER_SECONDS:.0f} s have passed without another it is taken for dead."
                )
            self.took_over_from = owner
        mine = Owner(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, json.dumps(asdict(mine)).encode())

    def _refusal(self, owner: Owner | None, *, orphaned: bool) -> str:
        folder = self.path.parent
        if orphaned:
            return f"The study folder {folder} is still held by cells that outlived {owner}. Try again in a moment."
        who = str(owner) if owner else "another process"
        return f"The study folder {folder} is in use by {who}. Wait until it ends, or give another folder with --out."


def _read_owner(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):  # Empty: released in good order. Torn: killed while writing it.
        return None


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
