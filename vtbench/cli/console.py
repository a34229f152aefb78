"""The console that every verb prints its tables to."""

from __future__ import annotations

import sys
from typing import IO

from rich.console import Console

_PIPED_WIDTH = 1000


def open_console(stream: IO[str] | None = None) -> Console:
    """A console that wraps at the terminal's width, and not at all where the output is not a terminal."""
    stream = stream or sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _PIPED_WIDTH, highlight=False)
