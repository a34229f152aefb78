"""Kill real processes at random moments: ``python killed_runs.py TASK FOLDER KILLS INSIDE`` prints an object a kill.

There are so many kills at least, and so many of them while a file is being written. The parent
loads torch once and never computes; every run is a fork of it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tiny_parts import digest_run, tiny_config, tiny_world

from vtbench.training import train_run

_TASK = sys.argv[1]


def start_run(folder: Path) -> int:
    """Train in a process of its own; returns its number."""
    child = os.fork()
    if child == 0:
        with tiny_world(_TASK):
            config = tiny_config(epochs=6, execution={"checkpoint_seconds": 1e-9})  # Saves after every batch.
            record = train_run(config, folder)
        os._exit(0 if record.status == "finished" else 1)
    return child


def finish_run(folder: Path) -> float:
    """Train to the end; returns the seconds that it took."""
    started = time.monotonic()
    _, status = os.waitpid(start_run(folder), 0)
    assert status == 0, f"the run in {folder} did not finish"
    return time.monotonic() - started


def kill_run(folder: Path, wait: Callable[[Path], None]) -> bool:
    """Start a run and kill it after ``wait``; returns whether it died before it was finished."""
    child = start_run(folder)
    wait(folder)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def is_saving(checkpoint: Path) -> bool:
    try:
        return any(path.suffix == ".partial" for path in checkpoint.iterdir())
    except FileNotFoundError:  # Not begun, or the run has taken it away.
        return False


def until_it_saves(delay: float) -> Callable[[Path], None]:
    """Wait for a while, and then until a checkpoint is being written."""

    def wait(folder: Path) -> None:
        time.sleep(delay)
        give_up = time.monotonic() + 2
        while time.monotonic() < give_up and not is_saving(folder / "checkpoint"):
            pass

    return wait


def main(folder: Path, num_kills: int, num_inside_a_save: int) -> None:
    finish_run(folder / "warm_up")
    seconds = finish_run(folder / "reference")
    reference = digest_run(folder / "reference")
    moments = random.Random(0)
    num_tries = num_killed = num_half_written = 0
    while num_killed < num_kills or num_half_written < num_inside_a_save:
        num_tries += 1
        assert num_tries <= 5 * num_kills, "most runs finished before they could be killed"
        run = folder / str(num_tries)
        delay = moments.uniform(0, seconds)
        wait = until_it_saves(delay) if num_killed % 2 else lambda _, delay=delay: time.sleep(delay)
        if not kill_run(run, wait):
            continue  # It was faster than the reference; the moment came too late.
        num_killed += 1
        half_written = [path.name for path in run.rglob("*.partial")]
        num_half_written += bool(half_written)
        num_checkpoints = len(list(run.glob("checkpoint/*.safetensors")))
        finish_run(run)
        facts = {
            "delay": delay,
            "half_written": half_written,
            "num_checkpoints": num_checkpoints,
            "same": digest_run(run) == reference,
        }
        print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
