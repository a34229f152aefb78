"""One owner of a folder at a time, and an owner that has died is seen to be dead.

The operating system holds the lock (``flock``) and drops it when the last process that inherited it is gone, so a
killed owner needs no cleaning up. The folder is locked beside the file, so that removing the file lets no one in. Where
a file system knows no locks, a file that only one process can make stands for one (``filelock.SoftFileLock``).

The lock file names the owner for people, and its time of change is the owner's heartbeat: a fresh one counts as held,
whatever the file system says of its locks, because some keep them to one machine and some grant every one. An owner
whose files are removed makes them anew within a second, because there nothing else would keep others out.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import filelock

from vtbench.errors import UserError
from vtbench.files import read_json, refuse_special

HEARTBEAT_SECONDS = 10.0
_LOOK_SECONDS = 1.0
"""How often an owner looks whether its lock file is still there."""
DEAD_AFTER_SECONDS = 120.0
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL})
"""How a file system says that it knows no locks, or none of folders."""
_MOST_PROCESSES = 2**31
"""Numbers of processes are below this."""
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

    Raises ``UserError`` naming the owner when another holds it, and where ``path`` is a link. A thread keeps the heart
    beating.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    refuse_special(path, "lock file")
    ended = threading.Event()
    with contextlib.ExitStack() as stack:
        handle = _open(stack, path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0))
        folder = None if sys.platform == "win32" else _open(stack, path.parent, os.O_RDONLY)
        locks = _Locks(handle, folder, path, stack)
        held = HeldLock(handle, _acquire(locks))
        heart = threading.Thread(target=_beat, args=(locks, ended), daemon=True)
        heart.start()
        try:
            yield held
        finally:
            ended.set()
            heart.join(5 * _LOOK_SECONDS)  # It may hang where the file system does.
            os.ftruncate(handle, 0)  # An empty file says that the owner left in good order.


def refuse_held(path: Path) -> None:
    """Raise ``UserError`` as `hold_lock` does where another holds the folder for sure; nothing is written or kept.

    What will pass in a moment, or depends on the watch of a heartbeat, is left to `hold_lock`.
    """
    refuse_special(path, "lock file")
    if not path.exists():
        return
    with contextlib.ExitStack() as stack:
        handle = _open(stack, path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        folder = None if sys.platform == "win32" else _open(stack, path.parent, os.O_RDONLY)
        locks = _Locks(handle, folder, path, stack)
        if not locks.take() and not locks.are_soft:
            refusal, passing = _judge(locks, _read_owner(path), locked=False, still_for=0.0)
            if refusal is not None and not passing:
                raise UserError(refusal)


def release_for(path: Path, pid: int) -> None:
    """Leave the lock file ``path`` in good order for the process ``pid`` of this machine, which was ended on purpose.

    Nothing is done where another owns it, or where processes that outlived that one still hold the folder.
    """
    owner = _read_owner(path)
    if owner is None or owner.pid != pid or not owner.is_here or owner.is_alive_here:
        return
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        handle = _open(stack, path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        folder = None if sys.platform == "win32" else _open(stack, path.parent, os.O_RDONLY)
        locks = _Locks(handle, folder, path, stack)
        is_taken = locks.take()
        if not is_taken and locks.are_soft:
            locks.break_soft()
        if (is_taken or locks.are_soft) and _read_owner(path) == owner:
            os.ftruncate(handle, 0)


@dataclass(frozen=True)
class Holder:
    """Who holds a folder, and how long ago its last sign of life was."""

    owner: Owner
    silent_seconds: float


class Heartbeats:
    """Looks at lock files from outside, again and again; takes and writes nothing.

    The age of a heartbeat is by this machine's clock until one has been seen to come, and by the watching from then on:
    the clocks of two machines that share a folder may differ.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._seen: dict[Path, tuple[float, float | None]] = {}

    def look(self, path: Path) -> Holder | None:
        """Whoever has written the lock file ``path`` and not left it in good order; None where nobody has."""
        owner = _read_owner(path)
        try:
            beat = path.stat().st_mtime
        except OSError:
            return None
        if owner is None:
            return None
        now = self._now()
        before, came = self._seen.get(path, (beat, None))
        came = now if beat != before else came
        self._seen[path] = beat, came
        return Holder(owner, max(0.0, now - (beat if came is None else came)))


def _open(stack: contextlib.ExitStack, path: Path, flags: int) -> int:
    handle = os.open(path, flags, 0o644)
    stack.callback(os.close, handle)
    return handle


def _beat(locks: _Locks, ended: threading.Event) -> None:
    """Show others that the owner lives. What lies at the path meanwhile may be another's, and is left alone."""
    last = time.monotonic()
    while not ended.wait(min(_LOOK_SECONDS, HEARTBEAT_SECONDS)):
        with contextlib.suppress(OSError):
            locks.restore()
            if time.monotonic() - last >= HEARTBEAT_SECONDS:
                last = time.monotonic()
                os.utime(locks.handle if os.utime in os.supports_fd else locks.path)


