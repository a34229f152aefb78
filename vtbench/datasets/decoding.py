"""From the bytes of an image file to RGB pixels of the wanted size. Every failure names the image and the cause.

Images and masks are turned and mirrored as their EXIF orientation says, so that they lie as viewers show them. Of a
file with several pictures the first is taken.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vtbench.datasets.dataset import DataError
from vtbench.datasets.deep_pixels import check_deep_colour, check_range, convert_deep, is_deep, is_deep_colour
from vtbench.datasets.opening import MEND, SIDEWAYS, open_image, read_orientation, turn

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

Encoded = Callable[[], tuple[bytes, str]]
"""Gives the bytes of one image file and what to call it in a message."""

_FEWEST_FOR_THREADS = 32
_BYTES_AT_A_TIME = 2**22
_FEWEST_AT_A_TIME, _MOST_AT_A_TIME = 64, 512
_ID_MODES = ("L", "P", "1")


def decode_images(
    encoded: Sequence[Encoded], image_size: tuple[int, int], white: float | None = None
) -> NDArray[np.uint8]:
    """Decode to shape (B, H, W, C), as `decode_image` does."""
    images_BHWC = np.empty((len(encoded), *image_size, 3), np.uint8)

    def decode(at: int) -> None:
        data, name = encoded[at]()
        images_BHWC[at] = decode_image(data, name, image_size, white)

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


def split_rows(rows: NDArray[np.int64], image_bytes: int) -> Iterator[NDArray[np.int64]]:
    """``rows`` a few at a time: many small images, of which each has ``image_bytes`` decoded, or few large ones."""
    at_a_time = min(max(_BYTES_AT_A_TIME // image_bytes, _FEWEST_AT_A_TIME), _MOST_AT_A_TIME)
    for start in range(0, len(rows), at_a_time):
        yield rows[start : start + at_a_time]


def decode_image(data: bytes, name: str, image_size: tuple[int, int], white: float | None = None) -> NDArray[np.uint8]:
    """Decode one image to (H, W, C): scaled so that its shorter side fits, then cut at the centre.

    Grey, palette and CMYK images become RGB, those of more than 8 bits are scaled so that ``white`` becomes 255, as
    `convert_deep` says, transparent ones are laid over black. Raises `DataError` with ``name`` when the bytes are not
    a whole image.
    """
    height, width = image_size
    return np.asarray(_fit(_decode_rgb(data, name, image_size, white), height, width))


def decode_whole_image(
    data: bytes, name: str, image_size: tuple[int, int], white: float | None = None
) -> NDArray[np.uint8]:
    """Decode one image to (H, W, C) with no part of it cut away, otherwise as `decode_image`.

    It is scaled to fit, and lies in the upper left corner; what it does not fill has the image's mean colour.
    """
    height, width = fit_inside(measure_image(data, name), image_size)
    rgb = _decode_rgb(data, name, image_size, white)
    pixels_HWC = np.asarray(rgb.resize((width, height), Image.Resampling.BILINEAR))
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

    Grey, palette and black-and-white images hold ids (white is 1). Raises `DataError` for images in colour, and for ids
    above 255.
    """
    ids_HW = decode_raw_mask(data, name, in_colour=False)
    if (highest := int(ids_HW.max())) > 255:
        count = int((ids_HW == highest).sum())
        raise DataError(f"The mask {name} has the value {highest} in {count:,} pixels; ids go up to 255.")
    mask = Image.fromarray(ids_HW.astype(np.uint8))
    return np.asarray(_fit(mask, *image_size, Image.Resampling.NEAREST))


def decode_raw_mask(data: bytes, name: str, *, in_colour: bool) -> NDArray[np.uint8 | np.uint16]:
    """The values of a mask as they stand in its file: ids (H, W), or colours (H, W, C) if they are ``in_colour``.

    The id of a palette image is the index, not the colour; ids of 16 or 32 bits are values like others, up to 65,535.
    Raises `DataError` for JPEG, whose compression changes values, and for any other kind of image.
    """
    values = np.asarray(_load_mask(data, name, in_colour=in_colour))
    if values.dtype.itemsize < 2:
        return values.astype(np.uint8)
    for value in (int(values.min()), int(values.max())):
        if not 0 <= value <= 0xFFFF:
            raise DataError(
                f"The mask {name} has the value {value} in {int((values == value).sum()):,} pixels; ids are 0 to 65535."
            )
    return values.astype(np.uint16)


