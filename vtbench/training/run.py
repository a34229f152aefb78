"""One run, from configuration to record: `train_run`."""

from __future__ import annotations

import math
import shutil
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vtbench.configuration import RunConfig
from vtbench.datasets.batches import Batch
from vtbench.environment import resolve_device
from vtbench.errors import UserError
from vtbench.files import hash_file, publish_bytes, publish_text
from vtbench.records import EpochRecord, RunRecord, TimingRecord, save_lines, save_record
from vtbench.training.checkpoint import Checkpoint, pack_tensors, save_checkpoint
from vtbench.training.evaluation import Evaluation, evaluate
from vtbench.training.faults import describe_fault
from vtbench.training.folder import CHECKPOINTS, WEIGHTS, accept_config, find_record, hold_folder, record_path
from vtbench.training.network import canonical_config
from vtbench.training.preparation import Prepared, prepare_run
from vtbench.training.progress import SILENT, BatchProgress, ProgressListener, RunStart
from vtbench.training.reproducibility import repeatable
from vtbench.training.schedule import learning_rate_at
from vtbench.training.stop import RunStopped, StopRequest
from vtbench.training.trainer import DivergenceError, TrainingSums

_SECONDS_BETWEEN_REPORTS = 0.25


def train_run(
    config: RunConfig,
    folder: Path,
    *,
    listener: ProgressListener = SILENT,
    arm: str | None = None,
    study: str | None = None,
    stop: StopRequest | None = None,
) -> RunRecord:
    """Train one variant in ``folder``, or go on with the run that is there, or return the one that is finished.

    The run may be killed at any moment: called again with the same configuration, on the same machine, threads and
    versions, it ends with the same bits in weights, metrics and record. ``record.json`` appears last. The accuracy of a
    run is that of its last epoch, of the averaged weights where the recipe averages; ``weights.safetensors`` holds the
    weights that it belongs to. A run that failed keeps its checkpoint; called again it tries again from there.

    Returns the record, whose status tells finished from failed. Raises ``UserError`` for a configuration, data or
    folder that cannot be used, before anything is written, and when a fault cannot even be written down; raises
    ``RunStopped`` after saving when ``stop`` is requested. ``vtbench.models`` must have been imported.
    """
    config = canonical_config(config)
    device = resolve_device(config.execution.device)
    with hold_folder(folder):
        config = accept_config(folder, config)
        record = find_record(folder)
        if record is None or record.status == "failed":
            with repeatable(device, threads=config.execution.threads):
                prepared = prepare_run(config, folder, device, listener)
                record = _Run(prepared, folder, listener, stop or StopRequest(), arm, study).carry_out()
        if record.status == "finished":
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    listener.on_finish(record)
    return record


