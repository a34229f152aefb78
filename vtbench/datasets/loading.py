"""Load a data set by name: parse, open, take the subset, decode once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vtbench.configuration import DataConfig
from vtbench.datasets.cache import cache_images, read_size_limit
from vtbench.datasets.dataset import HasMasks, Images, ImageSplit, NeedsPacking, Split
from vtbench.datasets.source import parse_dataset
from vtbench.datasets.statistics import Triple, measure_statistics
from vtbench.datasets.subset import select_balanced
from vtbench.errors import UserError


@dataclass(frozen=True, eq=False)
class LoadedDataset:
    """An `ImageDataset`: the images ``rows`` of a source's ``split``.

    ``images`` gives their pixels: that of index i is its image ``places[i]``.
    """

    name: str
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    mean: Triple
    std: Triple
    split: ImageSplit
    rows: NDArray[np.int64]
    images: Images
    places: NDArray[np.int64]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The label of every image of ``rows``."""
        return self.split.labels[self.rows]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the source's content, the size of the images, and which of them these are."""
        digest = hashlib.sha256(f"{self.split.fingerprint} {self.image_size}".encode())
        digest.update(self.rows.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def has_masks(self) -> bool:
        """Whether `read_masks` works."""
        return isinstance(self.split, HasMasks)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images of shape (B, H, W, C). Raises `DataError` when a file is corrupt, has changed or has gone."""
        return self.images.read(self.places[indices])

    def read_masks(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Per-pixel class ids of shape (B, H, W). Raises ``UserError`` when the data set has none."""
        return self._masks().read_masks(self.rows[indices])

    @property
    def mask_class_names(self) -> tuple[str, ...]:
        """One name for each class of a pixel. Raises ``UserError`` when the data set has no masks."""
        return self._masks().mask_class_names

    def _masks(self) -> HasMasks:
        if not isinstance(self.split, HasMasks):
            raise UserError(f"The data set {self.name!r} has no masks. Use scenes, which has one for every image.")
        return self.split


def load_dataset(config: DataConfig, split: Split, *, seed: int) -> LoadedDataset:
    """The ``split`` of the data set that ``config`` names, cut to its limit by a subset that ``seed`` fixes.

    Images are decoded once into the cache when they fit in it, all of them or else those of the subset; otherwise they
    are decoded whenever they are read. Raises ``UserError`` when anything about either split is wrong.
    """
    source, knobs, name = parse_dataset(config.spec)
    splits = source.open(knobs, config.image_size)
    chosen = splits[split]
    limit = config.limit_train if split == "train" else config.limit_val
    rows = select_balanced(chosen.labels, limit, split=split, seed=seed, name=name)
    images, places = _cache_or_read(chosen, rows)
    colour = measure_statistics(splits["train"])
    return LoadedDataset(
        name, chosen.class_names, chosen.image_size, colour.mean, colour.std, chosen, rows, images, places
    )


def _cache_or_read(split: ImageSplit, rows: NDArray[np.int64]) -> tuple[Images, NDArray[np.int64]]:
    """Where to read the pixels of ``rows``, and at which indices there."""
    height, width = split.image_size
    most_images = read_size_limit() // (height * width * 3)
    every = np.arange(len(split.labels), dtype=np.int64)
    if len(every) <= most_images:
        return cache_images(split, every), rows
    if len(rows) <= most_images:
        return cache_images(split, rows), np.arange(len(rows), dtype=np.int64)
    if isinstance(split, NeedsPacking):
        return split.pack(rows), np.arange(len(rows), dtype=np.int64)
    return split, rows
