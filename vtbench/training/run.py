"""One run, from configuration to record: `train_run`."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from vtbench.configuration import RunConfig
from vtbench.datasets.batches import describe_large_batch
from vtbench.datasets.dataset import HasMaskFiles, describe_taken, list_taken
from vtbench.datasets.duplicates import describe_leakage
from vtbench.environment import resolve_device
from vtbench.errors import UserError
from vtbench.files import hash_file, publish_bytes, publish_text
from vtbench.records import NotMeasured, RunRecord, save_record
from vtbench.run_folder import ANSWERS, CHECKPOINTS, ERROR, RECORD, WEIGHTS
from vtbench.training.certificate import check_data
from vtbench.training.checkpoint import pack_tensors
from vtbench.training.faults import describe_any_fault
from vtbench.training.folder import accept_config, find_record, hold_folder, refuse_study
from vtbench.training.loop import EpochLoop
from vtbench.training.network import canonical_config
from vtbench.training.preparation import Prepared, prepare_run
from vtbench.training.progress import SILENT, ProgressListener, RunStart, RunStopped, StopRequest
from vtbench.training.reproducibility import keep_freed_memory, repeatable
from vtbench.training.starting_weights import identify_start
from vtbench.training.team import describe_sharing, open_world, settle_devices
from vtbench.training.trained import WeightsNote
from vtbench.training.user_code import recall_code
from vtbench.written import list_differences


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
    weights that it belongs to. A run that failed keeps its checkpoint; called again it tries again from there. Of a
    finished run the record is read, and it is said if the weights are gone; they are verified when something reads
    them (see `vtbench.training.trained`).

    Returns the record, whose status tells finished from failed. Raises ``UserError`` for a configuration, data or
    folder that cannot be used, before anything is written, and when a fault cannot even be written down; raises
    ``RunStopped`` after saving when ``stop`` is requested. ``vtbench.models`` must have been imported.

    >>> from pathlib import Path
    >>> import vtbench.models
    >>> from vtbench.configuration import DataConfig, ExecutionConfig
    >>> from vtbench.training import load_recipe
    >>> recipe = load_recipe("small", epochs=1, batch_size=10)
    >>> config = RunConfig(
    ...     variant="resnet20:width=4",
    ...     data=DataConfig(spec="scenes", limit_train=20, limit_val=10),
    ...     recipe=recipe,
    ...     execution=ExecutionConfig(device="cpu", threads=1),
    ... )
    >>> record = train_run(config, Path("runs/first"))
    >>> record.status, len(record.epochs), record.num_val
    ('finished', 1, 10)
    """
    config = settle_devices(canonical_config(recall_code(config, folder)))
    device = resolve_device(config.execution.device)
    refuse_study(folder)
    with hold_folder(folder):
        config = accept_config(folder, identify_start(config, folder))
        record = find_record(folder, config, arm=arm)
        if record is not None and record.status == "finished" and record.config.data.spec != config.data.spec:
            check_data(config, record.certificate, folder)
        if record is None or record.status == "failed":
            if device.type == "cpu":
                keep_freed_memory()
            with (
                open_world(config, folder, device) as seat,
                repeatable(seat.device, threads=seat.threads, compiled=config.execution.compile),
            ):
                prepared = prepare_run(config, folder, seat.device, listener, seat.world)
                if study is None:
                    trained = prepared.trainer
                    for note in (
                        describe_taken(prepared.train),
                        describe_leakage(prepared.train, prepared.val),
                        describe_large_batch(len(prepared.train), trained.recipe.batch_size),
                        describe_sharing(trained.recipe, trained.execution, trained.model),
                    ):
                        if note is not None:
                            listener.on_message(note)
                record = _Run(prepared, folder, listener, stop or StopRequest(), arm, study).carry_out()
        elif study is None:
            listener.on_message(f"Nothing was trained: the run in {folder} had finished before.")
        if record.status == "finished":
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
            if record.weights_sha256 is not None and not (folder / WEIGHTS).exists():
                listener.on_message(
                    f"This run finished earlier, and its record stands, but its weights ({WEIGHTS}) are gone. To have "
                    f"them again, remove {folder / RECORD} and repeat the command: it trains from the start."
                )
    listener.on_finish(record)
    return record


