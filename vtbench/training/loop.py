"""The loop over the epochs of a run: train, evaluate, save, report."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from torch import nn

from vtbench.datasets.batches import Batch
from vtbench.files import publish_bytes
from vtbench.metrics import is_of_class
from vtbench.records import EpochRecord, TimingRecord, save_lines
from vtbench.records.answers import pack_answers
from vtbench.run_folder import ANSWERS, CHECKPOINTS, EXAMPLES, METRICS, TIMING
from vtbench.training.answers import AnswerKeeper
from vtbench.training.background import Background
from vtbench.training.checkpoint import FORMAT, pack_tensors, publish_checkpoint
from vtbench.training.evaluation import SlidingWindow, evaluate, ignore
from vtbench.training.examples import ExampleMaker
from vtbench.training.kernels import describe_kernels, join_kernels
from vtbench.training.optimization import learning_rate_at
from vtbench.training.preparation import Prepared
from vtbench.training.progress import SILENT, BatchProgress, ProgressListener, RunStopped, StopRequest
from vtbench.training.trainer import DivergenceError

_SECONDS_BETWEEN_REPORTS = 0.25
_SLOW_STEP_SECONDS = 1.5  # A stop may not wait for a step much longer than this, so the state before it must be saved.
_WORTH_A_SAVE = 50  # A step that takes so many times as long as a save is worth one.


class EpochLoop:
    """Trains from where ``prepared`` stands to the last epoch. ``epochs`` and ``timings`` hold what is done so far.

    ``kernels`` are those that compiled steps were done with, as far as these are saved.
    """

    def __init__(self, prepared: Prepared, folder: Path, listener: ProgressListener, stop: StopRequest) -> None:
        self.prepared, self.trainer, self.config = prepared, prepared.trainer, prepared.config
        self.world = prepared.trainer.world
        self.folder, self.stop = folder, stop
        self.listener = listener if self.world.is_first else SILENT
        self.epochs = list(prepared.epochs)
        self.timings = list(prepared.timings)
        self.train_seconds = prepared.train_seconds
        self.kernels = prepared.kernels
        self.background = Background()
        self._untold: tuple[EpochRecord, TimingRecord] | None = None
        self.save_seconds = 0.0
        self.next_save = time.monotonic() + self.config.execution.checkpoint_seconds

    def run(self) -> None:
        """Train to the end. Raises ``RunStopped`` after saving, ``DivergenceError``, and whatever the data raises.

        Files are written beside the training; all of them are there when it returns or raises.
        """
        with self.background:
            if self.epochs:  # The run may have been killed between the checkpoint and these files.
                self._publish_epochs()
            while self.trainer.epoch < self.config.recipe.epochs:
                self._run_epoch()
            self._tell_epoch()

    def _run_epoch(self) -> None:
        epoch = self.trainer.epoch
        train = self._train_epoch()
        started = time.perf_counter()
        trainer = self.trainer
        keeper = AnswerKeeper(trainer.task) if epoch + 1 == self.config.recipe.epochs else None
        val, averaged = self._evaluate(keeper)
        val_seconds = time.perf_counter() - started
        if keeper is not None:
            self._keep_answers(keeper)
        self.epochs.append(
            EpochRecord(
                epoch=epoch,
                learning_rate=learning_rate_at(self.config.recipe, trainer.step - 1, trainer.num_steps),
                train={key: value for key, value in train.items() if not is_of_class(key)},
                val=val,
                averaged_val=averaged,
            )
        )
        self.timings.append(
            TimingRecord(
                epoch=epoch,
                train_seconds=self.train_seconds,
                val_seconds=val_seconds,
                train_images_per_second=trainer.num_images / self.train_seconds,
            )
        )
        trainer.epoch, trainer.batch, self.train_seconds = epoch + 1, 0, 0.0
        self._save()
        self._publish_epochs()
        self._untold = self.epochs[-1], self.timings[-1]

    def _publish_epochs(self) -> None:
        if not self.world.is_first:
            return
        for name, records in ((METRICS, self.epochs), (TIMING, self.timings)):
            self.background.begin(partial(save_lines, self.folder / name, tuple(records)))

    def _tell_epoch(self) -> None:
        """Tell of the last epoch when its files are written: what was told of is not lost."""
        self.background.wait()
        if self._untold is not None:
            epoch, self._untold = self._untold, None
            self.listener.on_epoch(*epoch)

    def _train_epoch(self) -> dict[str, float]:
        trainer = self.trainer
        trainer.switch_to_training()
        if trainer.batch == 0:
            trainer.begin_epoch()
        first_image, seconds_before, started = trainer.num_images, self.train_seconds, time.perf_counter()
        next_report = started + _SECONDS_BETWEEN_REPORTS
        now = started
        for images, targets in self._remaining_batches():
            trainer.train_batch(images, targets)
            before, now = now, time.perf_counter()
            self.train_seconds = seconds_before + now - started
            if now >= next_report:
                next_report = now + _SECONDS_BETWEEN_REPORTS
                self._report((trainer.num_images - first_image) / (now - started))
            self._stop_or_save(step_seconds=now - before)
        train = trainer.read_epoch(of_all=True)
        now = time.perf_counter()  # `read_epoch` waited for the device, so this is when the epoch's work was done.
        self.train_seconds = seconds_before + now - started
        self._tell_epoch()  # So the last batch of every epoch is told of, however short the epoch and slow the disk.
        if trainer.num_images > first_image:
            self._report((trainer.num_images - first_image) / (now - started))
        return train

    def _remaining_batches(self) -> Iterator[Batch]:
        trainer = self.trainer
        if trainer.batch < trainer.batches_per_epoch:
            yield from self.prepared.train_batches.epoch(trainer.epoch, trainer.batch)

    def _report(self, images_per_second: float) -> None:
        if not self.world.is_first or self._untold is not None:
            return
        trainer = self.trainer
        self.listener.on_batch(
            BatchProgress(
                epoch=trainer.epoch,
                batch=trainer.batch,
                num_batches=trainer.batches_per_epoch,
                train=trainer.read_epoch(),
                images_per_second=images_per_second,
            )
        )

    def _stop_or_save(self, step_seconds: float = 0.0) -> None:
        """Between two batches: leave if asked to, save if it is time or if a stop could not wait for the next step."""
        if self.background.is_idle:
            self._tell_epoch()
        slow = step_seconds > max(_SLOW_STEP_SECONDS, _WORTH_A_SAVE * self.save_seconds)
        stop, save = self.world.agree(self.stop.look(), slow or time.monotonic() >= self.next_save)
        if stop or save:
            self._save()
        if stop:
            self._tell_epoch()
            raise RunStopped(self.folder, epoch=self.trainer.epoch, batch=self.trainer.batch)

    def _keep_answers(self, keeper: AnswerKeeper) -> None:
        """Before the epoch is saved: a run that goes on from there does not evaluate again."""
        prepared, trainer = self.prepared, self.trainer
        answers = keeper.gather(prepared.val_batches, prepared.val, self.world)
        if not self.world.is_first:
            return
        publish_bytes(self.folder / ANSWERS, pack_answers(answers))
        if trainer.task.answers_with_masks:
            maker = ExampleMaker(trainer.models[-1], trainer, prepared.val_batches, prepared.val)
            publish_bytes(self.folder / EXAMPLES, maker.make(answers.scores))

    def _evaluate(self, keeper: AnswerKeeper | None) -> tuple[dict[str, float], dict[str, float] | None]:
        models = self.trainer.models
        found = [self._evaluate_one(model, keeper if model is models[-1] else None) for model in models]
        for evaluation in found:
            if not math.isfinite(evaluation["loss"]):
                raise DivergenceError(f"The validation loss is no finite number after epoch {self.trainer.epoch + 1}.")
        return found[0], found[1] if len(found) > 1 else None

    def _evaluate_one(self, model: nn.Module, keeper: AnswerKeeper | None) -> dict[str, float]:
        trainer = self.trainer
        self.world.align_buffers(model)
        return evaluate(
            model,
            self.prepared.val_batches,
            task=trainer.task,
            to_device=trainer.to_device,
            autocast=trainer.autocast,
            predict=SlidingWindow.of(self.config.recipe),
            after_batch=self._stop_or_save,
            world=self.world,
            by_image=keeper.by_image if keeper is not None else None,
            observe=keeper.hear if keeper is not None else ignore,
        )

    def _save(self) -> None:
        """Save the state, unless its losses show that it is worth nothing."""
        started = time.monotonic()
        if self.trainer.batch > 0:
            self.trainer.read_epoch(of_all=True)
        self._note_kernels()
        tensors, values = self.trainer.state()
        values |= {
            "format": FORMAT,
            "epochs": [record.model_dump(mode="json") for record in self.epochs],
            "timings": [record.model_dump(mode="json") for record in self.timings],
            "train_seconds": self.train_seconds,
            "kernels": self.kernels,
        }
        if self.world.is_first:
            self._tell_epoch()  # Of states that wait to be written there is one at most.
            self.background.begin(partial(publish_checkpoint, self.folder / CHECKPOINTS, pack_tensors(tensors, values)))
        self.world.barrier()
        now = time.monotonic()
        self.save_seconds, self.next_save = now - started, now + self.config.execution.checkpoint_seconds

    def _note_kernels(self) -> None:
        """Say so once where they are not those of before. What this process had at its last save counts no more."""
        if not self.config.execution.compile:
            return
        before, noted = self.prepared.kernels, self.kernels
        self.kernels = join_kernels(before, self.world.gather(self.trainer.kernels))
        if len(noted) == len(before) < len(self.kernels) and (note := describe_kernels(self.kernels)) is not None:
            self.listener.on_message(note)
