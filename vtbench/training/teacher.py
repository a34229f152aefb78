"""The teacher of a distillation: a finished run, a registered variant with a weights file, timm's or torchvision's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vtbench.datasets.dataset import ImageDataset
from vtbench.datasets.statistics import IMAGENET
from vtbench.errors import UserError
from vtbench.run_folder import WEIGHTS
from vtbench.training.checkpoint import pack_tensors
from vtbench.training.folder import find_finished
from vtbench.training.trained import load_variant

_OWNER = "the teacher"
_FORMS = "the folder of a finished run, VARIANT@FILE.safetensors, timm:NAME or torchvision:NAME"


@dataclass(frozen=True)
class Teacher:
    """A frozen network that takes the images of the run, and the hash of its weights."""

    model: nn.Module
    sha256: str


def load_teacher(name: str, data: ImageDataset, num_classes: int, device: torch.device) -> Teacher:
    """Load the teacher ``name`` for the images of ``data`` in ``num_classes`` classes.

    Weights are read, and those of a finished run verified, as `read_weights` does it. A teacher that expects another
    normalisation than that of ``data`` gets its own. Raises ``UserError`` for a name of no known form, weights that do
    not fit, or another number of classes.
    """
    kind, _, rest = name.partition(":")
    model: nn.Module
    if kind == "timm" and rest:
        model = _renormalized(*_load_timm(rest), data)
    elif kind == "torchvision" and rest:
        model = _renormalized(_load_torchvision(rest), IMAGENET.mean, IMAGENET.std, data)
    elif "@" in name:
        variant, _, file = name.rpartition("@")
        model = load_variant(variant, Path(file), data, owner=_OWNER)
    elif Path(name).is_dir():
        variant = find_finished(Path(name)).config.spelling
        model = load_variant(variant, Path(name) / WEIGHTS, data, owner=_OWNER)
    else:
        raise UserError(f"The teacher {name!r} is no trained network that vtbench can find. Give {_FORMS}.")
    model = model.to(device).requires_grad_(False).eval()
    _check_classes(name, model, data, num_classes, device)
    return Teacher(model, hashlib.sha256(pack_tensors(model.state_dict(), {})).hexdigest())


class Renormalized(nn.Module):
    """A network behind a change of normalisation, for images of shape (B, C, H, W)."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.register_buffer("shift", shift.view(1, -1, 1, 1))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The logits of the network, shape (B, K)."""
        logits_BK: Tensor = self.model(images_BCHW * self.scale + self.shift)
        return logits_BK


def _renormalized(
    model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], data: ImageDataset
) -> Renormalized:
    given_mean, given_std = torch.tensor(data.mean), torch.tensor(data.std)
    wanted_mean, wanted_std = torch.tensor(mean), torch.tensor(std)
    return Renormalized(model, given_std / wanted_std, (given_mean - wanted_mean) / wanted_std)


def _load_timm(name: str) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    try:
        import timm
    except ImportError:
        raise UserError("A teacher from timm needs timm: pip install 'vtbench[timm]'.") from None
    try:
        model: nn.Module = timm.create_model(name, pretrained=True)
    except Exception as error:  # timm and its download raise many kinds.
        raise UserError(f"timm cannot give the teacher {name!r}: {error}") from error
    settings: Any = model.pretrained_cfg
    return model, settings["mean"], settings["std"]


def _load_torchvision(name: str) -> nn.Module:
    import torchvision

    try:
        model: nn.Module = torchvision.models.get_model(name, weights="DEFAULT")
    except Exception as error:
        raise UserError(f"torchvision cannot give the teacher {name!r}: {error}") from error
    return model


def _check_classes(name: str, model: nn.Module, data: ImageDataset, num_classes: int, device: torch.device) -> None:
    with torch.no_grad():
        num_logits = model(torch.zeros(1, 3, *data.image_size, device=device)).shape[1]
    if num_logits != num_classes:
        raise UserError(
            f"The teacher {name!r} knows {num_logits} classes and {data.name} has {num_classes}. "
            "Give a teacher that was trained for these classes."
        )
