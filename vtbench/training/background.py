"""Work for the disk beside the training: a thread that does it piece by piece, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class Background:
    """Does what it is given one after the other, in a thread of its own, which begins with the first piece.

    What a piece raises is raised by the next call, whichever that is, and the pieces after it are left out: a file
    never appears where one that should be there before it does not. At the end of the block all are done.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="files")
        self._open: deque[Future[None]] = deque()
        self._broken = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        return all(piece.done() for piece in self._open)

    def begin(self, work: Callable[[], None]) -> None:
        """Do ``work`` when all before it is done; returns at once."""
        while self._open and self._open[0].done():
            self._open.popleft().result()
        self._open.append(self._thread.submit(self._do, work))

    def wait(self) -> None:
        """Return when all is done."""
        while self._open:
            self._open.popleft().result()

    def __enter__(self) -> Background:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def _do(self, work: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            work()
        except BaseException:
            self._broken = True
            raise
