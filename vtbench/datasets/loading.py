"""Load a data set by name: parse, open, take the subset, decode once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vtbench.configuration import DataConfig
from vtbench.datasets.cache import cache_images, cache_masks, read_size_limit
from vtbench.datasets.data_files import derive_fingerprint
from vtbench.datasets.dataset import (
    HOW_TO_GIVE_MASKS,
    HasMaskFiles,
    HasMasks,
    HasOriginalMasks,
    HasSides,
    Images,
    ImageSplit,
    InGroups,
    NeedsPacking,
    Split,
    list_taken,
)
from vtbench.datasets.source import parse_dataset
from vtbench.datasets.statistics import Triple, measure_statistics
from vtbench.datasets.subset import hold_out, select_balanced
from vtbench.errors import UserError


@dataclass(frozen=True, eq=False)
class LoadedDataset:
    """An `ImageDataset`: the images ``rows`` of a source's ``split``.

    ``images`` gives their pixels: that of index i is its image ``places[i]``.
    """

    name: str
    image_size: tuple[int, int]
    mean: Triple
    std: Triple
    split: ImageSplit
    rows: NDArray[np.int64]
    images: Images
    places: NDArray[np.int64]

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name for each label. Raises ``UserError`` when the data set was opened for its masks, without labels."""
        if not self.split.class_names:
            raise UserError(
                f"The data set {self.name!r} has a mask for every image and no label, so that it is for segmentation, "
                "and the model classifies. Choose a model for segmentation, or data with labels."
            )
        return self.split.class_names

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The label of every image of ``rows``."""
        return self.split.labels[self.rows]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the source's content, the size of the images, and which of them these are."""
        return _fingerprint(self.split, self.rows)

    @property
    def content(self) -> str:
        """A hash of all that the source holds of the split: the same for every seed, limit and size of the images."""
        return derive_fingerprint(self.split.fingerprint, self.split.fingerprint)

    @cached_property
    def groups(self) -> tuple[NDArray[np.int64], int] | None:
        """Those of `DrawnInWindows`, wherever the images are read from."""
        if not isinstance(self.split, InGroups):
            return None
        return np.searchsorted(self.split.group_starts, self.rows, side="right"), self.split.window

    @property
    def taken(self) -> dict[str, str]:
        """That of the source; see `TellsTaken`."""
        return list_taken(self.split)

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
        """Per-pixel class ids of shape (B, H, W), `VOID` for none. Raises ``UserError`` when the data set has none."""
        return self._cached_masks.read(indices)

    def read_original_masks(self, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Class ids of shape (H_i, W_i) each, as large as the masks were made; decoded anew at every call.

        A mask of other proportions than the images of the training size has a margin of `VOID` below or at the right,
        where the image has its own, so that its parts lie where they lie in what `read` and `read_masks` give.
        """
        masks, rows = self._find_masks()
        if isinstance(masks, HasOriginalMasks):
            return masks.read_original_masks(rows[indices])
        return list(self.read_masks(indices))

    @cached_property
    def _cached_masks(self) -> Images:
        """The masks of ``rows`` in their order, decoded once if they fit into the cache's limit."""
        masks = self._masks()
        height, width = self.image_size
        if len(self.rows) > read_size_limit() // (height * width):
            return _UncachedMasks(*self._find_masks())
        return cache_masks(masks.read_masks, self.split.fingerprint, self.image_size, self.rows)

    @property
    def mask_class_names(self) -> tuple[str, ...]:
        """One name for each class of a pixel. Raises ``UserError`` when the data set has no masks."""
        return self._masks().mask_class_names

    @property
    def left_right(self) -> tuple[tuple[int, int], ...]:
        """Pairs of classes of a pixel that a mirrored image exchanges, such as left and right arms."""
        return self.split.left_right if isinstance(self.split, HasSides) else ()

    @property
    def mask_values(self) -> tuple[int, ...]:
        """The value that stands for each class of a pixel in a file; empty where masks are in none."""
        return self.split.mask_values if isinstance(self.split, HasMaskFiles) else ()

    @property
    def mask_palette(self) -> tuple[tuple[int, int, int], ...]:
        """The colour of each class of a pixel; empty where the data set says none."""
        return self.split.mask_palette if isinstance(self.split, HasMaskFiles) else ()

    def _find_masks(self) -> tuple[HasMasks, NDArray[np.int64]]:
        """Where to read the masks of ``rows``, and at which indices there: beside the images if those lie by them."""
        return (self.images, self.places) if isinstance(self.images, HasMasks) else (self._masks(), self.rows)

    def _masks(self) -> HasMasks:
        if not isinstance(self.split, HasMasks):
            raise UserError(f"The data set {self.name!r} has no masks. {HOW_TO_GIVE_MASKS}")
        return self.split


@dataclass(frozen=True, eq=False)
class _UncachedMasks:
    masks: HasMasks
    rows: NDArray[np.int64]

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.masks.read_masks(self.rows[indices])


def load_dataset(config: DataConfig, split: Split, *, seed: int) -> LoadedDataset:
    """The ``split`` of the data set that ``config`` names, cut to its limit by a subset that ``seed`` fixes.

    Images are decoded once into the cache when they fit in it, all of them or else those of the subset; otherwise they
    are decoded whenever they are read. Raises ``UserError`` when anything about either split is wrong.
    """
    return _load(_open(config), config, split, seed)


def load_datasets(config: DataConfig, *, seed: int) -> tuple[LoadedDataset, LoadedDataset]:
    """What `load_dataset` gives of ``train`` and of ``val``, with the files of both looked at once."""
    opened = _open(config)
    return _load(opened, config, "train", seed), _load(opened, config, "val", seed)


def identify_data(config: DataConfig, seeds: Iterable[int]) -> dict[int, dict[Split, str]]:
    """For each of ``seeds`` the fingerprints of what `load_dataset` gives, with nothing decoded.

    Raises ``UserError`` when anything about either split is wrong.
    """
    name, splits = _open(config)
    if config.held_out is not None:
        splits = dict.fromkeys(splits, splits["train"])
    return {
        seed: {split: _fingerprint(one, _select(one, config, split, seed, name)) for split, one in splits.items()}
        for seed in seeds
    }


def _open(config: DataConfig) -> tuple[str, dict[Split, ImageSplit]]:
    """The canonical name of the data set, and its splits, whole."""
    source, knobs, name = parse_dataset(config.spec)
    return name, source.open(knobs, config.image_size)


def _load(opened: tuple[str, dict[Split, ImageSplit]], config: DataConfig, split: Split, seed: int) -> LoadedDataset:
    name, splits = opened
    chosen = splits["train" if config.held_out is not None else split]
    rows = _select(chosen, config, split, seed, name)
    images, places = _cache_or_read(chosen, rows)
    colour = measure_statistics(splits["train"])
    data = LoadedDataset(name, chosen.image_size, colour.mean, colour.std, chosen, rows, images, places)
    if not chosen.class_names:
        data.read_masks(np.arange(min(1, len(data)), dtype=np.int64))  # Decodes and checks them all, if they fit.
    return data


def _select(chosen: ImageSplit, config: DataConfig, split: Split, seed: int, name: str) -> NDArray[np.int64]:
    limit = config.limit_train if split == "train" else config.limit_val
    if config.held_out is None:
        return select_balanced(chosen.labels, limit, split=split, seed=seed, name=name)
    part = hold_out(chosen.labels, config.held_out, seed=config.held_out_seed, name=name)[split]
    most = len(part) if limit is None else min(limit, len(part))
    return part[select_balanced(chosen.labels[part], most, split=split, seed=seed, name=name)]


def _fingerprint(split: ImageSplit, rows: NDArray[np.int64]) -> str:
    digest = hashlib.sha256(f"{split.fingerprint} {split.image_size}".encode())
    digest.update(rows.astype("<i8").tobytes())
    return digest.hexdigest()


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
