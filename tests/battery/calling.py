"""Call the command in this process, and hold it to what is promised of every bad input."""

from __future__ import annotations

import contextlib
import io
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vtbench.cli.main import run

_LOOK_SECONDS = 10.0
_STILL_LOOKS = 18
_STILL_CPU_SECONDS = 0.01
_MOST_CPU_SECONDS = 900.0
INTERRUPTED = 130
_PROMISED = {0, 1, 2}


class Accepted(BaseException):
    """Raised where the work itself would begin: everything before it took the input for a good one."""


@dataclass(frozen=True)
class Answer:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def accept(*_: Any, **__: Any) -> None:
    """Stands where the work would begin."""
    raise Accepted


def interrupt(*_: Any) -> None:
    """Stands where the work would be asked to stop."""
    raise KeyboardInterrupt


def call(arguments: Sequence[str]) -> Answer:
    """The console command in this process; whatever escapes it but the end of the process escapes this, too.

    Where it was interrupted, so are the tests: nothing here interrupts it but who wants them to end.
    """
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, _end_in_time():
        patch.setattr(sys, "argv", ["vtbench", *arguments])
        patch.setenv("COLUMNS", "80")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                run()
                code: Any = 0
            except SystemExit as leaving:
                code = leaving.code
            except Accepted:
                code = 0
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return Answer(int(code or 0), out.getvalue(), err.getvalue())


def check_answer(answer: Answer, *, refused: bool | None = None) -> None:
    """No traceback, a stated exit code, one message: a paragraph of vtbench's, or click's words on the usage."""
    told = f"exit code {answer.code}\n{answer.out[-500:]}\n{answer.err}"
    assert answer.code in _PROMISED, told
    assert "Traceback" not in answer.out + answer.err, told
    assert not re.search(r"\bpydantic\b|errors\.pydantic\.dev|<class '", answer.err), told
    assert refused is None or refused == (answer.code != 0), told
    if answer.code:
        text = answer.err.strip()
        usage = re.search(r"^Usage: .*^Error: ", text, re.MULTILINE | re.DOTALL)
        paragraphs = [line for line in text.splitlines() if line.startswith("vtbench: ")]
        assert usage or len(paragraphs) >= 1, told
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", answer.err), told


def list_files(folder: Path) -> list[str]:
    """All files beneath ``folder``; none where it is not there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def check_nothing_left(folder: Path, answer: Answer) -> None:
    """A refused command leaves no file in the folder that it would have written to."""
    if answer.code == 2:
        assert list_files(folder) == [], answer.err


@contextlib.contextmanager
def _end_in_time() -> Iterator[None]:
    """Fail where the command waits without end, or works without end; how busy the machine is plays no part."""
    began = before = time.process_time()
    still = 0

    def look(*_: Any) -> None:
        nonlocal before, still
        now = time.process_time()
        still, before = (still + 1 if now - before < _STILL_CPU_SECONDS else 0), now
        if still == _STILL_LOOKS:
            raise AssertionError(f"it hangs: it has done nothing for {_STILL_LOOKS * _LOOK_SECONDS:.0f} seconds")
        if now - began > _MOST_CPU_SECONDS:
            raise AssertionError(f"it hangs: it has worked for {_MOST_CPU_SECONDS:.0f} seconds")

    handled = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS, _LOOK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handled)
