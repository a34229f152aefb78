"""Single images that are looked at, not learned from: files of the user, or rows of a data set, with masks if any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtbench.configuration import DataConfig
from vtbench.datasets.data_files import resolve_folder
from vtbench.datasets.dataset import DataError, Split
from vtbench.datasets.decoding import decode_image, decode_mask, measure_image
from vtbench.datasets.loading import LoadedDataset, load_dataset
from vtbench.datasets.parquet_table import find_image_column, read_schema
from vtbench.datasets.sources.parquet import RowGroups
from vtbench.datasets.split_files import find_files
from vtbench.errors import UserError

# Dimensions: H height, W width in pixels, C channels (3, RGB); Y, X height and width of the picture that is shown.

_LARGEST_PICTURE = 640
_MASK_COLUMN = "annotation"


@dataclass(frozen=True, eq=False)
class ShownImage:
    """One image: ``pixels`` (H, W, C) for the network, and the same cut larger for the eye, ``picture`` (Y, X, C).

    ``classes`` (H, W) are per-pixel class ids, or None. ``original_size`` is (height, width) before cutting.
    """

    name: str
    pixels: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    classes: NDArray[np.uint8] | None
    original_size: tuple[int, int]


def read_files(images: Sequence[Path], masks: Sequence[Path], image_size: tuple[int, int]) -> list[ShownImage]:
    """Decode image files, each with the mask at its place if there are masks, cut to ``image_size`` (height, width).

    Raises ``UserError`` for a file that is no image, for another number of masks than of images, and for a mask that
    has not the size of its image.
    """
    if masks and len(masks) != len(images):
        raise UserError(
            f"{len(images)} images were given with --image and {len(masks)} masks with --mask. "
            "Give one mask for each image, in the same order, or none."
        )
    datas = [_read(path) for path in masks] if masks else [None] * len(images)
    return [decode_shown(_read(path), str(path), image_size, mask) for path, mask in zip(images, datas, strict=True)]


def decode_shown(data: bytes, name: str, image_size: tuple[int, int], mask: bytes | None) -> ShownImage:
    """Decode one image file, and the file of its class ids if there is one. Raises ``UserError`` naming it."""
    height, width = image_size
    original_size = measure_image(data, name)
    if mask is not None and (found := measure_image(mask, f"of the mask of {name}")) != original_size:
        raise UserError(
            f"The mask of {name} has {found[0]}x{found[1]} pixels and the image {original_size[0]}x{original_size[1]}. "
            "Give a mask of the image's own size."
        )
    times = max(1, min(_LARGEST_PICTURE // max(height, width), original_size[0] // height, original_size[1] // width))
    return ShownImage(
        name=name,
        pixels=decode_image(data, name, image_size),
        picture=decode_image(data, name, (times * height, times * width)),
        classes=None if mask is None else decode_mask(mask, f"of {name}", image_size),
        original_size=original_size,
    )


def read_rows(spec: str, split: Split, indices: Sequence[int], image_size: tuple[int, int]) -> list[ShownImage]:
    """The images ``indices`` of the data set ``spec``, with masks where it has some.

    A parquet data set with a column ``annotation`` of class ids, such as CamVid, needs no labels. Raises ``UserError``
    for an index beyond the split, and for images that are to be wider than high or the reverse.
    """
    kind, _, path = spec.partition(":")
    if kind == "parquet" and (rows := _find_annotated(path, split)) is not None:
        return _read_annotated(rows, f"{spec} {split}", indices, image_size)
    if image_size[0] != image_size[1]:
        raise UserError(
            f"Images of a data set are cut to a square, and {image_size[0]}x{image_size[1]} was asked for. "
            "Give one side with --image-size, or image files with --image."
        )
    return show_rows(load_dataset(DataConfig(spec=spec, image_size=image_size[0]), split, seed=0), split, indices)


def show_rows(data: LoadedDataset, split: Split, indices: Sequence[int]) -> list[ShownImage]:
    """The images ``indices`` of an open data set, with masks where it has some."""
    _check(indices, len(data), f"{data.name} {split}")
    rows = np.asarray(indices, np.int64)
    images = data.read(rows)
    masks = data.read_masks(rows) if data.has_masks else [None] * len(rows)
    return [
        ShownImage(f"{data.name} {split} {index}", image, image, mask, data.image_size)
        for index, image, mask in zip(indices, images, masks, strict=True)
    ]


def _find_annotated(path: str, split: Split) -> tuple[RowGroups, RowGroups, int] | None:
    """Images, masks and number of rows, if the files have a column of masks."""
    files = find_files(resolve_folder(path.partition(",")[0], "parquet"))[split]
    schema = read_schema(files[0])
    if _MASK_COLUMN not in schema.names:
        return None
    others = schema.remove(schema.get_field_index(_MASK_COLUMN))
    masks = RowGroups(files, _MASK_COLUMN)
    return RowGroups(files, find_image_column(str(files[0].path), others, None)), masks, masks.num_rows


def _read_annotated(
    rows: tuple[RowGroups, RowGroups, int], name: str, indices: Sequence[int], image_size: tuple[int, int]
) -> list[ShownImage]:
    images, masks, num_rows = rows
    _check(indices, num_rows, name)
    at = np.asarray(indices, np.int64)
    return [
        decode_shown(image, f"{name} {index}", image_size, mask)
        for index, (image, _), (mask, _) in zip(indices, images.fetch(at), masks.fetch(at), strict=True)
    ]


def _check(indices: Sequence[int], size: int, name: str) -> None:
    for index in indices:
        if not 0 <= index < size:
            raise UserError(f"There is no image {index} in {name}: it has {size:,}, numbered 0 to {size - 1}.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"The image {path} cannot be read: {error.strerror}. Check the path.") from error
