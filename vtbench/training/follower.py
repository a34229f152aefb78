"""What a process does that follows the first one of a run. Whoever calls imports ``vtbench.models`` before."""

from __future__ import annotations

import os
import signal
import sys
import threading

from vtbench.environment import count_started, resolve_device
from vtbench.errors import UserError
from vtbench.training.faults import describe_any_fault
from vtbench.training.loop import EpochLoop
from vtbench.training.preparation import prepare_run
from vtbench.training.progress import SILENT, RunStopped, StopRequest
from vtbench.training.ranks import Ranks, is_of_others
from vtbench.training.reproducibility import keep_freed_memory, repeatable
from vtbench.training.team import Call, Team, join_started


def follow(team: Team, stop: StopRequest, *, once: bool = False) -> None:
    """Do this process's share of every run that the first one begins, or of one; return when there is no more to do.

    A fault is told to the first process, whose run then fails with it.
    """
    while (call := team.listen(stop)) is not None:
        device = team.place(resolve_device(call.config.execution.device))
        if device.type == "cpu":
            keep_freed_memory()
        with (
            repeatable(device, threads=call.threads, compiled=call.config.execution.compile),
            team.open_world(device) as world,
        ):
            _do_share(call, world, stop)
        if once:
            return


def _do_share(call: Call, world: Ranks, stop: StopRequest) -> None:
    try:
        prepared = prepare_run(call.config, call.folder, world.device, SILENT, world)
    except UserError:  # All know of it.
        return
    try:
        EpochLoop(prepared, call.folder, SILENT, stop).run()
    except RunStopped:
        return
    except Exception as error:
        if not is_of_others(error):  # Whoever is at fault tells it.
            world.tell_fault(*describe_any_fault(error))
    finally:
        prepared.train_batches.close()
        prepared.val_batches.close()


def follow_torchrun() -> None:
    """Be one of the processes that torchrun started beside the first."""
    team = join_started()  # A signal before that ends the process.
    with StopRequest().on_signals() as stop:
        follow(team, stop)


def _leave_with_the_first() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


def help_once() -> None:
    """Help with the run of the process that started this one, and leave when standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # The first process hears it, and all agree on it.
    threading.Thread(target=_leave_with_the_first, daemon=True).start()
    follow(join_started() if count_started() > 1 else Team.meet(), StopRequest(), once=True)
    sys.stderr.flush()
    os._exit(0)  # Taking torch down in good order takes a second or more.
