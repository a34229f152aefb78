"""From the bytes of an image file to RGB pixels of the wanted size. Every failure names the image and the cause."""

from __future__ import annotations

import io
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vtbench.datasets.dataset import DataError

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

Encoded = Callable[[], tuple[bytes, str]]
"""Gives the bytes of one image file and what to call it in a message."""

_FEWEST_FOR_THREADS = 32


def decode_images(encoded: Sequence[Encoded], image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode to shape (B, H, W, C), as `decode_image` does."""
    images_BHWC = np.empty((len(encoded), *image_size, 3), np.uint8)

    def decode(at: int) -> None:
        data, name = encoded[at]()
        images_BHWC[at] = decode_image(data, name, image_size)

    run_for_each(decode, len(encoded))
    return images_BHWC


def run_for_each(work: Callable[[int], None], count: int) -> None:
    """Call ``work`` with 0 to ``count`` - 1. The main process uses its cores; others share them already."""
    if count < _FEWEST_FOR_THREADS or multiprocessing.parent_process() is not None:
        for at in range(count):
            work(at)
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(work, range(count)):
                pass


def decode_image(data: bytes, name: str, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode one image to (H, W, C): scaled so that its shorter side fits, then cut at the centre.

    Grey, palette and CMYK images become RGB, 16-bit ones keep their upper 8 bits, transparent ones are laid over black.
    Raises `DataError` with ``name`` when the bytes are not a whole image.
    """
    height, width = image_size
    return np.asarray(_fit(_decode_rgb(data, name, image_size), height, width))


def decode_whole_image(data: bytes, name: str, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode one image to (H, W, C) with no part of it cut away, otherwise as `decode_image`.

    It is scaled to fit, and lies in the upper left corner; what it does not fill has the image's mean colour.
    """
    height, width = fit_inside(measure_image(data, name), image_size)
    pixels_HWC = np.asarray(_decode_rgb(data, name, image_size).resize((width, height), Image.Resampling.BILINEAR))
    if (height, width) == image_size:
        return pixels_HWC
    canvas_HWC = np.empty((*image_size, 3), np.uint8)
    canvas_HWC[:] = pixels_HWC.mean((0, 1)).round()
    canvas_HWC[:height, :width] = pixels_HWC
    return canvas_HWC


def fit_inside(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the largest image of the proportions of ``size`` that fits into ``box``, in whole pixels."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, min(box[0], round(size[0] * scale))), max(1, min(box[1], round(size[1] * scale)))


def decode_mask(data: bytes, name: str, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode per-pixel class ids to (H, W), cut as `decode_image` cuts the image; ids are not blended.

    Grey, palette and black-and-white images hold ids (white is 1). Raises `DataError` for images in colour.
    """
    mask = _load_mask(data, name, ("L", "P", "1"))
    return np.asarray(_fit(mask, *image_size, Image.Resampling.NEAREST)).astype(np.uint8)


def decode_raw_mask(data: bytes, name: str, *, in_colour: bool) -> NDArray[np.uint8]:
    """The values of a mask as they stand in its file: ids (H, W), or colours (H, W, C) if they are ``in_colour``.

    The id of a palette image is the index, not the colour. Raises `DataError` for JPEG, whose compression changes
    values, and for any other kind of image.
    """
    return np.asarray(_load_mask(data, name, ("L", "P", "1", "RGB") if in_colour else ("L", "P", "1"))).astype(np.uint8)


def measure_image(data: bytes, name: str) -> tuple[int, int]:
    """Height and width of an image, from its header."""
    width, height = _open(data, name).size
    return height, width


def choose_image_size(sizes: Sequence[tuple[int, int]], image_size: int | None) -> tuple[int, int]:
    """The size to decode to: as asked, else the images' own if they share one, else a square.

    The square's side is the median of the shorter sides, at most 224.
    """
    if image_size is not None:
        return image_size, image_size
    if len(set(sizes)) == 1:
        return sizes[0]
    side = min(224, sorted(min(size) for size in sizes)[len(sizes) // 2])
    return side, side


def spread_evenly(size: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` indices spread evenly over ``range(size)``."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).astype(np.int64))


_MEND = "Replace the file, or take it out of the data."


def _load_mask(data: bytes, name: str, kinds: Sequence[str]) -> Image.Image:
    mask = _open(data, name)
    if mask.format == "JPEG":
        raise DataError(
            f"The mask {name} is a JPEG, whose compression changes the values of pixels, so that its class ids are "
            "lost. Take the PNG that it was made from."
        )
    if mask.mode not in kinds:
        raise DataError(
            f"The mask {name} is of kind {mask.mode}, and class ids need one channel of 8 bits. "
            "Save it as a grey or palette PNG whose values are the ids."
            + (" For colours that stand for classes, give their table: classes=FILE." if mask.mode == "RGB" else "")
        )
    try:
        mask.load()
    except Exception as error:  # Pillow's readers raise many kinds of exception for broken files.
        raise DataError(f"The mask {name} is corrupt: {error}. {_MEND}") from error
    return mask


def _decode_rgb(data: bytes, name: str, image_size: tuple[int, int]) -> Image.Image:
    """The image in RGB, perhaps smaller than in its file, but no smaller than ``image_size``."""
    height, width = image_size
    image = _open(data, name)
    try:
        image.draft(None, (2 * width, 2 * height))  # A JPEG much too large is decoded at a half, quarter or eighth.
        return _convert_to_rgb(image, name)
    except DataError:
        raise
    except Exception as error:  # As above.
        raise DataError(f"The image {name} is corrupt: {error}. {_MEND}") from error


def _open(data: bytes, name: str) -> Image.Image:
    if not data:
        raise DataError(f"The image {name} is corrupt: it is empty. {_MEND}")
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        start = data[:12]
        raise DataError(
            f"The image {name} cannot be read: it is not in any image format that is known (it starts with {start!r}). "
            f"{_MEND}"
        ) from error
    except Exception as error:  # As above.
        raise DataError(f"The image {name} is corrupt: {error}. {_MEND}") from error


def _convert_to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith("I"):
        grey_HW = np.asarray(image).astype(np.int64)
        if grey_HW.min() < 0 or grey_HW.max() > 0xFFFF:
            raise DataError(
                f"The image {name} has 32-bit pixels from {grey_HW.min()} to {grey_HW.max()}; only 8 and 16 bits a "
                "channel have a known meaning. Convert it to an 8-bit PNG."
            )
        return Image.fromarray((grey_HW >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise DataError(
            f"The image {name} has floating-point pixels, whose range is not known. Convert it to an 8-bit PNG."
        )
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        opaque = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _fit(
    image: Image.Image, height: int, width: int, resampling: Image.Resampling = Image.Resampling.BILINEAR
) -> Image.Image:
    """Scale and cut in one step: the largest centred box of the wanted proportions."""
    if image.size == (width, height):
        return image
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    box = (left, top, left + width * scale, top + height * scale)
    return image.resize((width, height), resampling, box=box)
