"""Images of a data set as a network is given them, as they stand and augmented, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vtbench.configuration import AugmentationConfig
from vtbench.datasets.augmentation import Augmentation
from vtbench.datasets.batches import Normalizer
from vtbench.datasets.decoding import spread_evenly
from vtbench.datasets.loading import LoadedDataset
from vtbench.datasets.mixing import mix_images

# Dimensions: B images, H height, W width, C channels (3, RGB).


@dataclass(frozen=True, eq=False)
class Sample:
    """One image (H, W, C), uint8, and its mask (H, W), if it has one: classes, or void."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None


def show_samples(data: LoadedDataset, num_groups: int, num_images: int) -> list[tuple[str, list[Sample]]]:
    """Named groups of images, spread evenly: of classes, or of places in the data where there are no labels."""
    names = data.split.class_names
    if not names:
        rows = spread_evenly(len(data), num_groups * num_images)
        groups = [rows[start : start + num_images] for start in range(0, len(rows), num_images)]
        return [(f"images {group[0]} to {group[-1]}", _read(data, group)) for group in groups]
    shown = []
    for label in spread_evenly(len(names), num_groups):
        rows = np.flatnonzero(data.labels == label)
        shown.append((names[label], _read(data, rows[spread_evenly(len(rows), num_images)]) if len(rows) else []))
    return shown


def show_augmented(
    data: LoadedDataset, config: AugmentationConfig, *, seed: int, num_images: int, num_draws: int, with_masks: bool
) -> list[tuple[int, list[Sample]]]:
    """For some images, by number: the image as it stands, and as the training of ``seed`` sees it in each epoch.

    A recipe that mixes images is shown with those of the sheet for a batch: each with the one before it.
    """
    rows = spread_evenly(len(data), num_images)
    augmentation = Augmentation.of_data(config, seed, data)
    plain = _read(data, rows, with_masks=with_masks)
    columns: list[list[Sample]] = [plain]
    for epoch in range(num_draws):
        draws = augmentation.draw(epoch, rows)
        images_BHWC = augmentation.apply(data.read(rows), draws)
        if draws.mix is not None:
            images_BHWC = mix_images(images_BHWC, np.roll(images_BHWC, 1, axis=0), draws.mix)
        masks_BHW = augmentation.apply_to_masks(data.read_masks(rows), draws) if with_masks else None
        columns.append(_pair(data, images_BHWC, masks_BHW))
    return [(int(row), list(samples)) for row, samples in zip(rows, zip(*columns, strict=True), strict=True)]


def _read(data: LoadedDataset, rows: NDArray[np.int64], *, with_masks: bool = True) -> list[Sample]:
    return _pair(data, data.read(rows), data.read_masks(rows) if with_masks and data.has_masks else None)


def _pair(data: LoadedDataset, images_BHWC: NDArray[np.uint8], masks_BHW: NDArray[np.uint8] | None) -> list[Sample]:
    seen_BHWC = see_as_network(data, images_BHWC)
    masks: Sequence[NDArray[np.uint8] | None] = [None] * len(seen_BHWC) if masks_BHW is None else list(masks_BHW)
    return [Sample(image, mask) for image, mask in zip(seen_BHWC, masks, strict=True)]


def see_as_network(data: LoadedDataset, images_BHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The images as the network's input holds them: normalised, and brought back to pixels to be seen."""
    normalized_BCHW = Normalizer(data.mean, data.std, images_BHWC.shape[2])(torch.from_numpy(images_BHWC))
    unit_BHWC = normalized_BCHW.permute(0, 2, 3, 1).numpy() * np.asarray(data.std) + np.asarray(data.mean)
    return np.asarray((255 * unit_BHWC).round().clip(0, 255).astype(np.uint8))