class _Locks:
    """The locks of the lock file and of its folder, or the file that stands for both."""

    def __init__(self, handle: int, folder: int | None, path: Path, stack: contextlib.ExitStack) -> None:
        self.handle, self.path = handle, path
        self._folder = path.parent.stat()
        self._open = [handle] if folder is None else [folder, handle]
        self._stack = stack
        self._soft: filelock.SoftFileLock | None = None

    def take(self) -> bool:
        """Whether all are in hand now; what is in hand stays so."""
        if self._soft is not None:
            return self._take_soft(self._soft)
        while self._open:
            try:
                if not _try_lock(self._open[-1]):
                    return False
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise OSError(error.errno, f"the lock cannot be taken: {error.strerror}", str(self.path)) from error
                if self._open[-1] == self.handle:
                    name = self.path.with_name(f"{self.path.name}.soft")
                    self._soft = filelock.SoftFileLock(name, thread_local=False)
                    return self._take_soft(self._soft)
            self._open.pop()
        return True

    @property
    def are_soft(self) -> bool:
        """Whether the file system knows no locks."""
        return self._soft is not None

    def break_soft(self) -> None:
        """Take away what a dead owner left standing for a lock."""
        if self._soft is not None:
            Path(self._soft.lock_file).unlink(missing_ok=True)

    def write_owner(self) -> None:
        """Say in the lock file that this process owns it."""
        mine = Owner(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))
        os.ftruncate(self.handle, 0)
        os.lseek(self.handle, 0, os.SEEK_SET)
        os.write(self.handle, json.dumps(asdict(mine)).encode())

    def restore(self) -> None:
        """Make what was removed of an owner's lock anew, in the folder that it locked and in no other of that name."""
        if not os.path.samestat(self.path.parent.stat(), self._folder):
            return
        if self._soft is not None and not Path(self._soft.lock_file).exists():
            self._soft.release(force=True)
            self._soft.acquire(timeout=0)
        if not os.path.lexists(self.path):
            anew = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            os.dup2(anew, self.handle, inheritable=False)
            os.close(anew)
            self.write_owner()
            if self._soft is None:
                _try_lock(self.handle)

    def _take_soft(self, soft: filelock.SoftFileLock) -> bool:
        if soft.is_locked:
            return True
        try:
            soft.acquire(timeout=0)
        except filelock.Timeout:
            return False
        self._stack.callback(soft.release)
        return True


def _acquire(locks: _Locks) -> Owner | None:
    """Take the lock, write the owner down, and return the one before, if it died."""
    path, started = locks.path, time.monotonic()
    last_beat, last_change = 0.0, started
    while True:
        locked = locks.take()
        owner = _read_owner(path)
        beat = path.stat().st_mtime
        if beat != last_beat:
            last_beat, last_change = beat, time.monotonic()
        refusal, passing = _judge(locks, owner, locked=locked, still_for=time.monotonic() - last_change)
        if refusal is None and not locked:
            locks.break_soft()
        elif refusal is None:
            break
        elif not passing or time.monotonic() > started + _PATIENCE_SECONDS:
            raise UserError(refusal)
        time.sleep(0.1)
    locks.write_owner()
    return owner


def _judge(locks: _Locks, owner: Owner | None, *, locked: bool, still_for: float) -> tuple[str | None, bool]:
    """Why the folder cannot be had, None if it can, and whether that will pass in a moment.

    ``still_for`` is how long the heartbeat has been watched without a change, which counts where it lies in the future.
    """
    path = locks.path
    in_use = (
        f"The folder {path.parent} is in use by {owner or 'another process'}. "
        "Wait until it ends, stop it, or give another folder with --out."
    )
    mine = owner is not None and owner.is_here and owner.pid == os.getpid()
    dead = owner is not None and owner.is_here and not owner.is_alive_here
    if not locked and not locks.are_soft:
        if not dead:
            return in_use, False
        return (
            f"The folder {path.parent} is still held by processes that outlived {owner}. Try again in a moment."
        ), True
    age = _read_clock(path.parent) - path.stat().st_mtime
    if dead or (locked and (owner is None or mine)):
        return None, False
    if age >= DEAD_AFTER_SECONDS or (age < 0 and still_for > 1.2 * HEARTBEAT_SECONDS):
        return None, False
    return (
        f"{in_use} Its last sign of life is {max(age, 0):.0f} s old; once {DEAD_AFTER_SECONDS:.0f} s have passed "
        "without another it is taken for dead."
    ), age < 0 or age > DEAD_AFTER_SECONDS - _PATIENCE_SECONDS


def _read_clock(folder: Path) -> float:
    """What time it is for the file system of ``folder``, whose clock stamps the heartbeats."""
    with tempfile.TemporaryFile(dir=folder) as stream:
        return os.fstat(stream.fileno()).st_mtime


def _read_owner(path: Path) -> Owner | None:
    try:
        owner = Owner(**read_json(path))
    except (OSError, ValueError, TypeError):  # Released in good order, or torn.
        return None
    is_one = type(owner.pid) is int and 0 < owner.pid < _MOST_PROCESSES
    return owner if is_one and isinstance(owner.host, str) and isinstance(owner.since, str) else None


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
        except (BlockingIOError, PermissionError):  # The latter is what Windows shares (CIFS) say of a held one.
            return False
        return True
