"""Models of torchvision by name: classifiers, segmentation, detection, video and optical flow, all without weights."""

from __future__ import annotations

import inspect
import re
from typing import Any

from vtbench.errors import UserError, did_you_mean
from vtbench.input_shapes import InputSpec

DEFAULT_SIDE = 224
NUM_FRAMES = 16
"""At which torchvision states the operations of its networks for videos."""
_SIDES = {"detection": 800, "optical_flow": 512, "segmentation": 520}


def find_builder(name: str) -> Any:
    """The function that builds the model, given its options. Raises ``UserError`` for a name that is not there."""
    from torchvision import models

    names = models.list_models()
    if name not in names:
        raise UserError(f"torchvision has no model named {name!r}. {did_you_mean(name, names)}")
    return models.get_model_builder(name)


def list_options(
    builder: Any, name: str, num_classes: int | None, image_size: tuple[int, int] | None
) -> dict[str, Any]:
    """The options for a model of no trained weights, neither its own nor those of the backbone in it."""
    accepted = inspect.signature(builder).parameters
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in accepted:
        options["weights_backbone"] = None
    if name.removeprefix("quantized_") in ("googlenet", "inception_v3"):  # These draw weights slowly, and warn.
        options["init_weights"] = False
    if num_classes is not None:
        options["num_classes"] = num_classes
    if image_size is not None and name.startswith("vit_"):
        options["image_size"] = image_size[0]
    if image_size is not None and name.startswith("maxvit_"):
        options["input_size"] = image_size
    return options


def find_quoted_size(builder: Any, name: str) -> tuple[int, int]:
    """The smallest side at which torchvision evaluates weights of this model, or states its operations."""
    from torchvision import models

    sides = []
    for entry in models.get_model_weights(name):
        crop = getattr(entry.transforms, "keywords", {}).get("crop_size")
        if crop is not None:
            sides.append(crop if isinstance(crop, int) else crop[0])
    in_name = re.search("300|320", name)
    side = int(in_name[0]) if in_name else min(sides, default=_SIDES.get(find_task(builder), DEFAULT_SIDE))
    return side, side


def list_inputs(builder: Any, shape: tuple[int, int, int]) -> tuple[InputSpec, ...]:
    """What models for videos and optical flow take; none for models of one image of this shape (C, H, W)."""
    task = find_task(builder)
    if task == "video":
        return (InputSpec((), (shape[0], NUM_FRAMES, *shape[1:])),)
    if task == "optical_flow":
        return (InputSpec(("image1",), shape), InputSpec(("image2",), shape))
    return ()


def find_task(builder: Any) -> str:
    """The package of torchvision that the model is in: detection, segmentation, video, optical_flow or models."""
    return str(builder.__module__).split(".")[-2]
