"""How a study and cells on other machines talk through a folder that they share, where no network may be counted on.

A cell appends what it emits to a file of its own, which is opened anew for each look and each word, so that network
file systems show it. The study keeps one file that says that it lives, or that it wants to stop.

.. code-block:: text

    study             a number that grows, or "stop"
    NAME.events       lines of events of the cell called NAME
    NAME.result       how it ended
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtbench.files import publish_text, read_file
from vtbench.locking import DEAD_AFTER_SECONDS, HEARTBEAT_SECONDS

_STOP = "stop"


@dataclass
class StudySide:
    """The study's end of the mailbox in ``folder``."""

    folder: Path
    _beats: int = 0
    _last_beat: float = float("-inf")
    _read: dict[str, int] = field(default_factory=dict)

    def beat(self) -> None:
        """Say now and then that the study lives."""
        if time.monotonic() - self._last_beat > HEARTBEAT_SECONDS:
            self._last_beat, self._beats = time.monotonic(), self._beats + 1
            publish_text(self.folder / "study", str(self._beats))

    def stop(self) -> None:
        """Say that the study wants to stop."""
        self._last_beat = float("inf")
        publish_text(self.folder / "study", _STOP)

    def fetch(self, name: str) -> list[bytes] | None:
        """Whole lines that came since the last time; None if nothing ever came."""
        try:
            with (self.folder / f"{name}.events").open("rb") as stream:
                stream.seek(self._read.get(name, 0))
                told = stream.read()
        except FileNotFoundError:
            return None
        whole = told[: told.rfind(b"\n") + 1]
        self._read[name] = self._read.get(name, 0) + len(whole)
        return whole.splitlines()

    def find_result(self, name: str) -> tuple[str, str | None] | None:
        """Status and error of a cell that has ended."""
        try:
            status, error = json.loads(read_file(self.folder / f"{name}.result"))
        except FileNotFoundError:
            return None
        return status, error


@dataclass
class CellSide:
    """The end of the cell called ``name``."""

    folder: Path
    name: str
    _heard: bytes = b""
    _heard_at: float = field(default_factory=time.monotonic)

    def tell(self, lines: list[bytes]) -> bool:
        """Append ``lines``; whether the study wants to stop. Raises ``ConnectionError`` where it is gone."""
        try:
            with (self.folder / f"{self.name}.events").open("ab") as stream:
                stream.write(b"".join(lines))
        except FileNotFoundError as error:
            raise ConnectionError("the study has left") from error
        heard = b""
        with contextlib.suppress(OSError):
            heard = read_file(self.folder / "study")
        if heard == _STOP.encode():
            return True
        now = time.monotonic()
        if heard and heard != self._heard:
            self._heard, self._heard_at = heard, now
        if now - self._heard_at > DEAD_AFTER_SECONDS:
            raise ConnectionError("the study shows no sign of life")
        return False

    def conclude(self, status: str, error: str | None) -> None:
        """Say how the cell ended, unless the study has left."""
        with contextlib.suppress(FileNotFoundError):
            publish_text(self.folder / f"{self.name}.result", json.dumps([status, error]))

    def __getstate__(self) -> dict[str, Any]:
        """The clock of one machine says nothing on another."""
        return {"folder": self.folder, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
