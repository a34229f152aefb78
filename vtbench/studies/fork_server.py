"""Processes forked from one that has imported everything: each begins at once, and the memory of imports is shared.

The *fork server* is the command of a worker, told to fork; it has run nothing, so that it has no threads whose locks a
fork could find taken. It has the environment variables of the processes that it forks, because libraries read
some of them while they are imported. Linux only; no GPU can be used on both sides of a fork, but one that nobody has
touched does no harm.

A request is one packet with open files: standard input, output and error of the new process, the pipe that tells what
becomes of it, and the files that it shall hold. A server lives as long as the process that asks.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import psutil

FORK_FOR = "--fork-for"
"""The option of a worker's command that makes a server of it, followed by the number of the socket of requests."""
UNSEEN = 256
"""In place of the exit code of a process whose server died before it."""
NEVER_BEGUN = 257
"""In place of the exit code of a process that its server died before forking."""
_MOST_FILES = 32
_TOLD = struct.Struct("<ii")
"""What the pipe tells: which of the two it is, and the number."""
_PID, _EXIT_CODE = 0, 1
_LOOK_EVERY_SECONDS = 0.02


class ForkedProcess:
    """A process that a server was asked for: what `subprocess.Popen` is to its own, as far as cells need it."""

    def __init__(self, server: subprocess.Popen[bytes], stdin: BinaryIO, stdout: BinaryIO, status: int) -> None:
        self.stdin, self.stdout = stdin, stdout
        self.returncode: int | None = None
        self._server, self._status = server, status
        self._pid: int | None = None
        self._seen: psutil.Process | None = None
        self._lock = threading.Lock()
        os.set_blocking(status, False)  # Of two threads that look at once, one finds that all is read.
        weakref.finalize(self, os.close, status)

    @property
    def pid(self) -> int | None:
        """Its number; None before it is forked."""
        self._look(0.0)
        return self._pid

    def poll(self) -> int | None:
        """The exit code, or None as long as it runs or is about to."""
        self._look(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises ``subprocess.TimeoutExpired``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
            self._look(max(0.0, left))
            if self.returncode is None and deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired("forked", timeout or 0.0)
        return self.returncode

    def kill(self) -> None:
        """End it here and now; before it is forked, together with the server, of which another can be had."""
        pid = self.pid
        if self.returncode is not None:
            return
        if pid is None:
            self._server.kill()
            with suppress(BrokenPipeError):  # One that was forked at this very moment sees that it is not wanted.
                self.stdin.close()
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _look(self, seconds: float) -> None:
        """Read what the pipe tells within ``seconds``.

        That is the number of the process, from itself, unless it died before, and its exit code, from the server.
        """
        if self.returncode is not None:
            return
        with selectors.PollSelector() as selector:
            selector.register(self._status, selectors.EVENT_READ)
            if not selector.select(seconds):
                return
        with self._lock:
            if self.returncode is not None:
                return
            try:
                told = os.read(self._status, 2 * _TOLD.size)
            except BlockingIOError:
                return
            for kind, number in _TOLD.iter_unpack(told):
                if kind == _PID:
                    self._pid, self._seen = number, _find(number)
                else:
                    self.returncode = number
            if not told and self._pid is None:
                self.returncode = NEVER_BEGUN
            elif not told and not _is_there(self._seen):
                self.returncode = UNSEEN
        if not told and self.returncode is None:
            time.sleep(min(seconds, _LOOK_EVERY_SECONDS))


class ForkServers:
    """Servers of this process, one for each set of environment variables and folder to work in; idle others are ended.

    One that left of itself, because it cannot fork, would leave again, so that no other is begun in its place.
    """

    def __init__(self) -> None:
        self._servers: dict[object, _Server] = {}
        self._without: set[object] = set()

    def fork(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: BinaryIO,
        inherited: Sequence[int],
        directory: Path | None = None,
    ) -> ForkedProcess:
        """A process that works as ``command`` does in ``directory``, by default here. Raises ``OSError``.

        Its standard error goes to ``log``.
        """
        directory = directory or Path.cwd()
        key = (tuple(command), directory, frozenset(environment.items()))
        for other, server in list(self._servers.items()):
            if server.has_left:
                self._without.add(other)
            if not server.is_alive or (other != key and not server.is_needed):
                self._servers.pop(other).close()
        if key in self._without:
            raise OSError("The server of such processes could not fork.")
        if key not in self._servers:
            self._servers[key] = _Server(command, environment, directory)
        return self._servers[key].fork(log, inherited)


class _Server:
    """The side of a server that asks."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._popen = subprocess.Popen(
                [*command, FORK_FOR, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd=directory,
                pass_fds=(theirs.fileno(),),
            )
        self.close = weakref.finalize(self, _end, self._popen, self._control)
        self._forked: weakref.WeakSet[ForkedProcess] = weakref.WeakSet()

    @property
    def is_alive(self) -> bool:
        return self._popen.poll() is None

    @property
    def has_left(self) -> bool:
        """Whether it has ended, and nobody killed it."""
        return self._popen.poll() not in (None, -signal.SIGKILL)

    @property
    def is_needed(self) -> bool:
        return any(process.poll() is None for process in self._forked)

    def fork(self, log: BinaryIO, inherited: Sequence[int]) -> ForkedProcess:
        (read_in, write_in), (read_out, write_out), (status, tell) = os.pipe(), os.pipe(), os.pipe()
        process = ForkedProcess(self._popen, os.fdopen(write_in, "wb"), os.fdopen(read_out, "rb"), status)
        theirs = [read_in, write_out, tell]
        try:
            socket.send_fds(self._control, [b"fork"], [read_in, write_out, log.fileno(), tell, *inherited])
        except OSError:
            process.stdin.close()
            process.stdout.close()
            raise
        finally:
            for file in theirs:
                os.close(file)
        self._forked.add(process)
        return process


def _end(server: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    server.kill()
    server.wait()


def _find(pid: int) -> psutil.Process | None:
    import psutil

    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _is_there(process: psutil.Process | None) -> bool:
    """Whether it lives: it, and not another that was given its number since."""
    import psutil

    try:  # Where nobody reaps, what has ended stays for ever.
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def serve_forks(control: socket.socket, work: Callable[[], None]) -> None:
    """Fork a process for each request on ``control``, and let it ``work``; returns when nobody can ask any more."""
    if threading.active_count() > 1:  # A package that was imported began them; without a server all goes as well.
        return
    waking, woken = _watch_children()
    gc.collect()
    gc.freeze()  # A collection in a forked process writes into every object, which would copy its page.
    tells: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(waking, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if waking in ready:
                with suppress(BlockingIOError):
                    os.read(waking, 4096)
                _report_ended(tells)
            if control in ready:
                message, files, _, _ = socket.recv_fds(control, 16, _MOST_FILES)
                if not message:
                    return
                try:
                    with warnings.catch_warnings(action="ignore"):
                        pid = os.fork()
                except OSError:  # There is no room for it now; that it was never begun is seen by its files.
                    for file in files:
                        os.close(file)
                    continue
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    selector.close()
                    control.close()
                    for file in (waking, woken, *tells.values()):
                        os.close(file)
                    _live(files, work)
                for file in (*files[:3], *files[4:]):
                    os.close(file)
                tells[pid] = files[3]


def _watch_children() -> tuple[int, int]:
    """Two ends of a pipe: the first can be read once a forked process has ended."""
    waking, woken = os.pipe()
    for end in (waking, woken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return waking, woken


def _report_ended(tells: dict[int, int]) -> None:
    while tells:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        tell = tells.pop(pid, None)
        if tell is None:  # Of a package that was imported.
            continue
        with suppress(BrokenPipeError):  # Nobody wants to know any more.
            os.write(tell, _TOLD.pack(_EXIT_CODE, os.waitstatus_to_exitcode(status)))
        os.close(tell)


def _live(files: Sequence[int], work: Callable[[], None]) -> None:
    """The life of a forked process: it takes its ``files``, works and leaves."""
    code = 1
    try:
        for number in range(3):
            os.dup2(files[number], number)
            os.close(files[number])
        os.write(files[3], _TOLD.pack(_PID, os.getpid()))
        os.close(files[3])
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)
