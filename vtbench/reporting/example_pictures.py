"""Examples as pictures: masks in their colours, errors over the image, and where tokens look."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vtbench.palettes import VOID_COLOUR, Colour
from vtbench.records.examples import Example, decode_attention
from vtbench.reporting.token_figure import blend

# Y, X height and width of a picture or mask, C channels (3, RGB); K classes; L tokens; h, w cells of a map.

WRONG: Colour = (215, 25, 28)
"""Of a pixel that was taken for another class."""

_VOID = 255
_GREYS = np.array([0.299, 0.587, 0.114])
_DARKEST, _LIGHTEST = 120, 225
"""Of the image under its errors, so that white stands out."""
_GAP = 6
"""Pixels between the maps of one picture."""

Picture = NDArray[np.uint8]


def show_classes(mask_YX: NDArray[np.uint8], palette: Sequence[Colour]) -> Picture:
    """A mask in the colours of its classes, void in white."""
    colours = np.full((_VOID + 1, 3), VOID_COLOUR, np.uint8)
    colours[: len(palette)] = palette
    return np.asarray(colours[mask_YX])


def show_errors(example: Example) -> Picture:
    """The pixels that were taken for another class, over the pale image; void, which counts nowhere, in white."""
    from PIL import Image

    height, width = example.truth.shape
    resized = Image.fromarray(example.image).resize((width, height), Image.Resampling.BILINEAR)
    grey_YX = _DARKEST + (_LIGHTEST - _DARKEST) * (np.asarray(resized) @ _GREYS) / 255
    picture_YXC = grey_YX[..., None].repeat(3, axis=2).round().astype(np.uint8)
    picture_YXC[example.truth != example.prediction] = WRONG
    picture_YXC[example.truth == _VOID] = VOID_COLOUR
    return np.asarray(picture_YXC)


def find_maps(example: Example) -> NDArray[np.float64] | None:
    """The maps (L, h, w) of the module that looks most closely, the first of several; None without tokens."""
    finest = max(example.maps, key=lambda levels_Lhw: levels_Lhw[0].size, default=None)
    return None if finest is None else decode_attention(finest)


def show_tokens(image_YXC: Picture, maps_Lhw: NDArray[np.float64], doublings: int) -> Picture:
    """Maps over the image, two in a row if there are several."""
    blended = [blend(image_YXC, map_hw, doublings) for map_hw in maps_Lhw]
    if len(blended) == 1:
        return blended[0]
    height, width = blended[0].shape[:2]
    rows = math.ceil(len(blended) / 2)
    picture_YXC = np.full((rows * height + (rows - 1) * _GAP, 2 * width + _GAP, 3), 255, np.uint8)
    for place, one in enumerate(blended):
        top, left = place // 2 * (height + _GAP), place % 2 * (width + _GAP)
        picture_YXC[top : top + height, left : left + width] = one
    return picture_YXC
