"""Prove on the user's own machine that a killed cell goes on to the same bits.

Small copies of a study's cells are run twice in a temporary folder: once undisturbed, and once killed (SIGKILL, which
no process can catch) several times, at random moments and in the middle of saving. Weights, metrics and record must
then be equal, byte for byte.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vtbench.errors import UserError
from vtbench.files import hash_file
from vtbench.run_folder import LOG, METRICS, RECORD, WEIGHTS
from vtbench.studies.cells import Cell, ResolvedStudy, list_cells
from vtbench.studies.events import CellEnded, CellStarted, decode_event
from vtbench.studies.resolution import DataFacts
from vtbench.studies.worker_process import WORKER, start_worker

FILES = (WEIGHTS, METRICS, RECORD)
_EPOCHS, _IMAGES, _VAL_IMAGES, _BATCH = 2, 640, 100, 32
_CHECKPOINT_SECONDS = 0.15
_LOOK_EVERY_SECONDS = 0.0005


@dataclass(frozen=True)
class ResumeCheck:
    """One cell: how often it was killed, how many of these while it saved, and the files that came out otherwise."""

    arm: str
    variant: str
    kills: int
    kills_while_saving: int
    digests: dict[str, str]
    different: tuple[str, ...]


def verify_resume(
    study: ResolvedStudy,
    facts: DataFacts,
    *,
    environment: Mapping[str, str],
    threads: int,
    say: Callable[[str], None],
    kills: int = 4,
    seed: int | None = None,
    command: Sequence[str] = WORKER,
) -> list[ResumeCheck]:
    """Check the first and the last arm of ``study``, each killed ``kills`` times at random moments.

    Raises ``UserError`` when a copy fails even undisturbed.
    """
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="vtbench-verify-", ignore_cleanup_errors=True) as temporary:
        cells = list_cells(_shrink(study, facts), Path(temporary))
        chosen = dict.fromkeys((cells[0].arm, cells[len(study.arms) - 1].arm))
        return [
            _check(cell.with_threads(threads), environment, command, kills, draw, say)
            for cell in cells[: len(study.arms)]
            if cell.arm in chosen
        ]


def _shrink(study: ResolvedStudy, facts: DataFacts) -> ResolvedStudy:
    """A copy that trains for seconds and saves several times a second."""
    data = study.data.model_copy(
        update={
            "limit_train": min(facts.num_train, max(_IMAGES, facts.num_classes)),
            "limit_val": min(facts.num_val, max(_VAL_IMAGES, facts.num_classes)),
        }
    )
    recipe = study.recipe.model_copy(
        update={"epochs": min(_EPOCHS, study.recipe.epochs), "batch_size": min(_BATCH, study.recipe.batch_size)}
    )
    execution = study.execution.model_copy(update={"checkpoint_seconds": _CHECKPOINT_SECONDS})
    return study.model_copy(update={"data": data, "recipe": recipe, "execution": execution})


def _check(
    cell: Cell,
    environment: Mapping[str, str],
    command: Sequence[str],
    kills: int,
    draw: random.Random,
    say: Callable[[str], None],
) -> ResumeCheck:
    say(f"{cell.arm}: running undisturbed")
    whole = cell.model_copy(update={"folder": cell.folder / "whole"})
    seconds = _Attempt(whole, environment, command).finish()
    expected = {name: hash_file(whole.folder / name) for name in FILES}
    killed = cell.model_copy(update={"folder": cell.folder / "killed"})
    hits = hits_while_saving = 0
    for number in range(kills):
        attempt = _Attempt(killed, environment, command)
        saving = number % 2 == 1
        delay = draw.uniform(0.0, 2 * seconds / (kills + 1))
        hit, while_saving = attempt.kill_after(delay, wait_for_save=saving)
        hits, hits_while_saving = hits + hit, hits_while_saving + while_saving
        where = "while it saved" if while_saving else f"{delay:.2f} s into training"
        say(f"{cell.arm}: killed {where}" if hit else f"{cell.arm}: finished before it could be killed")
        if not hit:
            break
    else:
        say(f"{cell.arm}: going on to the end")
        _Attempt(killed, environment, command).finish()
    found = {name: hash_file(killed.folder / name) for name in FILES}
    different = tuple(name for name in FILES if found[name] != expected[name])
    return ResumeCheck(cell.arm, cell.config.variant, hits, hits_while_saving, expected, different)


class _Attempt:
    """One process of a cell, with a thread that reads what it tells."""

    def __init__(self, cell: Cell, environment: Mapping[str, str], command: Sequence[str]) -> None:
        self._cell = cell
        self._popen: subprocess.Popen[bytes] = start_worker(cell, environment, command=command)
        self._training = threading.Event()
        self._began = self._ended = 0.0
        self._last_word: CellEnded | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def finish(self) -> float:
        """Let it run to its end; the seconds from the first batch on. Raises ``UserError`` if it fails."""
        self._wait()
        if self._last_word is None or self._last_word.status != "finished":
            reason = self._last_word.error if self._last_word else self._read_log()
            raise UserError(f"Resuming could not be checked: {self._cell.arm} fails by itself: {reason}")
        return self._ended - self._began

    def kill_after(self, seconds: float, *, wait_for_save: bool) -> tuple[bool, bool]:
        """Kill it so long after training began, or, from then on, at the first sight of a file being written.

        Returns whether it was killed before it had finished, and whether that was while it saved.
        """
        self._training.wait()
        time.sleep(seconds)
        saving = wait_for_save and self._see_save()
        self._popen.kill()
        self._wait()
        return self._last_word is None, saving and self._last_word is None

    def _see_save(self) -> bool:
        while self._popen.poll() is None:
            if any(self._cell.folder.rglob(".*.partial")):
                return True
            time.sleep(_LOOK_EVERY_SECONDS)
        return False

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            try:
                event = decode_event(line)
            except ValueError:
                continue
            if isinstance(event, CellStarted):
                self._began = time.monotonic()
                self._training.set()
            elif isinstance(event, CellEnded):
                self._ended, self._last_word = time.monotonic(), event
        self._training.set()

    def _wait(self) -> None:
        self._reader.join()
        self._popen.wait()
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._popen.stdin.close()
        self._popen.stdout.close()

    def _read_log(self) -> str:
        return (self._cell.folder / LOG).read_text("utf-8", errors="replace").strip()[-500:] or "no reason given"
