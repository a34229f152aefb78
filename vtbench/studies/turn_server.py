"""Cells that share one process and take turns in it, a step each.

Small networks leave a GPU idle, and processes have it one after the other; in one process each cell has a CUDA stream
of its own, so that the kernels of several run at once, and torch is loaded and the GPU's context made once. What a cell
computes does not depend on its neighbours: only one of them works at a time, it begins each step by seeding torch's
generators (`vtbench.training.reproducibility.seed_step`), and the settings of torch are those of all. So a cell ends
with the bits that it has in a process of its own.

What one cell can break for the others is left out: see `can_take_turns`. A cell that loads keeps its turn, so that in
a stop others may go on from what they saved last. What cells print goes to the log of the one that came first.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO

from vtbench.configuration import RunConfig
from vtbench.studies.servers import EXIT_CODE, MOST_FILES, PID, TOLD
from vtbench.training import StopRequest


def can_take_turns(config: RunConfig) -> bool:
    """Whether a run may share its process: not with several devices, a compiler, or code of the user's.

    The compiler keeps what it made in the process, and forgets it for all at once; a user's file may change anything.
    """
    execution = config.execution
    return execution.devices == 1 and not execution.compile and config.code is None


class Turns:
    """Lets one thread at a time work, each in its turn, in the order in which they came."""

    def __init__(self) -> None:
        self._line: deque[threading.Semaphore] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def join(self) -> Iterator[None]:
        """Stand in line while the block runs, and begin it when it is this thread's turn."""
        own = threading.Semaphore(0)
        with self._lock:
            self._line.append(own)
            if self._line[0] is own:
                own.release()
        own.acquire()
        try:
            yield
        finally:
            with self._lock:
                self._line.popleft()
                if self._line:
                    self._line[0].release()

    def pass_on(self) -> None:
        """Let the others have their turn; returns when it is this thread's again. It must be its turn now."""
        with self._lock:
            own = self._line[0]
            if len(self._line) == 1:
                return
            self._line.rotate(-1)
            self._line[0].release()
        own.acquire()


class StopInTurn(StopRequest):
    """The wish to stop of a run that takes turns."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns

    def look(self) -> bool:
        """Let the others do a step each, and say whether the run shall stop."""
        self._turns.pass_on()
        return self.requested


class SharedProcess:
    """What the cells of a process share: their turns, and torch's settings, which stay until the process ends.

    A run puts back what it found when it ends, and a neighbour would find that in the middle of its work.
    """

    def __init__(self) -> None:
        self._turns = Turns()
        self._settings = ExitStack()
        self._is_set = False

    def make_stop(self) -> StopRequest:
        """The wish to stop of one of the cells."""
        return StopInTurn(self._turns)

    @contextmanager
    def enter(self, config: RunConfig) -> Iterator[None]:
        """Train in turns while the block runs, on a GPU with a stream of its own."""
        from vtbench.environment import resolve_device
        from vtbench.training.reproducibility import repeatable

        with self._turns.join():
            device = resolve_device(config.execution.device)
            if not self._is_set:
                self._settings.enter_context(repeatable(device, threads=config.execution.threads))
                self._is_set = True
            if device.type != "cuda":
                yield
                return
            import torch

            try:
                with torch.cuda.stream(torch.cuda.Stream(device)):  # type: ignore[no-untyped-call]
                    yield
            finally:
                _clean_up()


def _clean_up() -> None:
    """Leave the memory of a cell that has ended to the others, or leave with them where it has broken the GPU.

    After some errors a process has no use of a GPU any more, and its cells go on in processes of their own.
    """
    import torch

    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError:
        os._exit(1)


def serve_turns(control: socket.socket, work: Callable[[BinaryIO, BinaryIO], None]) -> None:
    """Let each cell that is asked for on ``control`` ``work`` in a thread; returns when all have ended.

    ``work`` takes the standard input of the cell, which it closes, and its standard output.
    """
    threads: list[threading.Thread] = []
    while True:
        message, files, _, _ = socket.recv_fds(control, 16, MOST_FILES)
        if not message:
            break
        threads.append(threading.Thread(target=_live, args=(files, work)))
        threads[-1].start()
    for thread in threads:
        thread.join()


def _live(files: list[int], work: Callable[[BinaryIO, BinaryIO], None]) -> None:
    """The life of a cell in its thread: it takes its ``files``, works and tells its end."""
    source, output, log, tell, *inherited = files
    os.close(log)
    code = 1
    try:
        os.write(tell, TOLD.pack(PID, os.getpid()))
        with os.fdopen(output, "wb") as sink:
            work(os.fdopen(source, "rb", buffering=0), sink)
        code = 0
    finally:
        with suppress(BrokenPipeError):  # Nobody wants to know any more.
            os.write(tell, TOLD.pack(EXIT_CODE, code))
        for file in (tell, *inherited):
            os.close(file)
