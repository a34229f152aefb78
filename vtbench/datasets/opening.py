"""Image files as they are opened: in any format that is known, up to a limit of pixels, and the way that they lie.

The limit is ``$VTBENCH_IMAGE_LIMIT_MP`` million pixels, 178 if not set; a file beyond it is refused from its header.
"""

from __future__ import annotations

import io
import os
import threading

from PIL import ExifTags, Image, UnidentifiedImageError

from vtbench.datasets.dataset import DataError
from vtbench.errors import UserError

MEND = "Replace the file, or take it out of the data."
_DEFAULT_LIMIT_MP = 178
_OPENING = threading.Lock()

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = range(5, 9)
"""Orientations in which height and width change places."""


def open_image(data: bytes, name: str) -> Image.Image:
    """The image with its header read, and no pixel. Raises `DataError` calling it ``name``."""
    if not data:
        raise DataError(f"The image {name} is corrupt: it is empty. {MEND}")
    try:
        image = _open_whatever_size(data)
    except UnidentifiedImageError as error:
        start = data[:12]
        raise DataError(
            f"The image {name} cannot be read: it is not in any image format that is known (it starts with {start!r}). "
            f"{MEND}"
        ) from error
    except Exception as error:  # As above.
        raise DataError(f"The image {name} is corrupt: {error}. {MEND}") from error
    if image.width * image.height > (limit := _read_pixel_limit()):
        raise DataError(
            f"The image {name} has {image.width} x {image.height} pixels, more than the limit of {limit // 10**6} "
            "million, which keeps a small file from filling the memory. If it is what it should be, set "
            f"VTBENCH_IMAGE_LIMIT_MP={-(-image.width * image.height // 10**6)}, or cut it into tiles."
        )
    return image


def _open_whatever_size(data: bytes) -> Image.Image:
    """Read the header. Pillow's own limit, which holds for the whole process, is lifted for that moment."""
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _read_pixel_limit() -> int:
    text = os.environ.get("VTBENCH_IMAGE_LIMIT_MP", str(_DEFAULT_LIMIT_MP))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UserError(f"VTBENCH_IMAGE_LIMIT_MP is {text!r}. Give a whole number of million pixels, e.g. 500.")
    return int(text) * 10**6


def read_orientation(image: Image.Image, data: bytes) -> int:
    """How EXIF says that the image is to be turned, 1 for not at all."""
    if image.format == "TIFF":
        return 1  # Pillow turns these itself.
    if image.format == "PNG" and not any(mark in data for mark in (b"eXIf", b"exif", b"tiff:Orientation")):
        return 1  # Pillow would decode the whole image to look behind its pixels.
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Broken EXIF data say nothing, and break nothing.
        return 1


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """The whole image as it is seen."""
    image.load()
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
