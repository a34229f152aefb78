"""Processes forked from one that has imported everything: each begins at once, and the memory of imports is shared.

The server has run nothing, so that it has no threads whose locks a fork could find taken. Linux only; no GPU can be
used on both sides of a fork, but one that nobody has touched does no harm.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress

from vtbench.studies.servers import EXIT_CODE, MOST_FILES, PID, TOLD


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
                message, files, _, _ = socket.recv_fds(control, 16, MOST_FILES)
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
            os.write(tell, TOLD.pack(EXIT_CODE, os.waitstatus_to_exitcode(status)))
        os.close(tell)


def _live(files: Sequence[int], work: Callable[[], None]) -> None:
    """The life of a forked process: it takes its ``files``, works and leaves."""
    code = 1
    try:
        for number in range(3):
            os.dup2(files[number], number)
            os.close(files[number])
        os.write(files[3], TOLD.pack(PID, os.getpid()))
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
