"""RandAugment, colour jitter and random erasing of single images, through torchvision's functions.

A draw is a word of `counter_based`; nothing here has a generator of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vtbench.datasets.counter_based import to_below, to_unit

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB), D draws of an image.

NUM_JITTER_DRAWS = 5
"""Brightness, contrast, saturation, hue, and their order."""
NUM_ERASING_DRAWS = 5
"""Whether, area, proportion, and the two coordinates of the corner."""
DRAWS_OF_AN_OPERATION = 2
"""Which operation, and its sign."""
LARGEST_MAGNITUDE = 30

_ERASED_AREA = (0.02, 0.33)
_ERASED_PROPORTION = (0.3, 3.3)
_ORDERS = 24


def rand_augment(
    images_BHWC: NDArray[np.uint8], words_BD: NDArray[np.uint64], magnitude: int, fill: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Apply operations in a row to each image, drawn evenly (Cubuk et al. 2020, arXiv 1909.13719, section 3).

    The operations, and what ``magnitude`` of 30 means to each, are those of torchvision's RandAugment.
    """
    return _for_each(images_BHWC, lambda image_CHW, number: _augment(image_CHW, words_BD[number], magnitude, fill))


def jitter_colours(
    images_BHWC: NDArray[np.uint8], words_BD: NDArray[np.uint64], strength: float, hue: float
) -> NDArray[np.uint8]:
    """Change brightness, contrast and saturation by factors from 1 - ``strength`` to 1 + ``strength``, and the hue.

    The hue is turned by up to ``hue`` of a turn either way; the order is drawn, as in torchvision's ColorJitter.
    """
    return _for_each(images_BHWC, lambda image_CHW, number: _jitter(image_CHW, words_BD[number], strength, hue))


def erase(
    images_BHWC: NDArray[np.uint8], words_BD: NDArray[np.uint64], probability: float, fill: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Fill a rectangle of an image with the mean colour, with ``probability`` (Zhong et al. 2020, arXiv 1708.04896).

    Its area is 2 to 33 % of the image and its proportion 0.3 to 3.3, as in torchvision's RandomErasing; what would not
    fit is cut to the image.
    """
    from torchvision.transforms.v2 import functional

    colour_C11 = torch.tensor(fill, dtype=torch.uint8)[:, None, None]

    def change(image_CHW: torch.Tensor, number: int) -> torch.Tensor:
        whether, area, proportion, down, across = (float(unit) for unit in to_unit(words_BD[number]))
        if whether >= probability:
            return image_CHW
        height, width = image_CHW.shape[1:]
        pixels = height * width * _between(area, *_ERASED_AREA)
        ratio = math.exp(_between(proportion, *map(math.log, _ERASED_PROPORTION)))
        tall, wide = min(height, round(math.sqrt(pixels * ratio))), min(width, round(math.sqrt(pixels / ratio)))
        top, left = int(down * (height - tall + 1)), int(across * (width - wide + 1))
        erased: torch.Tensor = functional.erase(image_CHW, top, left, tall, wide, colour_C11)
        return erased

    return _for_each(images_BHWC, change)


def _for_each(images_BHWC: NDArray[np.uint8], change: Callable[[torch.Tensor, int], torch.Tensor]) -> NDArray[np.uint8]:
    images_BCHW = torch.from_numpy(np.ascontiguousarray(images_BHWC.transpose(0, 3, 1, 2)))
    for number, image_CHW in enumerate(images_BCHW):
        images_BCHW[number] = change(image_CHW, number)
    return np.ascontiguousarray(images_BCHW.numpy().transpose(0, 2, 3, 1))


def _jitter(image_CHW: torch.Tensor, words_D: NDArray[np.uint64], strength: float, hue: float) -> torch.Tensor:
    from torchvision.transforms.v2 import functional

    units = to_unit(words_D)
    low, high = max(0.0, 1 - strength), 1 + strength
    changes: list[Callable[[torch.Tensor], torch.Tensor]] = [
        lambda image: functional.adjust_brightness(image, _between(float(units[0]), low, high)),
        lambda image: functional.adjust_contrast(image, _between(float(units[1]), low, high)),
        lambda image: functional.adjust_saturation(image, _between(float(units[2]), low, high)),
        lambda image: functional.adjust_hue(image, _between(float(units[3]), -hue, hue)),
    ]
    left, number = [0, 1, 2, 3], int(to_below(words_D[4:5], _ORDERS)[0])
    for remaining in (4, 3, 2, 1):
        number, place = divmod(number, remaining)
        chosen = left.pop(place)
        if (hue if chosen == 3 else strength) > 0:
            image_CHW = changes[chosen](image_CHW)
    return image_CHW


def _augment(
    image_CHW: torch.Tensor, words_D: NDArray[np.uint64], magnitude: int, fill: tuple[int, int, int]
) -> torch.Tensor:
    for start in range(0, len(words_D), DRAWS_OF_AN_OPERATION):
        which = int(to_below(words_D[start : start + 1], len(OPERATIONS))[0])
        sign = 1.0 if int(to_below(words_D[start + 1 : start + 2], 2)[0]) else -1.0
        image_CHW = OPERATIONS[which](image_CHW, magnitude / LARGEST_MAGNITUDE, sign, list(map(float, fill)))
    return image_CHW


def _call(name: str, *arguments: Any, **named: Any) -> torch.Tensor:
    from torchvision.transforms.v2 import functional

    changed: torch.Tensor = getattr(functional, name)(*arguments, **named)
    return changed


def _move(
    image: torch.Tensor, fill: list[float], *, shift: tuple[int, int], shear: tuple[float, float]
) -> torch.Tensor:
    degrees = [math.degrees(math.atan(part)) for part in shear]
    center = [0, 0] if any(shear) else None
    return _call("affine", image, angle=0.0, translate=list(shift), scale=1.0, shear=degrees, fill=fill, center=center)


def _adjust(name: str) -> Operation:
    return lambda image, part, sign, fill: _call(f"adjust_{name}", image, 1.0 + sign * 0.9 * part)


Operation = Callable[[torch.Tensor, float, float, list[float]], torch.Tensor]
"""(image, magnitude from 0 to 1, sign, colour beyond the image) -> image."""

_SHIFT = 150.0 / 331.0
OPERATIONS: tuple[Operation, ...] = (
    lambda image, part, sign, fill: image,
    lambda image, part, sign, fill: _move(image, fill, shift=(0, 0), shear=(sign * 0.3 * part, 0.0)),
    lambda image, part, sign, fill: _move(image, fill, shift=(0, 0), shear=(0.0, sign * 0.3 * part)),
    lambda image, part, sign, fill: _move(
        image, fill, shift=(int(sign * _SHIFT * image.shape[2] * part), 0), shear=(0.0, 0.0)
    ),
    lambda image, part, sign, fill: _move(
        image, fill, shift=(0, int(sign * _SHIFT * image.shape[1] * part)), shear=(0.0, 0.0)
    ),
    lambda image, part, sign, fill: _call("rotate", image, sign * 30.0 * part, fill=fill),
    _adjust("brightness"),
    _adjust("saturation"),
    _adjust("contrast"),
    _adjust("sharpness"),
    lambda image, part, sign, fill: _call("posterize", image, 8 - round(4 * part)),
    lambda image, part, sign, fill: _call("solarize", image, 255 * (1 - part)),
    lambda image, part, sign, fill: _call("autocontrast", image),
    lambda image, part, sign, fill: _call("equalize", image),
)
"""In torchvision's order."""


def _between(unit: float, low: float, high: float) -> float:
    return low + (high - low) * unit
