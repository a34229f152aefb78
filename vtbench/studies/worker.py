"""Carry one cell out: in this process (`carry_out`), or as a process of its own.

``python -m vtbench.studies.worker`` takes the cell as one line of JSON on standard input and writes `events` on
standard output. Exit code 0 means that the last word was said, whatever it was. With ``--fork-for`` it imports what
cells need and forks such processes, and with ``--take-turns-for`` it carries out several cells itself, in turns.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import BinaryIO

from vtbench.errors import UserError
from vtbench.records import RunRecord
from vtbench.run_folder import LOG
from vtbench.studies.cells import Cell
from vtbench.studies.events import CellEnded, Event, EventEmitter, encode_event
from vtbench.studies.fork_server import serve_forks
from vtbench.studies.turn_server import SharedProcess, serve_turns
from vtbench.training import ProgressListener, RunStopped, StopRequest

CellRunner = Callable[[Cell, ProgressListener, StopRequest], RunRecord]
"""Trains a cell; raises `RunStopped` when it was asked to stop."""

_LEAVE_WITHIN_SECONDS = 4.5


def run_cell(cell: Cell, listener: ProgressListener, stop: StopRequest) -> RunRecord:
    """Train ``cell`` in its folder; called wherever an executor has the cell run.

    Raises ``RunStopped`` after saving when ``stop`` is requested, and ``UserError`` for what cannot be had.
    """
    import vtbench.models  # noqa: F401  (fills the registry)
    from vtbench.training import train_run

    return train_run(cell.config, cell.folder, listener=listener, arm=cell.arm, study=cell.study, stop=stop)


def carry_out(cell: Cell, emit: Callable[[Event], None], stop: StopRequest, run: CellRunner = run_cell) -> CellEnded:
    """Run ``cell``, emit its course and return its last word, emitted too: whatever goes wrong is a result.

    The traceback of a mistake in the code goes to the cell's log.
    """
    try:
        record = run(cell, EventEmitter(emit), stop)
    except RunStopped:
        ended = CellEnded(status="stopped")
    except UserError as error:
        ended = CellEnded(status="failed", error=str(error))
    except Exception as error:
        cell.folder.mkdir(parents=True, exist_ok=True)
        with (cell.folder / LOG).open("a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
        ended = CellEnded(status="failed", error=f"{type(error).__name__}: {error}")
    else:
        ended = CellEnded(status=record.status, error=record.error)
    emit(ended)
    return ended


def main(run: CellRunner, warm_up: Callable[[], None] = lambda: None) -> None:
    """Be a worker, or, if the command says so, ``warm_up`` and serve others (`vtbench.studies.servers`)."""
    _ignore_signals()
    if sys.argv[1:]:
        warm_up()
        kind, number = sys.argv[1:]
        with socket.socket(fileno=int(number)) as control:
            if kind == "--fork-for":
                serve_forks(control, lambda: serve(run))
            else:
                shared = SharedProcess()
                serve_turns(control, lambda source, sink: _serve_in_turn(run, shared, source, sink))
    else:
        serve(run)
    sys.stderr.flush()
    os._exit(0)  # Everything is on disk, and taking torch down in good order takes a second or more.


def serve(run: CellRunner) -> None:
    """Read a cell, run it and write its events as lines, until it ends or the study does."""
    _ignore_signals()
    _serve(run, StopRequest(), sys.stdin.buffer, claim_output())


def _serve_in_turn(run: CellRunner, shared: SharedProcess, source: BinaryIO, sink: BinaryIO) -> None:
    def run_in_turn(cell: Cell, listener: ProgressListener, stop: StopRequest) -> RunRecord:
        with shared.enter(cell.config):
            if stop.requested:  # It stood in line, and loading would keep the others from saving themselves.
                raise RunStopped(cell.folder, epoch=0, batch=0)
            return run(cell, listener, stop)

    _serve(run_in_turn, shared.make_stop(), source, sink)


def _serve(run: CellRunner, stop: StopRequest, source: BinaryIO, sink: BinaryIO) -> None:
    cell = Cell.model_validate_json(source.readline())
    has_ended = threading.Event()
    threading.Thread(target=_watch_study, args=(source, stop, has_ended), daemon=True).start()

    def write(event: Event) -> None:
        with suppress(OSError):  # A reader that is gone is no reason to lose the run.
            sink.write(encode_event(event))
            sink.flush()

    try:
        carry_out(cell, write, stop, run)
    finally:
        has_ended.set()


def _import_all() -> None:
    """What cells import sooner or later, so far as it is no matter of their settings, and without threads."""
    import vtbench.models
    import vtbench.training.run  # noqa: F401


def _ignore_signals() -> None:
    """Those that Ctrl-C or a batch system tells the whole group; the study passes them on in good order."""
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR2] if hasattr(signal, "SIGUSR2") else [])):
        signal.signal(number, signal.SIG_IGN)


def claim_output() -> BinaryIO:
    """Keep standard output for what this process has to say: what libraries print goes to standard error, its log."""
    private = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # A crash then takes no more than a line along.
    return os.fdopen(private, "wb")


def _watch_study(source: BinaryIO, stop: StopRequest, has_ended: threading.Event) -> None:
    """Ask the run to stop once the study closes the pipe or is gone, and leave if it cannot."""
    os.read(source.fileno(), 1)
    stop.request()
    if not has_ended.wait(_LEAVE_WITHIN_SECONDS):
        os._exit(128 + signal.SIGTERM)
    source.close()


if __name__ == "__main__":
    main(run_cell, _import_all)
