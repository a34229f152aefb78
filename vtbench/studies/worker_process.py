"""Start the process of one cell, and ask it to leave."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from vtbench.run_folder import LOG
from vtbench.studies.cells import Cell

WORKER = (sys.executable, "-m", "vtbench.studies.worker")


def start_worker(
    cell: Cell, environment: Mapping[str, str], *, command: Sequence[str] = WORKER, inherited: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start ``command`` for ``cell``: events come on its standard output, what it prints goes to the cell's log.

    ``environment`` is added to this process's own. ``inherited`` are open files that the process shall hold.
    """
    cell.folder.mkdir(parents=True, exist_ok=True)
    with (cell.folder / LOG).open("ab") as log:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **environment},
            pass_fds=tuple(inherited) if os.name == "posix" else (),
        )
    assert popen.stdin is not None
    try:
        popen.stdin.write(cell.model_dump_json().encode() + b"\n")
        popen.stdin.flush()
    except BrokenPipeError:  # It died at once, which its exit code will tell.
        pass
    return popen


def ask_to_leave(popen: subprocess.Popen[bytes]) -> None:
    """Close the process's standard input: the sign to save and leave. No harm if it is gone."""
    assert popen.stdin is not None
    try:
        popen.stdin.close()
    except BrokenPipeError:
        return
