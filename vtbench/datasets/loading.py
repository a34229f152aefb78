"""Load a data set by name: parse, open, take the subset, decode once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtbench.configuration import DataConfig
from vtbench.datasets.dataset import HasMasks, ImageSplit, Split
from vtbench.datasets.source import parse_dataset
from vtbench.datasets.subset import select_balanced
from vtbench.errors import UserError


@dataclass(frozen=True)
class LoadedDataset:
    """One split as `ImageDataset` describes it: rows of a source, read from memory, from the cache or one by one."""

    name: str
    split: ImageSplit
    rows: NDArray[np.int64]
    images: NDArray[np.uint8]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fingerprint: str

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name for each label."""
        return self.split.class_names

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.split.image_size

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of every image."""
        return self.split.labels[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images of shape (B, H, W, C). Raises `DataError` when a file has changed or gone."""
        return self.images[self.rows[indices]]

    def read_masks(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Per-pixel class ids of shape (B, H, W). Raises ``UserError`` when the data set has none."""
        if not isinstance(self.split, HasMasks):
            raise UserError(f"The data set {self.name!r} has no masks. Use scenes, which has one for every image.")
        return self.split.read_masks(self.rows[indices])


def load_dataset(config: DataConfig, split: Split, *, seed: int) -> LoadedDataset:
    """The ``split`` of the data set that ``config`` names, cut to its limit by a subset that ``seed`` fixes."""
    source, knobs, name = parse_dataset(config.spec)
    splits = source.open(knobs, config.image_size)
    chosen = splits[split]
    limit = config.limit_train if split == "train" else config.limit_val
    rows = select_balanced(chosen.labels, limit, split=split, seed=seed, name=name)
    fingerprint = hashlib.sha256(chosen.fingerprint.encode() + rows.astype("<i8").tobytes()).hexdigest()
    images = chosen.read(np.arange(len(chosen.labels)))
    train = images if split == "train" else splits["train"].read(np.arange(len(splits["train"].labels)))
    scaled = train[:4096].reshape(-1, 3) / 255.0
    mean, std = scaled.mean(axis=0), scaled.std(axis=0)
    return LoadedDataset(name, chosen, rows, images, tuple(mean.tolist()), tuple(std.tolist()), fingerprint)
