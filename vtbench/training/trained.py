"""A trained network from its files: a variant with a weights file, or the folder of a finished run."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vtbench.datasets import LoadedDataset, load_dataset
from vtbench.datasets.dataset import ImageDataset
from vtbench.errors import UserError
from vtbench.records import RunRecord, load_record
from vtbench.run_folder import RECORD, WEIGHTS
from vtbench.tasks import find_task
from vtbench.variants import create_model


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its record, its network with the weights that its accuracy belongs to, its validation images.

    The network expects images that are normalised with the mean and deviation of ``data``.
    """

    record: RunRecord
    model: nn.Module
    data: LoadedDataset


def load_run(folder: Path) -> TrainedRun:
    """Open the run in ``folder``. Raises ``UserError`` if none has finished there, or if its data cannot be had."""
    if not (folder / RECORD).exists():
        raise UserError(f"There is no finished run in {folder}. Give the folder that vtbench train --out wrote.")
    record = load_record(folder / RECORD, RunRecord)
    if record.status != "finished":
        raise UserError(f"The run in {folder} failed: {record.error} Give one that has finished.")
    data = load_dataset(record.config.data, "val", seed=record.seed)
    model = load_variant(record.variant, folder / WEIGHTS, data, owner="the run")
    return TrainedRun(record, model.requires_grad_(False).eval(), data)


def load_variant(variant: str, file: Path, data: ImageDataset, *, owner: str) -> nn.Module:
    """Build ``variant`` for the images and classes of ``data``, with the weights in ``file``.

    Weights are safetensors, or a ``.pt`` file read without running code from it. ``owner`` is what messages call the
    network.
    """
    model = create_model(variant, num_classes=len(find_task(variant).name_classes(data)), image_size=data.image_size)
    try:
        model.load_state_dict(_read_weights(file, owner))
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise UserError(f"The weights {file} do not fit {owner} {variant!r} on {data.name}: {problem}") from error
    return model


def _read_weights(file: Path, owner: str) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"Cannot read {owner}'s weights {file}: {error.strerror or error}.") from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{owner.capitalize()}'s weights {file} cannot be loaded without running code from the file, or are "
            f"damaged: {first} Give a safetensors file, or a .pt file that holds only a state dict."
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{owner.capitalize()}'s weights {file} are no state dict of names and tensors.")
    return weights
