"""A sign of life on standard error while something takes long: after two seconds, and then ever more rarely."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from vtbench.cli.loudness import is_quiet, is_verbose
from vtbench.units import format_duration

FIRST_AFTER_SECONDS = 2.0
_LONGEST_SECONDS = 60.0


class Waiting:
    """One step after another that is waited for. Called, it ends the last of them."""

    def __init__(self, what: str, how_far: Callable[[], str]) -> None:
        self._what, self._how_far = what, how_far
        self._begun = time.monotonic()
        self._ended = threading.Event()

    def __call__(self) -> None:
        """Nothing is waited for any more; with ``-v`` the time of the step is said."""
        if not self._ended.is_set():
            self._say_time()
        self._ended.set()

    def turn_to(self, what: str) -> None:
        """The step is over and ``what`` begins, whose time is its own; nothing once all has ended."""
        if self._ended.is_set():
            return
        self._say_time()
        self._what, self._how_far, self._begun = what, lambda: "", time.monotonic()

    def tell(self) -> None:
        """Say what is done and how far it is, ever more rarely, until it has ended."""
        pause = FIRST_AFTER_SECONDS
        while not self._ended.wait(pause):
            far = self._how_far()
            passed = format_duration(time.monotonic() - self._begun)
            typer.echo(f"vtbench: {self._what}{f', {far}' if far else ''} ({passed}) ...", err=True)
            pause = min(2 * pause, _LONGEST_SECONDS)

    def _say_time(self) -> None:
        if is_verbose():
            typer.echo(f"vtbench: {self._what}: {format_duration(time.monotonic() - self._begun)}", err=True)


@contextmanager
def tell_waiting(what: str, how_far: Callable[[], str] = lambda: "") -> Iterator[Waiting]:
    """Say ``what`` is done while the block takes its time, and ``how_far`` it is; what is yielded ends it when called.

    The pause doubles from line to line up to a minute. A block that is done within two seconds says nothing, unless
    everything is wanted (``-v``).
    """
    waiting = Waiting(what, how_far)
    if is_quiet():
        yield waiting
        return
    teller = threading.Thread(target=waiting.tell, daemon=True)
    teller.start()
    try:
        yield waiting
    finally:
        waiting()
        teller.join()
