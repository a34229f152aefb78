"""Look at a data set as training will read it, and write down what it is: `survey_data`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.data_files import SAMPLED
from vtbench.datasets.dataset import VOID, HasFiles, Split, TellsTaken
from vtbench.datasets.decoding import measure_image, spread_evenly
from vtbench.datasets.duplicates import find_duplicates
from vtbench.datasets.loading import LoadedDataset
from vtbench.datasets.masked import MaskedSplit, decode_values
from vtbench.datasets.opening import open_image
from vtbench.datasets.statistics import MOST_IMAGES
from vtbench.records import NotMeasured
from vtbench.records.data import (
    ClassRecord,
    DataRecord,
    DuplicatesRecord,
    ImageSizes,
    MaskRecord,
    PixelClassRecord,
    SplitRecord,
)

# Dimensions: H height, W width, K classes, V values of a mask.

_MOST_MASKS = 512
_MOST_PAIRS = 20
_AT_A_TIME = 64


def survey_data(data: Mapping[Split, LoadedDataset]) -> DataRecord:
    """Everything that can be said of both splits. Raises ``UserError`` naming the first image that cannot be read."""
    train, val = data["train"], data["val"]
    masks = {split: _look_at_masks(one) for split, one in data.items() if one.has_masks}
    return DataRecord(
        data=train.name,
        tasks=(*(["classification"] if train.split.class_names else []), *(["segmentation"] if masks else [])),
        taken=dict(train.split.taken) if isinstance(train.split, TellsTaken) else {},
        image_size=train.image_size,
        mean=train.mean,
        std=train.std,
        splits=(_look_at_split("train", train), _look_at_split("val", val)),
        classes=tuple(_count_labels(train, val)),
        pixel_classes=tuple(_share_pixels(train.mask_class_names, masks)) if masks else (),
        masks=tuple(found.describe(split) for split, found in masks.items()),
        duplicates=_name_duplicates(train, val),
    )


def _look_at_split(split: Split, data: LoadedDataset) -> SplitRecord:
    rows = spread_evenly(len(data), MOST_IMAGES)
    sizes: list[tuple[int, int]] = []
    kinds: Counter[str] = Counter()
    if isinstance(data.split, HasFiles):
        for start in range(0, len(rows), _AT_A_TIME):
            for content, name in data.split.fetch(rows[start : start + _AT_A_TIME]):
                sizes.append(measure_image(content, name))
                image = open_image(content, name)
                kinds[f"{image.format} {image.mode}"] += 1
    else:
        sizes, kinds = [data.image_size], Counter({"RGB pixels": len(rows)})
    sizes.sort(key=lambda size: (size[0] * size[1], size))
    return SplitRecord(
        split=split,
        num_images=len(data),
        num_looked_at=len(rows),
        sizes=ImageSizes(smallest=sizes[0], median=sizes[len(sizes) // 2], largest=sizes[-1]),
        kinds=dict(kinds.most_common()),
        content=data.content,
        is_sampled=data.content.startswith(SAMPLED),
    )


def _count_labels(train: LoadedDataset, val: LoadedDataset) -> Iterator[ClassRecord]:
    names = train.split.class_names
    of_train, of_val = (np.bincount(data.labels, minlength=len(names)) for data in (train, val))
    for number, name in enumerate(names):
        yield ClassRecord(number=number, name=name, num_train=int(of_train[number]), num_val=int(of_val[number]))


@dataclass(frozen=True, eq=False)
class _MaskCounts:
    """Of the masks of a split: pixels of each class or `VOID` (V,), masks that show it (V,), values in their files."""

    num_masks: int
    pixels: NDArray[np.int64]
    shown: NDArray[np.int64]
    values: set[int]

    def describe(self, split: Split) -> MaskRecord:
        return MaskRecord(
            split=split,
            num_looked_at=self.num_masks,
            values=tuple(sorted(self.values)),
            void_percent=100 * int(self.pixels[VOID]) / max(1, int(self.pixels.sum())),
        )


def _look_at_masks(data: LoadedDataset) -> _MaskCounts:
    rows = spread_evenly(len(data), _MOST_MASKS)
    pixels_V, shown_V = np.zeros(VOID + 1, np.int64), np.zeros(VOID + 1, np.int64)
    values: set[int] = set()
    for classes_HW, found in _read_masks(data, rows):
        counts_V = np.bincount(classes_HW.ravel(), minlength=VOID + 1)
        pixels_V += counts_V
        shown_V += counts_V > 0
        values |= found
    return _MaskCounts(len(rows), pixels_V, shown_V, values)


def _read_masks(data: LoadedDataset, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.uint8], set[int]]]:
    """Classes of the pixels of each mask at its own size, without a margin, and the values that stand in its file."""
    split = data.split
    for start in range(0, len(rows), _AT_A_TIME):
        part = rows[start : start + _AT_A_TIME]
        if not isinstance(split, MaskedSplit):
            yield from ((mask_HW, set()) for mask_HW in data.read_masks(part))
            continue
        for content, name in split.files.masks(part):
            raw = decode_values(content, name, split.convention)
            yield split.convention.translate(raw, name), set(np.unique(raw).tolist()) if raw.ndim == 2 else set()


def _share_pixels(names: tuple[str, ...], masks: Mapping[Split, _MaskCounts]) -> Iterator[PixelClassRecord]:
    train, val = masks["train"], masks["val"]
    of_train, of_val = (max(1, int(found.pixels[:VOID].sum())) for found in (train, val))
    for number, name in enumerate(names):
        yield PixelClassRecord(
            number=number,
            name=name,
            train_percent=100 * int(train.pixels[number]) / of_train,
            val_percent=100 * int(val.pixels[number]) / of_val,
            num_train=int(train.shown[number]),
            num_val=int(val.shown[number]),
        )


def _name_duplicates(train: LoadedDataset, val: LoadedDataset) -> DuplicatesRecord | NotMeasured:
    found = find_duplicates(train, val, in_files=True)
    if found is None:
        return NotMeasured(reason="the images lie in no files and are too many to be held decoded")
    pairs = found.shared[:_MOST_PAIRS]
    of_val = _name_images(val, "val", [one for one, _ in pairs])
    of_train = _name_images(train, "train", [other for _, other in pairs])
    if pairs and all(map(os.path.isabs, (*of_val, *of_train))):
        root = os.path.commonpath([*of_val, *of_train])
        of_val, of_train = ([os.path.relpath(name, root) for name in names] for names in (of_val, of_train))
    return DuplicatesRecord(
        by=found.by,
        num_train=found.num_train,
        num_val=found.num_val,
        num_shared=found.num_shared,
        num_relabelled=found.num_relabelled,
        shared=tuple(zip(of_val, of_train, strict=True)),
    )


def _name_images(data: LoadedDataset, split: Split, rows: list[int]) -> list[str]:
    if rows and isinstance(data.split, HasFiles):
        return [name for _, name in data.split.fetch(np.asarray(rows, np.int64))]
    return [f"image {row} of {split}" for row in rows]
