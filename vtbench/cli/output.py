"""Output whose reader may go away, ``vtbench train ... | head -1`` trains on; that finds no room, or has no place."""

from __future__ import annotations

import codecs
import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO

_SPELT_OUT = "vtbench.spelt_out"
_PLAIN = {"–": "-", "—": "-", "−": "-", "─": "-", "━": "=", "±": "+-", "×": "x", "·": ".", "…": "~", "→": "->"}


def outlive_readers() -> None:
    r"""From here on, what is written into a pipe that nobody reads any more is dropped, and the work goes on.

    Lines, dashes and the like that the output's encoding lacks are written with letters of ASCII, and other letters
    that it lacks are spelt out (``\u0142``).

    When it is standard output whose reader went away, one line on standard error says so; another fault of it, such as
    a full disk, is raised once. Faults of standard error are dropped. An output that was closed beforehand (``>&-``) is
    the null device: its number would else be that of the next file to be opened.
    """
    codecs.register_error(_SPELT_OUT, _spell_out)
    sys.stdout = _guard(sys.stdout, "vtbench: the reader of this output has gone; the work goes on without it.\n")
    sys.stderr = _guard(sys.stderr, "")


def _guard(stream: TextIO | None, notice: str) -> TextIO:
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if type(stream) is not io.TextIOWrapper:  # It is no descriptor.
        return stream
    stream.flush()
    if stream.isatty():
        stream.reconfigure(errors=_SPELT_OUT)
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Pipe(stream.fileno(), notice)),
        encoding=stream.encoding,
        errors=_SPELT_OUT,
        line_buffering=True,
    )


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in letters), error.end


class _Pipe(io.FileIO):
    """A descriptor that turns into the null device when its reader has gone, or after another fault."""

    def __init__(self, descriptor: int, notice: str) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._notice = notice

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if self._notice and not isinstance(error, BrokenPipeError):
                raise
            sys.stderr.write(self._notice)
            return len(data)
