"""What is known of a process that ended without a word."""

from __future__ import annotations

import signal
from pathlib import Path

_LOG_TAIL_LINES = 6


def describe_exit(code: int | None, log: Path, *, mend: str = "fewer images a batch need less") -> str:
    """What a process that ended with ``code`` and without a word has left; ``mend`` is for too little memory.

    ``code`` is None where nobody saw how it ended.
    """
    if code is None:
        cause = "The process ended without a word, and nobody saw how"
    elif code < 0:
        name = signal.Signals(-code).name
        cause = f"The process was killed by {name}"
        if name == "SIGKILL":
            cause += f", which most often means that the machine ran out of memory ({mend})"
    else:
        cause = f"The process ended with exit code {code} and without a word"
    lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    tail = "\n".join(lines[-_LOG_TAIL_LINES:])
    return f"{cause}. The log {log.name} ends with:\n{tail}" if tail else f"{cause}. Its log {log.name} is empty."
