"""Servers of processes for cells, on the side that asks; a *server* is the command of a worker, told to be one.

A request is one packet with open files: standard input, output and error of the new process, the pipe that tells what
becomes of it, and the files that it shall hold. What comes of it behaves as a process does, whether the server forks it
(`vtbench.studies.fork_server`) or lets it take turns with others in its own (`vtbench.studies.turn_server`). A server
has the environment variables of the cells that it is asked for, because libraries read some of them while they are
imported; it lives as long as the process that asks. Unix only.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
import subprocess
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

if TYPE_CHECKING:
    import psutil

Kind = Literal["--fork-for", "--take-turns-for"]
"""The option of a worker's command that makes a server of it, followed by the number of the socket of requests."""
UNSEEN = 256
"""In place of the exit code of a process whose server died before it."""
NEVER_BEGUN = 257
"""In place of the exit code of a process that its server died before beginning."""
MOST_FILES = 32
TOLD = struct.Struct("<ii")
"""What the pipe tells: which of the two it is, and the number."""
PID, EXIT_CODE = 0, 1
_LOOK_EVERY_SECONDS = 0.02


class ServedProcess:
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
        """Its number; None before it is begun."""
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
                raise subprocess.TimeoutExpired("a cell", timeout or 0.0)
        return self.returncode

    def kill(self) -> None:
        """End it here and now; before it is begun, together with the server, of which another can be had.

        One that takes turns goes together with all that share its process.
        """
        pid = self.pid
        if self.returncode is not None:
            return
        if pid is None:
            self._server.kill()
            with suppress(BrokenPipeError):  # One that was begun at this very moment sees that it is not wanted.
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
                told = os.read(self._status, 2 * TOLD.size)
            except BlockingIOError:
                return
            for kind, number in TOLD.iter_unpack(told):
                if kind == PID:
                    self._pid, self._seen = number, _find(number)
                else:
                    self.returncode = number
            if not told and self._pid is None:
                self.returncode = NEVER_BEGUN
            elif not told and not _is_there(self._seen):
                self._server.poll()  # Until that is reaped, who looks at a lock takes the process for alive.
                self.returncode = UNSEEN
        if not told and self.returncode is None:
            time.sleep(min(seconds, _LOOK_EVERY_SECONDS))


class CellServers:
    """Servers of this process, one for each set of environment variables and folder to work in; idle others are ended.

    One that left of itself, because it cannot fork or a cell broke it, would leave again, so that no other is begun in
    its place. ``were_lost`` says that one has ended that should not have.
    """

    def __init__(self, kind: Kind = "--fork-for") -> None:
        self.kind = kind
        self._servers: dict[object, _Server] = {}
        self._without: set[object] = set()
        self.were_lost = False

    @property
    def shares(self) -> bool:
        """Whether cells share the process of a server, so that what takes it down takes all of them along."""
        return self.kind == "--take-turns-for"

    def begin(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: BinaryIO,
        inherited: Sequence[int],
        directory: Path | None = None,
    ) -> ServedProcess:
        """A process that works as ``command`` does in ``directory``, by default here. Raises ``OSError``.

        Its standard error goes to ``log``; what a shared process prints, to the log of the first.
        """
        directory = directory or Path.cwd()
        key = (tuple(command), directory, frozenset(environment.items()))
        for other, server in list(self._servers.items()):
            self.were_lost |= not server.is_alive
            if server.has_left:
                self._without.add(other)
            if not server.is_alive or (other != key and not server.is_needed):
                self._servers.pop(other).close()
        if key in self._without:
            raise OSError("The server of such processes has left.")
        if key not in self._servers:
            self._servers[key] = _Server([*command, self.kind], environment, directory, log if self.shares else None)
        return self._servers[key].begin(log, inherited)

    def end_idle(self) -> None:
        """End those that nobody needs now, and note whether any was lost."""
        for key, server in list(self._servers.items()):
            self.were_lost |= not server.is_alive
            if not server.is_needed:
                self._servers.pop(key).close()


class _Server:
    """The side of a server that asks."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], directory: Path, log: BinaryIO | None
    ) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._popen = subprocess.Popen(
                [*command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if log is None else log,
                stderr=subprocess.DEVNULL if log is None else log,
                env=environment,
                cwd=directory,
                pass_fds=(theirs.fileno(),),
            )
        self.close = weakref.finalize(self, _end, self._popen, self._control)
        self._begun: weakref.WeakSet[ServedProcess] = weakref.WeakSet()

    @property
    def is_alive(self) -> bool:
        return self._popen.poll() is None

    @property
    def has_left(self) -> bool:
        """Whether it has ended, and nobody killed it."""
        return self._popen.poll() not in (None, -signal.SIGKILL)

    @property
    def is_needed(self) -> bool:
        return any(process.poll() is None for process in self._begun)

    def begin(self, log: BinaryIO, inherited: Sequence[int]) -> ServedProcess:
        (read_in, write_in), (read_out, write_out), (status, tell) = os.pipe(), os.pipe(), os.pipe()
        process = ServedProcess(self._popen, os.fdopen(write_in, "wb"), os.fdopen(read_out, "rb"), status)
        theirs = [read_in, write_out, tell]
        try:
            socket.send_fds(self._control, [b"begin"], [read_in, write_out, log.fileno(), tell, *inherited])
        except OSError:
            process.stdin.close()
            process.stdout.close()
            raise
        finally:
            for file in theirs:
                os.close(file)
        self._begun.add(process)
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
