"""Pictures of the classes of pixels: a palette image with the values of the data set, and colours over a photograph."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vtbench.documents.table import escape_controls
from vtbench.palettes import Colour
from vtbench.reporting.style import INK

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

# Dimensions: h, w height and width of an image, C channels (3, RGB), K classes.

_SHORTEST = 320
"""Pixels of the shorter side of an overlay: a smaller image is drawn larger."""
_INK_OF_CLASSES = 0.55


def encode_mask(classes_hw: NDArray[np.uint8], values: Sequence[int], palette: Sequence[Colour]) -> bytes:
    """A PNG in which the pixels of class k have the value ``values[k]``, shown in the colour ``palette[k]``."""
    from PIL import Image

    raw_hw = np.asarray(values, np.uint8)[classes_hw]
    colours = np.zeros((256, 3), np.uint8)
    colours[list(values)] = palette
    image = Image.fromarray(raw_hw)
    image.putpalette(colours.tobytes())
    return _encode(image)


def encode_overlay(
    picture_hwC: NDArray[np.uint8], classes_hw: NDArray[np.uint8], names: Sequence[str], palette: Sequence[Colour]
) -> bytes:
    """A PNG of the picture under the colours of its classes; below it their key, the largest class first."""
    from PIL import Image

    blended = blend_classes(picture_hwC, classes_hw, palette)
    times = math.ceil(_SHORTEST / min(blended.shape[:2]))
    picture = Image.fromarray(blended)
    if times > 1:
        picture = picture.resize((times * picture.width, times * picture.height), Image.Resampling.NEAREST)
    counts_K = np.bincount(classes_hw.ravel(), minlength=len(names))
    order = [int(number) for number in np.argsort(-counts_K, kind="stable") if counts_K[number]]
    entries = [
        (f"{names[number]}: {show_share(counts_K[number], classes_hw.size)}", palette[number]) for number in order
    ]
    key = draw_key(entries, picture.width)
    canvas = Image.new("RGB", (picture.width, picture.height + key.height), "white")
    canvas.paste(picture)
    canvas.paste(key, (0, picture.height))
    return _encode(canvas)


def blend_classes(
    picture_hwC: NDArray[np.uint8], classes_hw: NDArray[np.uint8], palette: Sequence[Colour]
) -> NDArray[np.uint8]:
    """The picture, (h, w, C), shining through the colours of its classes."""
    colours_hwC = np.asarray(palette, np.float32)[classes_hw]
    mixed_hwC = _INK_OF_CLASSES * colours_hwC + (1 - _INK_OF_CLASSES) * picture_hwC
    return np.asarray(mixed_hwC.round().astype(np.uint8))


def draw_key(entries: Sequence[tuple[str, Colour]], width: int) -> Image:
    """A field of each colour with its text, in as many columns as fit into ``width`` pixels."""
    from PIL import Image, ImageDraw

    size = max(13, width // 60)
    font, gap = _load_font(size), size // 2
    texts = [" ".join(escape_controls(text).splitlines()) for text, _ in entries]
    wanted = 2 * size + 2 * gap + math.ceil(max(font.getlength(text) for text in texts))
    columns = max(1, (width - gap) // wanted)
    rows, line = math.ceil(len(entries) / columns), size + gap + 2
    key = Image.new("RGB", (width, rows * line + gap), "white")
    draw = ImageDraw.Draw(key)
    for place, (text, (_, colour)) in enumerate(zip(texts, entries, strict=True)):
        left, top = gap + place // rows * wanted, gap + place % rows * line
        draw.rectangle((left, top, left + round(1.5 * size), top + size), fill=colour, outline=INK)
        draw.text((left + 2 * size, top + size // 2), text, fill=INK, font=font, anchor="lm")
    return key


def show_share(pixels: int, size: int) -> str:
    """Pixels as a part of ``size``: 12.3 %, and <0.1 % for what rounds to nothing."""
    percent = 100 * pixels / size
    return f"{percent:.1f} %" if percent >= 0.05 else "<0.1 %"


@cache
def _load_font(size: int) -> FreeTypeFont:
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def _encode(image: Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
