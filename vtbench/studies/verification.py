"""Prove on the user's own machine that a killed cell goes on to the same bits.

Small copies of a study's cells are run twice in a scratch folder: once undisturbed, and once killed (SIGKILL, which
no process can catch) several times, at random moments, in the middle of saving, and after something was saved. Weights,
metrics and record must then be equal, byte for byte.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from vtbench.errors import UserError
from vtbench.files import hash_file
from vtbench.run_folder import ANSWERS, CHECKPOINTS, EXAMPLES, LOG, METRICS, RECORD, WEIGHTS
from vtbench.studies.cells import Cell, ResolvedStudy, list_cells
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.events import CellEnded, CellStarted
from vtbench.studies.executor import Executor, Session
from vtbench.studies.placement import read_placement
from vtbench.studies.resolution import inspect_study
from vtbench.studies.ways import list_settings
from vtbench.training.checkpoint import has_checkpoint

FILES = (WEIGHTS, METRICS, RECORD, EXAMPLES, ANSWERS)
_EPOCHS, _IMAGES, _VAL_IMAGES, _BATCH = 2, 640, 100, 32
_CHECKPOINT_SECONDS = 0.15
_LOOK_EVERY_SECONDS = 0.0005


@dataclass(frozen=True)
class ResumeCheck:
    """One cell: how often it was killed, how many of these while it saved, and the files that came out otherwise.

    ``resumes`` counts how often it went on from what it had saved, and not anew. ``longer_by`` has the options that
    would make the copy longer, so that there is more time to kill it.
    """

    cell: Cell
    kills: int
    kills_while_saving: int
    resumes: int
    digests: dict[str, str]
    different: tuple[str, ...]
    longer_by: tuple[str, ...] = ()

    @property
    def is_proved(self) -> bool:
        """Whether it was killed, went on from what it had saved and came to the same bits.

        Else it was not resuming that was tried: two runs from the first batch on were compared.
        """
        return self.resumes > 0 and not self.different


def verify_resume(
    study: ResolvedStudy,
    folder: Path,
    session: Session,
    *,
    report: Callable[[str], None],
    kills: int = 4,
    seed: int | None = None,
) -> list[ResumeCheck]:
    """Check the first and the last arm of ``study``, each killed ``kills`` times at random moments.

    They get the threads that cells have in ``folder``, or else those of the session, and the ways that were taken
    there. Raises ``UserError`` when a copy fails even undisturbed, and when the executor cannot kill.
    """
    before, longer_by = read_placement(folder), _list_lengthening(study)
    threads = session.threads or (before or session.executor.affinity(study.execution.device)).threads
    settings = list_settings(before.tried) if before is not None else {}
    draw = random.Random(seed)
    with session.executor.scratch() as scratch:
        cells = list_cells(_shrink(study, inspect_study(study)), Path(scratch))
        chosen = dict.fromkeys((cells[0].arm, cells[len(study.arms) - 1].arm))
        return [
            replace(
                _check(cell.with_execution(**(settings | {"threads": threads})), session.executor, kills, draw, report),
                longer_by=longer_by,
            )
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
    short = ("recipe.epochs", "recipe.batch_size", "data.limit_train", "data.limit_val")
    treatments = {
        arm: {key: value for key, value in own.items() if key not in short} for arm, own in study.treatments.items()
    }
    return study.model_copy(update={"data": data, "recipe": recipe, "execution": execution, "treatments": treatments})


def _list_lengthening(study: ResolvedStudy) -> tuple[str, ...]:
    """The options of the study that a copy is cut by, where they are below what a copy takes."""
    limit = study.data.limit_train
    shorter = {"--epochs": study.recipe.epochs < _EPOCHS, "--limit-train": limit is not None and limit < _IMAGES}
    return tuple(option for option, is_shorter in shorter.items() if is_shorter)


def _check(
    cell: Cell, executor: Executor, kills: int, draw: random.Random, report: Callable[[str], None]
) -> ResumeCheck:
    whole = cell.model_copy(update={"folder": cell.folder / "whole"})
    undisturbed = _Attempt(whole, executor)
    report(f"{cell.arm}: running undisturbed")
    seconds = undisturbed.finish()
    expected = _hash_files(whole.folder)
    killed = cell.model_copy(update={"folder": cell.folder / "killed"})
    hits = hits_while_saving = resumes = 0
    for number in range(kills):
        attempt = _Attempt(killed, executor)
        saving = number % 2 == 1
        sight = attempt.sees_save if saving else attempt.has_saved if number else None
        hit, seen = attempt.kill_after(draw.uniform(0.0, 2 * seconds / (kills + 1)), sight)
        if not hit:
            report(f"{cell.arm}: finished before it could be killed")
            break
        hits, resumes = hits + 1, resumes + attempt.has_saved()
        hits_while_saving += saving and seen
        where = "while it saved" if saving and seen else f"{attempt.lasted:.2f} s into training"
        report(f"{cell.arm}: killed {where}")
    else:
        report(f"{cell.arm}: going on to the end")
        _Attempt(killed, executor).finish()
    found = _hash_files(killed.folder)
    different = tuple(name for name in FILES if found.get(name) != expected.get(name))
    return ResumeCheck(cell, hits, hits_while_saving, resumes, expected, different)


def _hash_files(folder: Path) -> dict[str, str]:
    """Those that the run of a task leaves."""
    return {name: hash_file(folder / name) for name in FILES if (folder / name).exists()}


class _Attempt:
    """One cell that is carried out by itself, with a thread that listens to it."""

    def __init__(self, cell: Cell, executor: Executor) -> None:
        self._folder, self._arm = cell.folder, cell.arm
        self._running = executor.start(cell)
        self._training = threading.Event()
        self._began = self._ended = self.lasted = 0.0
        self._last_word: CellEnded | None = None
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def finish(self) -> float:
        """Let it run to its end; the seconds from the first batch on. Raises ``UserError`` if it fails."""
        self._listener.join()
        if self._last_word is None or self._last_word.status != "finished":
            reason = self._last_word.error if self._last_word else self._read_log()
            raise UserError(f"Resuming could not be checked: {self._arm} fails by itself: {reason}")
        return self._ended - self._began

    def kill_after(self, seconds: float, sight: Callable[[], bool] | None) -> tuple[bool, bool]:
        """Kill it so long after training began, or, from then on, as soon as there is such a ``sight``.

        Returns whether it was killed before it had finished, and whether that was at the sight.
        """
        self._training.wait()
        time.sleep(seconds)
        seen = sight is not None and self._look_for(sight)
        self._running.kill()
        self.lasted = time.monotonic() - self._began
        self._listener.join()
        return self._last_word is None, seen and self._last_word is None

    def sees_save(self) -> bool:
        """Whether a file is being written."""
        return any(self._folder.rglob(".*.partial"))

    def has_saved(self) -> bool:
        """Whether there is something to go on from."""
        return has_checkpoint(self._folder / CHECKPOINTS)

    def _look_for(self, sight: Callable[[], bool]) -> bool:
        while self._running.is_alive:
            if sight():
                return True
            time.sleep(_LOOK_EVERY_SECONDS)
        return False

    def _listen(self) -> None:
        for event in self._running.events():
            if isinstance(event, CellStarted):
                self._began = time.monotonic()
                self._training.set()
            elif isinstance(event, CellEnded):
                self._ended, self._last_word = time.monotonic(), event
        self._training.set()

    def _read_log(self) -> str:
        return (self._folder / LOG).read_text("utf-8", errors="replace").strip()[-500:] or "no reason given"
