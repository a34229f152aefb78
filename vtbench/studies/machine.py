"""What this machine has to give to a study, and the executor that deals it out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from vtbench.studies.cells import Cell, ResolvedStudy
from vtbench.studies.local_processes import LocalProcesses, make_slots
from vtbench.studies.split import Split, choose_split, read_split
from vtbench.studies.worker_process import WORKER
from vtbench.training import StopRequest


def list_gpus(device: str) -> tuple[str, ...]:
    """The GPUs among which cells on ``device`` are dealt out: all that are visible for ``cuda``, none otherwise."""
    if device != "cuda":
        return ()
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return tuple(visible.split(",")) if visible else tuple(str(n) for n in range(torch.cuda.device_count()))


def make_executor(
    study: ResolvedStudy, jobs: int, threads: int, *, inherited: Sequence[int] = (), command: Sequence[str] = WORKER
) -> LocalProcesses:
    """The executor of this machine for cells of ``study``."""
    slots = make_slots(jobs, threads=threads, gpus=list_gpus(study.execution.device))
    return LocalProcesses(slots, inherited=inherited, command=command)


def decide_split(
    study: ResolvedStudy,
    folder: Path,
    cells: Sequence[Cell],
    *,
    jobs: int | None,
    threads: int | None,
    stop: StopRequest,
    on_measuring: Callable[[], None] = lambda: None,
    inherited: Sequence[int] = (),
    command: Sequence[str] = WORKER,
) -> Split:
    """How the open ``cells`` are to share the machine; measured in a temporary folder where nothing else decides it."""
    device = study.execution.device
    return choose_split(
        cells,
        jobs=jobs,
        total_threads=threads,
        num_gpus=len(list_gpus(device)) or int(device != "cpu"),
        before=read_split(folder),
        make_executor=lambda j, t: make_executor(study, j, t, inherited=inherited, command=command),
        stop=stop,
        on_measuring=on_measuring,
    )
