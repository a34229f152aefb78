"""Images whose targets are masks: decoded whole, each with its mask, and checked against each other.

At opening every image has a mask and a few masks of each split are read: their kind, their size and whether they hold 0
and 255 alone. Every mask is checked whole, value by value, whenever it is decoded; those that fit into the cache are
decoded at opening.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vtbench.datasets.conventions import Convention
from vtbench.datasets.data_files import derive_fingerprint
from vtbench.datasets.dataset import VOID, DataError, ImageSplit, Split
from vtbench.datasets.decoding import (
    decode_raw_mask,
    decode_whole_image,
    fit_inside,
    measure_image,
    probe_images,
    read_palette,
    run_for_each,
    spread_evenly,
    tell_white,
)
from vtbench.datasets.opening import SIDEWAYS, open_image, read_orientation
from vtbench.datasets.packing import pack_pairs

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

Fetch = Callable[[NDArray[np.int64]], list[tuple[bytes, str]]]
"""Gives image files by index, each with what to call it in a message."""

_NUM_PROBED = 8
_FILES_AT_A_TIME = 64


@dataclass(frozen=True)
class MaskedFiles:
    """The files of one split, by index: images and masks. ``fingerprint`` stands for the content of both.

    ``taken`` is that of `TellsTaken`. ``in_groups`` says that one file cannot be had without those beside it.
    """

    images: Fetch
    masks: Fetch
    count: int
    fingerprint: str
    taken: Mapping[str, str] = field(default_factory=dict)
    in_groups: bool = False


@dataclass(frozen=True, eq=False)
class MaskedSplit:
    """One split: no labels, and a mask for every image. Both are scaled alike to ``image_size``, with nothing cut away.

    Where an image has other proportions, what it does not fill, below it or at its right, is void.
    """

    files: MaskedFiles
    convention: Convention
    image_size: tuple[int, int]
    white: float | None = None

    class_names: tuple[str, ...] = ()

    @property
    def mask_class_names(self) -> tuple[str, ...]:
        """The names of the convention."""
        return self.convention.names

    @property
    def left_right(self) -> tuple[tuple[int, int], ...]:
        """Those of the convention."""
        return self.convention.left_right

    @property
    def taken(self) -> Mapping[str, str]:
        """The columns or folders that images and masks are from, and what the data call each split."""
        return self.files.taken

    @property
    def mask_values(self) -> tuple[int, ...]:
        """Those of the convention."""
        return self.convention.values

    @property
    def mask_palette(self) -> tuple[tuple[int, int, int], ...]:
        """The colours of the convention, if it has some."""
        return self.convention.palette

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """0 for every image, so that a subset is drawn from all alike."""
        return np.zeros(self.files.count, np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the files and of what the values of masks mean."""
        meaning = self.convention.model_dump_json(exclude={"layout", "left_right"})
        content = f"{self.files.fingerprint}{tell_white(self.white)}"
        return derive_fingerprint(content, f"masked 1, {content} {meaning}")

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The image files ``indices``, and what to call each."""
        return self.files.images(indices)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the images of ``indices``, (B, H, W, C)."""
        found = self.files.images(indices)
        images_BHWC = np.empty((len(found), *self.image_size, 3), np.uint8)

        def decode(at: int) -> None:
            images_BHWC[at] = decode_whole_image(*found[at], self.image_size, self.white)

        run_for_each(decode, len(found))
        return images_BHWC

    def read_masks(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the masks of ``indices``, (B, H, W); of several pixels the one nearest the middle is taken."""
        masks_BHW = np.full((len(indices), *self.image_size), VOID, np.uint8)

        def shrink(at: int, mask_HW: NDArray[np.uint8]) -> None:
            height, width = fit_inside((mask_HW.shape[0], mask_HW.shape[1]), self.image_size)
            scaled = Image.fromarray(mask_HW).resize((width, height), Image.Resampling.NEAREST)
            masks_BHW[at, :height, :width] = np.asarray(scaled)

        self._decode_masks(indices, shrink)
        return masks_BHW

    def read_original_masks(self, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Decode the masks of ``indices`` unscaled, each (H_i, W_i) with its void margin."""
        masks: list[NDArray[np.uint8]] = [np.empty((0, 0), np.uint8)] * len(indices)

        def keep(at: int, mask_HW: NDArray[np.uint8]) -> None:
            masks[at] = add_margin(mask_HW, self.image_size)

        self._decode_masks(indices, keep)
        return masks

    def _decode_masks(self, indices: NDArray[np.int64], take: Callable[[int, NDArray[np.uint8]], None]) -> None:
        for first in range(0, len(indices), _FILES_AT_A_TIME):
            self._decode_some(indices[first : first + _FILES_AT_A_TIME], first, take)

    def _decode_some(
        self, indices: NDArray[np.int64], first: int, take: Callable[[int, NDArray[np.uint8]], None]
    ) -> None:
        masks, images = self.files.masks(indices), self.files.images(indices)

        def decode(at: int) -> None:
            raw = decode_values(*masks[at], self.convention)
            _check_size(raw, masks[at][1], *images[at])
            take(first + at, self.convention.translate(raw, masks[at][1]))

        run_for_each(decode, len(masks))


@dataclass(frozen=True, eq=False)
class MaskedSplitInGroups(MaskedSplit):
    """One whose files cannot be had one by one: copied to where they can when they cannot be held decoded."""

    def pack(self, rows: NDArray[np.int64]) -> MaskedSplit:
        """The images ``rows`` and their masks, still encoded, in one file of the cache."""
        images, masks = pack_pairs(self.files.images, self.files.masks, rows, self.files.fingerprint)
        files = MaskedFiles(images, masks, len(rows), f"{self.files.fingerprint} packed", self.files.taken)
        return MaskedSplit(files, self.convention, self.image_size, self.white)


def decode_values(data: bytes, name: str, convention: Convention) -> NDArray[np.uint8 | np.uint16]:
    """What `decode_raw_mask` gives of a mask. Raises `DataError` when a palette contradicts ``convention``, too."""
    raw = decode_raw_mask(data, name, in_colour=bool(convention.palette))
    if convention.palette and raw.ndim == 2 and (colours_VC := read_palette(data, name)) is not None:
        convention.check_palette(raw, colours_VC, name)
    return raw


def add_margin(mask_HW: NDArray[np.uint8], image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask on a void canvas, in its upper left corner: see `measure_canvas`; as it is if it fills it."""
    height, width = mask_HW.shape
    size = measure_canvas((height, width), image_size)
    if size == (height, width):
        return mask_HW
    canvas_HW = np.full(size, VOID, np.uint8)
    canvas_HW[:height, :width] = mask_HW
    return canvas_HW


def measure_canvas(size: tuple[int, int], image_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of what an image of ``size`` and its margin fill together, at the image's own scale.

    Scaled to ``image_size`` it is what `decode_whole_image` gives.
    """
    height, width = size
    inside = fit_inside(size, image_size)
    if inside == image_size:
        return size
    return max(height, round(height * image_size[0] / inside[0])), max(width, round(width * image_size[1] / inside[1]))


def open_masked(
    files: Mapping[Split, MaskedFiles], convention: Convention, image_size: int | None, white: float | None = None
) -> dict[Split, ImageSplit]:
    """Both splits. The shorter side is ``image_size``, or as in the files, at the proportions of most images.

    More exactly, of the median height and width of the first few training images. Raises `DataError` for masks that
    are not what ``convention`` says, as far as a few of them show it.
    """
    for split, found in files.items():
        _probe(found, convention)
        _check_classes(found, split, convention)
    train = files["train"]
    probed = train.images(spread_evenly(train.count, _NUM_PROBED))
    probe_images(probed, image_size, white)
    sizes = [measure_image(*item) for item in probed]
    height, width = (sorted(size[axis] for size in sizes)[len(sizes) // 2] for axis in range(2))
    scale = 1 if image_size is None else image_size / min(height, width)
    size = round(height * scale), round(width * scale)
    return {
        split: (MaskedSplitInGroups if found.in_groups else MaskedSplit)(found, convention, size, white)
        for split, found in files.items()
    }


def _probe(files: MaskedFiles, convention: Convention) -> None:
    rows = spread_evenly(files.count, _NUM_PROBED)
    values: set[int] = set()
    most, worst = 0, ""
    colour_of: dict[int, tuple[list[int], str]] = {}
    for mask, image in zip(files.masks(rows), files.images(rows), strict=True):
        raw = decode_values(*mask, convention)
        _check_size(raw, mask[1], *image)
        if raw.ndim == 3:
            convention.translate(raw, mask[1])
            continue
        values |= set(np.unique(raw).tolist())
        _compare_palettes(raw, *mask, colour_of)
        count = int((raw == VOID).sum())
        if count > most:
            most, worst = count, mask[1]
    convention.check_binary(values, worst, most)


def _compare_palettes(raw: NDArray[Any], data: bytes, name: str, colour_of: dict[int, tuple[list[int], str]]) -> None:
    """Raise `DataError` when a value has another colour than in an earlier mask; ``colour_of`` is what those have."""
    if (colours_VC := read_palette(data, name)) is None:
        return
    for value in np.unique(raw[raw < len(colours_VC)]).tolist():
        colour = colours_VC[value].tolist()
        first, where = colour_of.setdefault(value, (colour, name))
        if first != colour:
            raise DataError(
                f"The value {value} has the colour {tuple(first)} in the mask {where} and {tuple(colour)} in {name}: "
                "each has a palette of its own, so that values do not mean one class in all. Save the masks in RGB and "
                "give the table of their colours with classes=FILE, or in grey if their values are ids all the same."
            )


def _check_classes(files: MaskedFiles, split: Split, convention: Convention) -> None:
    """Read masks until two classes are seen, or one to validate on, as the first few nearly always show.

    Raises `DataError` if none do.
    """
    seen: set[int] = set()
    for start in range(0, files.count, _NUM_PROBED):
        for mask in files.masks(np.arange(start, min(start + _NUM_PROBED, files.count))):
            raw = decode_values(*mask, convention)
            seen |= set(np.unique(convention.translate(raw, mask[1])).tolist()) - {VOID}
        if len(seen) > (split == "train"):
            return
    named = f"one class, {convention.names[seen.pop()]!r}," if seen else "no class"
    lacks = "learn from" if split == "train" else "judge by"
    raise DataError(
        f"The {files.count:,} masks of the {split} split show {named} in every pixel that is not void: there is "
        f"nothing to {lacks}. Look what their values mean, and say it with label_map=, ignore= or classes=FILE."
    )


def _check_size(raw: NDArray[Any], name: str, image: bytes, image_name: str) -> None:
    if (size := measure_image(image, image_name)) != raw.shape[:2]:
        raise DataError(
            f"The mask {name} has {raw.shape[0]}x{raw.shape[1]} pixels and its image {image_name} {size[0]}x{size[1]}"
            + (", when it is turned as its EXIF data say" if _lies_sideways(image, image_name) else "")
            + ". A mask has the size of its image, as that is seen."
        )


def _lies_sideways(image: bytes, name: str) -> bool:
    return read_orientation(open_image(image, name), image) in SIDEWAYS
