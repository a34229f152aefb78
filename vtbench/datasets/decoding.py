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
    """Decode to shape (B, H, W, C). The main process uses its cores; worker and cell processes share them already."""
    images_BHWC = np.empty((len(encoded), *image_size, 3), np.uint8)

    def decode(at: int) -> None:
        data, name = encoded[at]()
        images_BHWC[at] = decode_image(data, name, image_size)

    if len(encoded) < _FEWEST_FOR_THREADS or multiprocessing.parent_process() is not None:
        for at in range(len(encoded)):
            decode(at)
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(decode, range(len(encoded))):
                pass
    return images_BHWC


def decode_image(data: bytes, name: str, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode one image to (H, W, C): scaled so that its shorter side fits, then cut at the centre.

    Grey, palette and CMYK images become RGB, 16-bit ones keep their upper 8 bits, transparent ones are laid over black.
    Raises `DataError` with ``name`` when the bytes are not a whole image.
    """
    height, width = image_size
    image = _open(data, name)
    try:
        image.draft(None, (2 * width, 2 * height))  # A JPEG much too large is decoded at a half, quarter or eighth.
        image = _convert_to_rgb(image, name)
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise many kinds of exception for broken files.
        raise DataError(f"The image {name} is corrupt: {error}. {_MEND}") from error
    return np.asarray(_fit(image, height, width))


def decode_mask(data: bytes, name: str, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode per-pixel class ids to (H, W), cut as `decode_image` cuts the image; ids are not blended.

    Grey, palette and black-and-white images hold ids (white is 1). Raises `DataError` for images in colour.
    """
    mask = _open(data, name)
    if mask.mode not in ("L", "P", "1"):
        raise DataError(
            f"The mask {name} is of kind {mask.mode}, and class ids need one channel of 8 bits. "
            "Save it as a grey or palette PNG whose values are the ids."
        )
    try:
        mask.load()
    except Exception as error:  # As above.
        raise DataError(f"The mask {name} is corrupt: {error}. {_MEND}") from error
    return np.asarray(_fit(mask, *image_size, Image.Resampling.NEAREST)).astype(np.uint8)


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