class _Run:
    """A run under way: the loop over epochs, its saves, its reports and its end."""

    def __init__(
        self,
        prepared: Prepared,
        folder: Path,
        listener: ProgressListener,
        stop: StopRequest,
        arm: str | None,
        study: str | None,
    ) -> None:
        self.prepared, self.trainer, self.config = prepared, prepared.trainer, prepared.config
        self.folder, self.listener, self.stop = folder, listener, stop
        self.names: dict[str, Any] = {"arm": arm, "study": study}
        self.epochs = list(prepared.epochs)
        self.timings = list(prepared.timings)
        self.train_seconds = prepared.train_seconds
        self.next_save = time.monotonic() + self.config.execution.checkpoint_seconds

    def carry_out(self) -> RunRecord:
        """Train to the end and write the record; a fault is recorded as what it is."""
        record_path(self.folder).unlink(missing_ok=True)
        try:
            self._announce()
            if self.epochs:  # The run may have been killed between the checkpoint and these files.
                self._publish_epochs()
            while self.trainer.epoch < self.config.recipe.epochs:
                self._run_epoch()
            publish_bytes(self.folder / WEIGHTS, self._pack_weights())
            return self._write_record(error=None)
        except RunStopped:
            raise
        except Exception as error:
            return self._record_fault(error)
        finally:
            self.prepared.train_batches.close()
            self.prepared.val_batches.close()

    def _announce(self) -> None:
        data, trainer = self.prepared, self.trainer
        self.listener.on_start(
            RunStart(
                variant=self.config.variant,
                folder=str(self.folder),
                seed=self.config.seed,
                device=str(trainer.device),
                epochs=self.config.recipe.epochs,
                batches_per_epoch=trainer.batches_per_epoch,
                num_train=len(data.train),
                num_val=len(data.val),
                num_classes=len(data.train.class_names),
                first_epoch=trainer.epoch,
                first_batch=trainer.batch,
                costs=data.costs,
            )
        )

    def _run_epoch(self) -> None:
        epoch = self.trainer.epoch
        sums = self._train_epoch()
        started = time.perf_counter()
        val, averaged = self._evaluate()
        val_seconds = time.perf_counter() - started
        trainer = self.trainer
        self.epochs.append(
            EpochRecord(
                epoch=epoch,
                learning_rate=learning_rate_at(self.config.recipe, trainer.step - 1, trainer.num_steps),
                train_loss=sums.loss,
                train_top1_percent=sums.top1_percent,
                val_loss=val.loss,
                val_top1_percent=val.top1_percent,
                ema_val_loss=averaged.loss if averaged else None,
                ema_val_top1_percent=averaged.top1_percent if averaged else None,
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
        self.listener.on_epoch(self.epochs[-1], self.timings[-1])

    def _publish_epochs(self) -> None:
        save_lines(self.folder / "metrics.jsonl", self.epochs)
        save_lines(self.folder / "timing.jsonl", self.timings)

    def _train_epoch(self) -> TrainingSums:
        trainer = self.trainer
        trainer.model.train()
        if trainer.batch == 0:
            trainer.begin_epoch()
        first_image, seconds_before, started = trainer.num_images, self.train_seconds, time.perf_counter()
        next_report = started + _SECONDS_BETWEEN_REPORTS
        for images, labels in self._remaining_batches():
            trainer.train_batch(images, labels)
            now = time.perf_counter()
            self.train_seconds = seconds_before + now - started
            if now >= next_report:
                next_report = now + _SECONDS_BETWEEN_REPORTS
                self._report((trainer.num_images - first_image) / (now - started))
            self._look_up()
        sums = trainer.sums()
        now = time.perf_counter()  # `sums` waited for the device, so this is when the epoch's work was done.
        self.train_seconds = seconds_before + now - started
        if trainer.num_images > first_image:
            self._report((trainer.num_images - first_image) / (now - started))
        return sums

    def _remaining_batches(self) -> Iterator[Batch]:
        trainer = self.trainer
        if trainer.batch < trainer.batches_per_epoch:
            yield from self.prepared.train_batches.epoch(trainer.epoch, trainer.batch)

    def _report(self, images_per_second: float) -> None:
        trainer, sums = self.trainer, self.trainer.sums()
        self.listener.on_batch(
            BatchProgress(
                epoch=trainer.epoch,
                batch=trainer.batch,
                num_batches=trainer.batches_per_epoch,
                loss=sums.loss,
                top1_percent=sums.top1_percent,
                images_per_second=images_per_second,
            )
        )

    def _look_up(self) -> None:
        """Between two batches: leave if asked to, save if it is time."""
        if self.stop.requested:
            self._save()
            raise RunStopped(self.folder, epoch=self.trainer.epoch, batch=self.trainer.batch)
        if time.monotonic() >= self.next_save:
            self._save()

    def _evaluate(self) -> tuple[Evaluation, Evaluation | None]:
        trainer = self.trainer
        models = [trainer.model] + ([trainer.average.model] if trainer.average is not None else [])
        found = [
            evaluate(
                model,
                self.prepared.val_batches,
                to_device=trainer.to_device,
                autocast=trainer.autocast,
                after_batch=self._look_up,
            )
            for model in models
        ]
        for evaluation in found:
            if not math.isfinite(evaluation.loss):
                raise DivergenceError(f"The validation loss is no finite number after epoch {trainer.epoch + 1}.")
        return found[0], found[1] if len(found) > 1 else None

    def _save(self) -> None:
        """Save the state, unless its losses show that it is worth nothing."""
        if self.trainer.batch > 0:
            self.trainer.sums()
        tensors, values = self.trainer.state()
        values |= {
            "epochs": [record.model_dump(mode="json") for record in self.epochs],
            "timings": [record.model_dump(mode="json") for record in self.timings],
            "train_seconds": self.train_seconds,
        }
        save_checkpoint(self.folder / CHECKPOINTS, Checkpoint(tensors, values))
        self.next_save = time.monotonic() + self.config.execution.checkpoint_seconds

    def _pack_weights(self) -> bytes:
        trainer, train = self.trainer, self.prepared.train
        model = trainer.average.model if trainer.average is not None else trainer.model
        described = {
            "variant": self.config.variant,
            "data": train.name,
            "image_size": train.image_size,
            "class_names": train.class_names,
            "mean": train.mean,
            "std": train.std,
        }
        return pack_tensors(model.state_dict(), described)

    def _record_fault(self, error: Exception) -> RunRecord:
        described = describe_fault(error)
        try:
            if described is None:
                described = f"Unexpected {type(error).__name__}: {error}. The traceback stands in error.txt."
                publish_text(self.folder / "error.txt", traceback.format_exc())
            return self._write_record(error=described)
        except OSError:
            raise UserError(f"The run in {self.folder} broke off. {described}") from error

    def _write_record(self, *, error: str | None) -> RunRecord:
        prepared = self.prepared
        accuracy: Any = {"reason": error}
        if error is None:
            last = self.epochs[-1]
            accuracy = last.val_top1_percent if last.ema_val_top1_percent is None else last.ema_val_top1_percent
        record = RunRecord(
            variant=self.config.variant,
            seed=self.config.seed,
            status="failed" if error else "finished",
            config=self.config,
            environment=prepared.environment,
            costs=prepared.costs,
            certificate=prepared.certificate,
            num_train=len(prepared.train),
            num_val=len(prepared.val),
            num_classes=len(prepared.train.class_names),
            epochs=tuple(self.epochs),
            val_top1_percent=accuracy,
            weights_sha256=None if error else hash_file(self.folder / WEIGHTS),
            error=error,
            **self.names,
        )
        save_record(record_path(self.folder), record)
        return record
