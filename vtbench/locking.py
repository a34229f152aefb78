"""One owner of a folder at a time, and an owner that has died is seen to be dead.

The operating system holds the lock (``flock``) and drops it when the last process that inherited it is gone, so a
killed owner needs no cleaning up. The file names the owner for people, and its time of change is the owner's heartbeat
for other machines: on a network file system that keeps locks to one machine, a fresh heartbeat from elsewhere counts as
held.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from vtbench.errors import UserError

HEARTBEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 120.0
_PATIENCE_SECONDS = 15.0
"""How long a lock that will be free in a moment is waited for: more than a heartbeat and the end of an orphan take."""


@dataclass(frozen=True)
class Owner:
    """Who holds a folder: process, machine and the moment it began, in universal time."""

    pid: int
    host: str
    since: str

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process of this machine."""
        return self.host == socket.gethostname()

    @property
    def is_alive_here(self) -> bool:
        """Whether this machine has a process of that number."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # There is one, of another user.
            pass
        return True

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@dataclass(frozen=True)
class HeldLock:
    """A lock in hand. Processes that are to keep it while they live inherit ``handle``.

    ``took_over_from`` is the dead owner whose lock this one replaced, if there was one.
    """

    handle: int
    took_over_from: Owner | None


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[HeldLock]:
    """Hold the folder of the lock file ``path`` while the block runs.

    Raises ``UserError`` naming the owner when another holds it. A thread keeps the heart beating.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    ended = threading.Event()
    try:
        held = HeldLock(handle, _acquire(handle, path))
        threading.Thread(target=_beat, args=(path, ended), daemon=True).start()
        try:
            yield held
        finally:
            os.ftruncate(handle, 0)  # An empty file says that the owner left in good order.
    finally:
        ended.set()
        os.close(handle)


def _beat(path: Path, ended: threading.Event) -> None:
    """Show other machines that the owner lives."""
    while not ended.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)


def _acquire(handle: int, path: Path) -> Owner | None:
    """Take the lock, write the owner down, and return the one before, if it died."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    locked = False
    while True:
        locked = locked or _try_lock(handle)
        owner = _read_owner(path)
        refusal, passing = _judge(path, owner, locked=locked)
        if refusal is None:
            break
        if not passing or time.monotonic() > deadline:
            raise UserError(refusal)
        time.sleep(0.1)
    mine = Owner(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, json.dumps(asdict(mine)).encode())
    return owner


def _judge(path: Path, owner: Owner | None, *, locked: bool) -> tuple[str | None, bool]:
    """Why the folder cannot be had, None if it can, and whether that will pass in a moment."""
    in_use = (
        f"The folder {path.parent} is in use by {owner or 'another process'}. "
        "Wait until it ends, stop it, or give another folder with --out."
    )
    if not locked:
        if owner is None or not owner.is_here or owner.is_alive_here:
            return in_use, False
        return (
            f"The folder {path.parent} is still held by processes that outlived {owner}. Try again in a moment."
        ), True
    age = time.time() - path.stat().st_mtime
    if owner is None or owner.is_here or age >= DEAD_AFTER_SECONDS:
        return None, False
    return (
        f"{in_use} Its last sign of life is {max(age, 0):.0f} s old; once {DEAD_AFTER_SECONDS:.0f} s have passed "
        "without another it is taken for dead."
    ), age > DEAD_AFTER_SECONDS - _PATIENCE_SECONDS


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
