"""Single images that are looked at, not learned from: files of the user, or rows of a data set, with masks if any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtbench.configuration import DataConfig
from vtbench.datasets.data_files import resolve_folder
from vtbench.datasets.dataset import VOID, DataError, Split
from vtbench.datasets.decoding import decode_image, decode_mask, decode_whole_image, fit_inside, measure_image
from vtbench.datasets.loading import LoadedDataset, load_dataset
from vtbench.datasets.masked import MaskedSplit, measure_canvas
from vtbench.datasets.parquet_table import find_image_column, read_schema
from vtbench.datasets.source import parse_dataset
from vtbench.datasets.sources.parquet import ParquetKnobs, RowGroups
from vtbench.datasets.split_files import find_files
from vtbench.errors import UserError
from vtbench.files import read_file
from vtbench.units import format_items
from vtbench.written import validate_configuration

# Dimensions: H height, W width in pixels, C channels (3, RGB); Y, X height and width of the picture that is shown.

_LARGEST_PICTURE = 640
_MASK_COLUMN = "annotation"


NO_CLASS = -1
"""The id of a pixel that is void, or lies in the margin of an image that was scaled to fit whole."""


@dataclass(frozen=True, eq=False)
class ShownImage:
    """One image: ``pixels`` (H, W, C) for the network, and the same part of it larger for the eye, ``picture``.

    ``picture`` is (Y, X, C). ``classes`` (H, W) are per-pixel class ids or `NO_CLASS`, or it is None. ``original_size``
    is (height, width) as it stands in the file.
    """

    name: str
    pixels: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    classes: NDArray[np.integer] | None
    original_size: tuple[int, int]


def read_files(
    images: Sequence[Path],
    masks: Sequence[Path],
    image_size: tuple[int, int],
    *,
    whole: bool = False,
    white: float | None = None,
) -> list[ShownImage]:
    """Decode image files, each with the mask at its place if there are masks, to ``image_size`` (height, width).

    They are cut at the centre, or scaled to fit ``whole``, as the network is used to. Raises ``UserError`` for a file
    that is no image, for another number of masks than of images, and for a mask that has not the size of its image.
    """
    if masks and len(masks) != len(images):
        raise UserError(
            f"{format_items(len(images), 'image')} and {format_items(len(masks), 'mask')} were given. "
            "Give one mask for each image, in the same order, or none."
        )
    datas = [_read(path) for path in masks] if masks else [None] * len(images)
    return [
        decode_shown(_read(path), str(path), image_size, mask, whole=whole, white=white)
        for path, mask in zip(images, datas, strict=True)
    ]


def decode_shown(
    data: bytes,
    name: str,
    image_size: tuple[int, int],
    mask: bytes | None,
    *,
    whole: bool = False,
    white: float | None = None,
) -> ShownImage:
    """Decode one image file, and the file of its class ids if there is one. Raises ``UserError`` naming it."""
    original_size = measure_image(data, name)
    if mask is not None and (found := measure_image(mask, f"of the mask of {name}")) != original_size:
        raise UserError(
            f"The mask of {name} has {found[0]}x{found[1]} pixels and the image {original_size[0]}x{original_size[1]}. "
            "Give a mask of the image's own size."
        )
    decode, decode_ids = (decode_whole_image, _decode_whole_mask) if whole else (decode_image, decode_mask)
    return ShownImage(
        name=name,
        pixels=decode(data, name, image_size, white),
        picture=decode(data, name, _enlarge(image_size, original_size, whole=whole), white),
        classes=None if mask is None else decode_ids(mask, f"of {name}", image_size),
        original_size=original_size,
    )


def read_rows(
    spec: str, split: Split, indices: Sequence[int], image_size: tuple[int, int], *, whole: bool = False
) -> list[ShownImage]:
    """The images ``indices`` of the data set ``spec``, with masks where it has some.

    Where images are seen ``whole``, masks are read as validation reads them. Else a parquet data set with a column
    ``annotation`` of class ids, such as CamVid, needs no labels. Raises ``UserError`` for an index beyond the split,
    and for images that are to be wider than high or the reverse, save those of masks that are seen whole.
    """
    source, knobs, name = parse_dataset(spec)
    if whole:
        chosen = source.open(knobs, min(image_size))[split]
        if isinstance(chosen, MaskedSplit):
            return _read_masked(replace(chosen, image_size=image_size), f"{name} {split}", indices)
    if not whole and isinstance(knobs, ParquetKnobs) and (rows := _find_annotated(knobs, split)) is not None:
        return _read_annotated(rows, f"{spec} {split}", indices, image_size, knobs.white)
    if image_size[0] != image_size[1]:
        raise UserError(
            f"Images of a data set are cut to a square, and {image_size[0]}x{image_size[1]} was asked for. "
            "Give one side with --image-size, or image files with --image."
        )
    values = {"spec": spec, "image_size": image_size[0]}
    config = validate_configuration(DataConfig, values, source="The images to show")
    return show_rows(load_dataset(config, split, seed=0), split, indices)


def show_rows(data: LoadedDataset, split: Split, indices: Sequence[int]) -> list[ShownImage]:
    """The images ``indices`` of an open data set, with masks where it has some."""
    _check(indices, len(data), f"{data.name} {split}")
    rows = np.asarray(indices, np.int64)
    images = data.read(rows)
    masks = map(_mark_void, data.read_masks(rows)) if data.has_masks else [None] * len(rows)
    return [
        ShownImage(f"{data.name} {split} {index}", image, image, mask, data.image_size)
        for index, image, mask in zip(indices, images, masks, strict=True)
    ]


def _read_masked(split: MaskedSplit, name: str, indices: Sequence[int]) -> list[ShownImage]:
    """Images with their margins and masks as the network sees them, of ``split.image_size``."""
    _check(indices, len(split.labels), name)
    rows = np.asarray(indices, np.int64)
    shown = []
    for index, (data, _), image, mask in zip(
        indices, split.files.images(rows), split.read(rows), split.read_masks(rows), strict=True
    ):
        title = f"{name} {index}"
        original_size = measure_image(data, title)
        size = _enlarge(split.image_size, original_size, whole=True)
        picture = decode_whole_image(data, title, size, split.white)
        shown.append(ShownImage(title, image, picture, _mark_void(mask), original_size))
    return shown


def _mark_void(mask_HW: NDArray[np.uint8]) -> NDArray[np.integer]:
    return np.where(mask_HW == VOID, np.int16(NO_CLASS), mask_HW.astype(np.int16))


def _decode_whole_mask(data: bytes, name: str, image_size: tuple[int, int]) -> NDArray[np.integer]:
    """The ids of a mask as `decode_whole_image` places the image; its margin has no class."""
    size = fit_inside(measure_image(data, name), image_size)
    ids_HW = np.full(image_size, NO_CLASS, np.int16)
    ids_HW[: size[0], : size[1]] = decode_mask(data, name, size)
    return ids_HW


def _enlarge(image_size: tuple[int, int], original_size: tuple[int, int], *, whole: bool) -> tuple[int, int]:
    """A whole number of times ``image_size``, not larger than an eye needs, nor than what the file holds."""
    held = measure_canvas(original_size, image_size) if whole else original_size
    times = min(_LARGEST_PICTURE // max(image_size), held[0] // image_size[0], held[1] // image_size[1])
    return max(1, times) * image_size[0], max(1, times) * image_size[1]


def _find_annotated(knobs: ParquetKnobs, split: Split) -> tuple[RowGroups, RowGroups, int] | None:
    """Images, masks and number of rows, if the files have a column of masks."""
    files = find_files(resolve_folder(knobs.path, "parquet"), knobs.wanted)[split]
    schema = read_schema(files[0])
    if _MASK_COLUMN not in schema.names:
        return None
    others = schema.remove(schema.get_field_index(_MASK_COLUMN))
    masks = RowGroups(files, _MASK_COLUMN)
    return RowGroups(files, find_image_column(str(files[0].path), others, knobs.image)), masks, masks.num_rows


def _read_annotated(
    rows: tuple[RowGroups, RowGroups, int],
    name: str,
    indices: Sequence[int],
    image_size: tuple[int, int],
    white: float | None,
) -> list[ShownImage]:
    images, masks, num_rows = rows
    _check(indices, num_rows, name)
    at = np.asarray(indices, np.int64)
    return [
        decode_shown(image, f"{name} {index}", image_size, mask, white=white)
        for index, (image, _), (mask, _) in zip(indices, images.fetch(at), masks.fetch(at), strict=True)
    ]


def _check(indices: Sequence[int], size: int, name: str) -> None:
    for index in indices:
        if not 0 <= index < size:
            raise UserError(f"There is no image {index} in {name}: it has {size:,}, numbered 0 to {size - 1}.")


def _read(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise DataError(f"The image {path} cannot be read: {error.strerror}. Check the path.") from error