def read_palette(data: bytes, name: str) -> NDArray[np.uint8] | None:
    """The colours of a palette image, (V, 3); None for any other, and where each is the grey of its own index."""
    image = open_image(data, name)
    if image.mode != "P" or (listed := image.getpalette("RGB")) is None:
        return None
    colours_V3 = np.array(listed, np.uint8).reshape(-1, 3)
    return None if (colours_V3 == np.arange(len(colours_V3))[:, None]).all() else colours_V3


def measure_image(data: bytes, name: str) -> tuple[int, int]:
    """Height and width of an image as it is seen, from its header."""
    image = open_image(data, name)
    width, height = image.size
    return (width, height) if read_orientation(image, data) in SIDEWAYS else (height, width)


def probe_images(images: Sequence[tuple[bytes, str]], image_size: int | None, white: float | None) -> tuple[int, int]:
    """The size to decode to, by a few images of the training split. Raises `DataError` as `check_range` does."""
    check_range([(open_image(data, name), data, name) for data, name in images], white)
    return choose_image_size([measure_image(*one) for one in images], image_size)


def tell_white(white: float | None) -> str:
    """What the fingerprint of a split says of the ``white`` that the user named: nothing when none was."""
    return "" if white is None else f" white={white:g}"


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


def _load_mask(data: bytes, name: str, *, in_colour: bool) -> Image.Image:
    mask = open_image(data, name)
    if mask.format == "JPEG":
        raise DataError(
            f"The mask {name} is a JPEG, whose compression changes the values of pixels, so that its class ids are "
            "lost. Take the PNG that it was made from."
        )
    deep, orientation = is_deep_colour(mask, data), read_orientation(mask, data)
    if in_colour and mask.mode == "RGBA" and not deep and mask.getextrema()[-1] == (255, 255):
        mask = mask.convert("RGB")
    if not (mask.mode.startswith("I") or mask.mode in _ID_MODES or (in_colour and mask.mode == "RGB")):
        raise DataError(
            f"The mask {name} is of kind {mask.mode}, and class ids need one channel of whole numbers"
            + (", colours three without transparency. " if in_colour else ". ")
            + "Save it as a grey or palette PNG whose values are the ids."
            + (" For colours that stand for classes, give their table: classes=FILE." if mask.mode == "RGB" else "")
        )
    if deep:
        raise DataError(f"The mask {name} has colours of 16 bits a channel. Save it with 8, as its table has them.")
    try:
        return turn(mask, orientation)
    except Exception as error:  # Pillow's readers raise many kinds of exception for broken files.
        raise DataError(f"The mask {name} is corrupt: {error}. {MEND}") from error


def _decode_rgb(data: bytes, name: str, image_size: tuple[int, int], white: float | None) -> Image.Image:
    """The image in RGB, perhaps smaller than in its file, but no smaller than ``image_size``."""
    height, width = image_size
    image = open_image(data, name)
    orientation = read_orientation(image, data)
    box = (height, width) if orientation in SIDEWAYS else (width, height)
    try:
        image.draft(None, (2 * box[0], 2 * box[1]))  # A JPEG much too large is decoded at a half, quarter or eighth.
        if is_deep_colour(image, data):
            check_deep_colour(image, name, white)
        rgb = convert_deep(image, name, white) if is_deep(image) else _convert_to_rgb(image, name)
        return turn(rgb, orientation)
    except DataError:
        raise
    except Exception as error:  # As above.
        raise DataError(f"The image {name} is corrupt: {error}. {MEND}") from error


def _convert_to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode == "LAB":
        raise DataError(f"The image {name} is in the colour space LAB, which cannot be read. Convert it to RGB.")
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
