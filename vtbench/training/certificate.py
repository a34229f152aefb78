"""The certificate of a run: hashes of everything that two arms must share to be comparable."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from vtbench.configuration import RunConfig
from vtbench.datasets.batches import TrainBatches
from vtbench.datasets.dataset import ImageDataset
from vtbench.datasets.loading import identify_data
from vtbench.errors import UserError
from vtbench.records import Certificate
from vtbench.training.optimization import learning_rate_at


def certify(
    config: RunConfig,
    batches: TrainBatches,
    train: ImageDataset,
    val: ImageDataset,
    *,
    teacher_sha256: str | None,
    untreated: Certificate | None = None,
    network_sha256: str | None = None,
) -> Certificate:
    """Hash the treatment that ``config`` and its data give to a network; the network itself stands beside it.

    The recipe's name does not count, what it says does; a teacher and the weights to start from count by
    their content. Rates are hashed to 12 digits,
    so that machines whose cosine differs in the last bit agree.
    """
    recipe = config.recipe
    num_steps = len(batches) * recipe.epochs
    rates = "\n".join(f"{learning_rate_at(recipe, step, num_steps):.11e}" for step in range(num_steps))
    notes = dict.fromkeys(recipe.NOTES, True)
    treatment = recipe.model_dump(mode="json", exclude={"name": True, "distillation": {"teacher"}, **notes})
    execution = config.execution
    micro_batches = f", {execution.accumulate} micro-batches a step" if execution.accumulate > 1 else ""
    return Certificate(
        sample_order=batches.order_hash(recipe.epochs),
        augmentation=batches.augmentation_hash(recipe.epochs),
        schedule=_hash(rates),
        recipe=_hash(json.dumps([treatment, teacher_sha256], sort_keys=True)),
        precision=f"{execution.precision}{micro_batches}",
        train_data=train.fingerprint,
        val_data=val.fingerprint,
        train_content=train.content,
        val_content=val.content,
        starting_weights=config.init.sha256 if config.init is not None else None,
        untreated=untreated,
        network=network_sha256,
    )


def check_data(config: RunConfig, certificate: Certificate | None, folder: Path) -> None:
    """Raise ``UserError`` unless the data of ``config`` are those of the run in ``folder``, wherever they lie."""
    now = identify_data(config.data, [config.seed])[config.seed]
    if certificate is None or (now["train"], now["val"]) != (certificate.train_data, certificate.val_data):
        raise UserError(
            f"The finished run in {folder} was trained and validated on other data than {config.data.spec}. "
            "Name those with --data, or give another folder with --out."
        )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
