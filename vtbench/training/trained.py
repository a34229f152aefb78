"""A trained network from its files: a variant with a weights file, or the folder of a finished run.

Weights that lie beside the record of a finished run are verified whenever they are read: the SHA-256 of the bytes that
are loaded must be that of the record. A weights file by itself can only be checked for its form and its shapes.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vtbench.datasets.dataset import ImageDataset
from vtbench.datasets.statistics import Triple
from vtbench.errors import UserError
from vtbench.files import read_file
from vtbench.records import RunRecord, load_record
from vtbench.records.record import Record
from vtbench.run_folder import RECORD, WEIGHTS
from vtbench.settings import change_settings
from vtbench.tasks import TASKS, find_task
from vtbench.training.checkpoint import unpack_tensors
from vtbench.training.folder import find_finished
from vtbench.training.foreign_network import settle_shapes
from vtbench.training.user_code import check_code
from vtbench.variants import create_model

_CONTAINERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")
"""What checkpoints wrap a state dict in, and what parallel and compiled networks put before names."""
_RUN = "the run"


class WeightsNote(Record):
    """What stands in the weights file of a run, so that the network can be used where its data are not.

    Images of ``image_size`` (height, width) are normalised by ``mean`` and ``std``. ``mask_values`` are those of the
    classes in the masks of the data set; without them a class is its number.
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"mask_values"})

    variant: str
    data: str
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    mean: Triple
    std: Triple
    mask_values: tuple[int, ...] = ()


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its record, its network with the weights that its accuracy belongs to, and what it expects."""

    folder: Path
    record: RunRecord
    model: nn.Module
    note: WeightsNote


def load_run(folder: Path) -> TrainedRun:
    """Open the run in ``folder``, in evaluation mode, with its weights verified. Its data need not be there.

    Raises ``UserError`` as `find_finished` does, and for weights that cannot be read, do not fit, or are not those of
    the record.
    """
    record, file = find_finished(folder), folder / WEIGHTS
    data = _read_verified(file, _RUN)
    try:
        packed = unpack_tensors(data)
        note = WeightsNote.model_validate(packed.values)
    except (SafetensorError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"The weights {file} are not as vtbench train writes them: {first}. Train again.") from error
    check_code(record.config.code)
    model = create_model(record.config.spelling, num_classes=len(note.class_names), image_size=note.image_size)
    settle_shapes(model, note.image_size)
    _fill(model, packed.tensors, file, f"{_RUN} {record.variant!r}")
    return TrainedRun(folder, record, model.requires_grad_(False).eval(), note)


def ask_otherwise(run: TrainedRun, changes: Mapping[str, Any]) -> TrainedRun:
    """``run``, asked with ``changes`` of its recipe, such as other windows. Raises ``UserError`` for bad values."""
    if not changes:
        return run
    if not TASKS[run.record.task].answers_with_masks and {"recipe.window", "recipe.stride"} & changes.keys():
        raise UserError(
            f"--set: windows are of segmentation, and {run.record.variant} classifies whole images. Leave them out."
        )
    config = run.record.config
    recipe = change_settings(config.data, config.recipe, changes, source="--set")[1]
    record = run.record.model_copy(update={"config": config.model_copy(update={"recipe": recipe})})
    return replace(run, record=record)


def load_variant(variant: str, file: Path, data: ImageDataset, *, owner: str) -> nn.Module:
    """Build ``variant`` for the images and classes of ``data``, with the weights in ``file``: see `read_weights`.

    ``owner`` is what messages call the network.
    """
    model = create_model(variant, num_classes=len(find_task(variant).name_classes(data)), image_size=data.image_size)
    settle_shapes(model, data.image_size)
    _fill(model, read_weights(file, owner), file, f"{owner} {variant!r} on {data.name}")
    return model


def read_weights(file: Path, owner: str) -> dict[str, Tensor]:
    """Named tensors of a safetensors file, or of a ``.pt`` file read without running code from it.

    Raises ``UserError`` for a file that cannot be read, and for the weights of a finished run whose hash is not that of
    its record.
    """
    data = _read_verified(file, owner)
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load(data)
        weights: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{owner.capitalize()}'s weights {file} cannot be loaded without running code from the file, or are "
            f"damaged: {first} Give a safetensors file, or a .pt file that holds only a state dict."
        ) from error
    weights = _unwrap(weights)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{owner.capitalize()}'s weights {file} are no state dict of names and tensors.")
    return weights


def _unwrap(weights: Any) -> Any:
    """The state dict in a checkpoint of a training script, under the names that it has in a network by itself."""
    for key in _CONTAINERS:
        if isinstance(weights, dict) and isinstance(weights.get(key), dict):
            weights = weights[key]
    for prefix in _PREFIXES:
        if isinstance(weights, dict) and weights and all(str(name).startswith(prefix) for name in weights):
            weights = {str(name).removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _fill(model: nn.Module, weights: dict[str, Tensor], file: Path, owner: str) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise UserError(f"The weights {file} do not fit {owner}: {problem}") from error


def _read_verified(file: Path, owner: str) -> bytes:
    """The bytes of a file; if it is the weights of a finished run, they are those that its record names."""
    try:
        data = read_file(file)
    except OSError as error:
        raise UserError(f"Cannot read {owner}'s weights {file}: {error.strerror or error}.") from error
    if file.name != WEIGHTS or not (file.parent / RECORD).exists():
        return data
    recorded, found = load_record(file.parent / RECORD, RunRecord).weights_sha256, hashlib.sha256(data).hexdigest()
    if recorded is not None and found != recorded:
        raise UserError(
            f"{owner.capitalize()}'s weights {file} are not those of its record: their SHA-256 begins with "
            f"{found[:12]}, and {RECORD} says {recorded[:12]}. They were changed or damaged after the run. Put the "
            f"file back, or remove {file.parent / RECORD} and train again."
        )
    return data
