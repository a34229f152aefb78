"""Pixels of more than 8 bits, which are converted by their values and a stated range, never by what holds them.

A picture of 8 or 12 bits often lies in a file of 16 or 32, where it would come out black. White is the value that the
user names, else the one that the file states (TIFF's MaxSampleValue, fewer than 16 bits a sample), else 65,535 in files
of 16 bits whose pixels use them. Anything else is refused. Of 16 bits a channel in colour Pillow reads the upper 8.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vtbench.datasets.dataset import DataError

# Dimensions: H height, W width.

_WHITE_16 = 65535
_PNG_DEPTH, _PNG_COLOUR = 24, 25
_PNG_WITH_CHANNELS = (2, 4, 6)
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_MAXIMUM = 258, 262, 281


def is_deep(image: Image.Image) -> bool:
    """Whether an image has one channel of more than 8 bits."""
    return image.mode.startswith(("I", "F"))


def is_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Whether an image that was opened from ``data`` has several channels of more than 8 bits."""
    if image.format == "PNG":
        return data[_PNG_DEPTH] == 16 and data[_PNG_COLOUR] in _PNG_WITH_CHANNELS
    return image.format == "TIFF" and len(image.getbands()) > 1 and max(_read_tag(image, _TIFF_BITS, (8,))) > 8


def convert_deep(image: Image.Image, name: str, white: float | None) -> Image.Image:
    """The image in RGB, scaled so that ``white``, or what the file states, is 255.

    Raises `DataError` when the range is not certain, or the pixels are outside of it.
    """
    values_HW = np.asarray(image)
    stated = white if white is not None else _find_white(image, values_HW, name)
    lowest, highest = values_HW.min(), values_HW.max()
    if np.isnan(lowest):
        raise DataError(f"The image {name} has pixels that are no numbers. Fill them, and convert it to 8 bits.")
    if not (lowest >= 0 and highest <= stated):
        raise DataError(
            f"The image {name} has pixels from {lowest:g} to {highest:g}, which is outside of 0 to {stated:g}. "
            "Name the value that is white with white=NUMBER, or convert it to 8 bits."
        )
    grey_HW = values_HW * (255 / stated)
    if _read_tag(image, _TIFF_PHOTOMETRIC, 1) == 0:
        grey_HW = 255 - grey_HW  # White is 0. Pillow turns those of 8 bits around, and no others.
    return Image.fromarray(np.rint(grey_HW).astype(np.uint8)).convert("RGB")


def check_deep_colour(image: Image.Image, name: str, white: float | None) -> None:
    """Raise `DataError` when the upper 8 bits of a channel, which are all that Pillow reads, are not what was meant."""
    if white not in (None, _WHITE_16):
        cause = f"white={white:g} cannot be followed"
    elif white is None and not np.asarray(image).any():
        cause = "which are empty"
    else:
        return
    raise DataError(
        f"The image {name} is in colour with 16 bits a channel, of which the upper 8 alone can be read: {cause}. Make"
        f" it one of 8 bits, or write white={_WHITE_16} if it is as it should be."
    )


def check_range(
    images: Iterable[tuple[Image.Image, bytes, str]], white: float | None, option: str = "white=NUMBER"
) -> None:
    """Raise `DataError` when images of 16 bits, looked at together, leave the uppermost of them empty.

    Then they hold fewer bits, and which value is white cannot be seen: `convert_deep` would make dark pictures of them.
    ``option`` is how the user names it.
    """
    if white is not None:
        return
    highest, count = [], 0
    for image, data, name in images:
        count += 1
        if is_deep(image) and _find_stated_white(image) is None:
            highest.append((_find_highest(image), name))
        elif is_deep_colour(image, data):
            highest.append((_find_highest(image) * 257.0, name))
    if highest and 0 < (most := max(highest))[0] <= _WHITE_16 // 2:
        raise DataError(
            f"Of {count} images looked at, {len(highest)} have more than 8 bits a channel, and no pixel of them "
            f"is above {most[0]:g} ({most[1]}), so that it cannot be seen which value is white. Name it with "
            f"{option}, such as {_guess_white(most[0])}, or {_WHITE_16} if they are so dark."
        )


def _find_highest(image: Image.Image) -> float:
    """The largest value of a pixel; 0 of a file that is cut off, which whoever decodes it is told."""
    try:
        return float(np.asarray(image).max())
    except (OSError, SyntaxError, ValueError):
        return 0.0


def _find_white(image: Image.Image, values: NDArray[Any], name: str) -> float:
    stated = _find_stated_white(image)
    if stated is not None:
        return stated
    lowest, highest = values.min(), values.max()
    if values.dtype.itemsize > 2:
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise DataError(
            f"The image {name} has {kind} pixels from {lowest:g} to {highest:g}, and nothing says which value is "
            f"white. Name it with white=NUMBER, such as {_guess_white(highest)}, or convert it to 8 bits."
        )
    if 0 < highest <= 255:
        raise DataError(
            f"The image {name} has 16-bit pixels from {lowest} to {highest}, as if 8 bits were put into 16: it would "
            f"be black. Name the value that is white with white=NUMBER, such as 255, or {_WHITE_16} if it is so dark."
        )
    return _WHITE_16


def _find_stated_white(image: Image.Image) -> float | None:
    """The white that the file states, if it does. Pillow itself scales images of the PPM kind by what they state."""
    if image.format == "PPM" and image.mode == "I":
        return _WHITE_16
    stated, bits = _read_tag(image, _TIFF_MAXIMUM, None), max(_read_tag(image, _TIFF_BITS, (16,)))
    if stated is not None:
        return float(max(stated if isinstance(stated, tuple) else (stated,))) or None
    return float(2**bits - 1) if bits < 16 else None


def _guess_white(highest: float) -> int:
    """The next of the usual ranges above ``highest``."""
    return next((2**bits - 1 for bits in (1, 8, 10, 12, 14, 16) if highest < 2**bits), int(np.ceil(highest)))


def _read_tag(image: Image.Image, tag: int, default: Any) -> Any:
    return image.tag_v2.get(tag, default) if image.format == "TIFF" else default  # type: ignore[attr-defined]
