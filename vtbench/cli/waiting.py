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


@contextmanager
def tell_waiting(what: str, how_far: Callable[[], str] = lambda: "") -> Iterator[Callable[[], None]]:
    """Say ``what`` is done while the block takes its time, and ``how_far`` it is; the value that is yielded ends it.

    The pause doubles from line to line up to a minute. A block that is done within two seconds says nothing, unless
    everything is wanted (``-v``).
    """
    ended, begun = threading.Event(), time.monotonic()

    def tell() -> None:
        pause = FIRST_AFTER_SECONDS
        while not ended.wait(pause):
            far = how_far()
            passed = format_duration(time.monotonic() - begun)
            typer.echo(f"vtbench: {what}{f', {far}' if far else ''} ({passed}) ...", err=True)
            pause = min(2 * pause, _LONGEST_SECONDS)

    def end() -> None:
        if is_verbose() and not ended.is_set():
            typer.echo(f"vtbench: {what}: {format_duration(time.monotonic() - begun)}", err=True)
        ended.set()

    if is_quiet():
        yield ended.set
        return
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield end
    finally:
        end()
        teller.join()