class _Run:
    """A run under way: its beginning, its loop and its end."""

    def __init__(
        self,
        prepared: Prepared,
        folder: Path,
        listener: ProgressListener,
        stop: StopRequest,
        arm: str | None,
        study: str | None,
    ) -> None:
        self.prepared, self.config, self.folder, self.listener = prepared, prepared.config, folder, listener
        self.loop = EpochLoop(prepared, folder, listener, stop)
        self.names: dict[str, Any] = {"arm": arm, "study": study}

    def carry_out(self) -> RunRecord:
        """Train to the end and write the record; a fault is recorded as what it is."""
        (self.folder / RECORD).unlink(missing_ok=True)
        try:
            self._announce()
            self.loop.run()
            weights = self._pack_weights()
            publish_bytes(self.folder / WEIGHTS, weights)
            return self._write_record(error=None, weights_sha256=hashlib.sha256(weights).hexdigest())
        except RunStopped:
            raise
        except Exception as error:
            return self._record_fault(self.loop.world.find_cause(error))
        finally:
            self.prepared.train_batches.close()
            self.prepared.val_batches.close()

    def _announce(self) -> None:
        data, trainer = self.prepared, self.prepared.trainer
        self.listener.on_start(
            RunStart(
                task=trainer.task.name,
                variant=self.config.variant,
                folder=str(self.folder),
                seed=self.config.seed,
                device=str(trainer.device),
                epochs=self.config.recipe.epochs,
                batches_per_epoch=trainer.batches_per_epoch,
                num_train=len(data.train),
                num_val=len(data.val),
                num_classes=len(data.class_names),
                first_epoch=trainer.epoch,
                first_batch=trainer.batch,
                costs=data.costs,
            )
        )

    def _pack_weights(self) -> bytes:
        trainer, train = self.prepared.trainer, self.prepared.train
        note = WeightsNote(
            variant=self.config.variant,
            data=train.name,
            image_size=train.image_size,
            class_names=self.prepared.class_names,
            mean=train.mean,
            std=train.std,
            mask_values=train.mask_values if isinstance(train, HasMaskFiles) else (),
        )
        return pack_tensors(trainer.models[-1].state_dict(), note.model_dump(mode="json"))

    def _record_fault(self, error: Exception) -> RunRecord:
        described, trace = describe_any_fault(error)
        try:
            if trace is not None:
                publish_text(self.folder / ERROR, trace)
            return self._write_record(error=described)
        except OSError:
            raise UserError(f"The run in {self.folder} broke off. {described}") from error

    def _has_answers(self) -> bool:
        """A run that was begun by a version that did not keep them, and went on after its last epoch, has none."""
        return (self.folder / ANSWERS).exists()

    def _write_record(self, *, error: str | None, weights_sha256: str | None = None) -> RunRecord:
        prepared = self.prepared
        record = RunRecord(
            task=prepared.trainer.task.name,
            variant=self.config.variant,
            seed=self.config.seed,
            status="failed" if error else "finished",
            config=self.config,
            environment=prepared.environment,
            costs=prepared.costs,
            certificate=prepared.certificate,
            num_train=len(prepared.train),
            num_val=len(prepared.val),
            num_classes=len(prepared.class_names),
            class_names=prepared.class_names,
            class_colours=prepared.train.mask_palette if isinstance(prepared.train, HasMaskFiles) else (),
            settled_by_data={key: now for key, _, now in list_differences(self.config.recipe, prepared.trainer.recipe)},
            start=prepared.start,
            taken=list_taken(prepared.train),
            eval_batch_size=prepared.val_batches.batch_size,
            kernels=self.loop.kernels,
            epochs=tuple(self.loop.epochs),
            outcome=self.loop.epochs[-1].outcome if error is None else NotMeasured(reason=error),
            weights_sha256=weights_sha256,
            answers_sha256=hash_file(self.folder / ANSWERS) if error is None and self._has_answers() else None,
            error=error,
            **self.names,
        )
        save_record(self.folder / RECORD, record)
        return record
