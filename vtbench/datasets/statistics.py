"""Channel means and standard deviations of a training split, for normalisation."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.cache import find_cache_folder
from vtbench.datasets.dataset import DataError, ImageSplit, InGroups
from vtbench.datasets.decoding import split_rows, spread_evenly
from vtbench.datasets.memory import recall, remember

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

MOST_IMAGES = 4096
"""Of a split so many images are looked at, unless said otherwise."""
_MOST_GROUPS = 64
_LEAST_STD = 1 / 255  # Of images in one flat colour; dividing by zero would be worse.

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class ChannelStatistics:
    """Of pixels scaled to 0..1."""

    mean: Triple
    std: Triple


IMAGENET = ChannelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of the training images of ImageNet, as torchvision's and most of timm's networks expect them."""


def measure_statistics(split: ImageSplit) -> ChannelStatistics:
    """Means and deviations over up to 4,096 images spread evenly over ``split``, whatever the limit on it.

    Of a split in groups they are from 64 of those at most.

    Sums are of integers, so that the result does not depend on their order. Measured once and remembered with a
    checksum. Raises `DataError` when all those images are of one value, which tells nothing.
    """
    key = f"statistics 2, {split.fingerprint}, {split.image_size}, {len(split.labels)}"
    memory = find_cache_folder() / "statistics" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    if (content := recall(memory)) is not None:
        found = json.loads(content)
        return ChannelStatistics(_triple(found["mean"]), _triple(found["std"]))
    statistics = _measure(split)
    remember(memory, json.dumps({"mean": statistics.mean, "std": statistics.std}).encode())
    return statistics


def _measure(split: ImageSplit) -> ChannelStatistics:
    rows = _choose_rows(split)
    counts_CV = np.zeros((3, 256), np.int64)
    for some in split_rows(rows, 3 * math.prod(split.image_size)):
        images_BHWC = split.read(some)
        for channel in range(3):
            counts_CV[channel] += np.bincount(images_BHWC[..., channel].ravel(), minlength=256)
    if (np.count_nonzero(counts_CV, axis=1) == 1).all():
        colour = ", ".join(str(value) for value in counts_CV.argmax(axis=1))
        raise DataError(
            f"Every pixel of the {len(rows):,} training images looked at has one colour, ({colour}): there is "
            "nothing to learn from. Look whether the files hold what they should, and what their values mean."
        )
    values, total = np.arange(256), int(counts_CV[0].sum())
    mean_C = (counts_CV @ values) / total
    variance_C = (counts_CV @ values**2) / total - mean_C**2
    std_C = np.maximum(np.sqrt(np.maximum(variance_C, 0)) / 255, _LEAST_STD)
    return ChannelStatistics(_triple((mean_C / 255).tolist()), _triple(std_C.tolist()))


def _choose_rows(split: ImageSplit) -> NDArray[np.int64]:
    """Rows spread evenly, of a split in groups over few of those."""
    if not isinstance(split, InGroups) or len(split.group_starts) <= _MOST_GROUPS:
        return spread_evenly(len(split.labels), MOST_IMAGES)
    ends = np.append(split.group_starts[1:], len(split.labels))
    chosen = spread_evenly(len(split.group_starts), _MOST_GROUPS)
    rows = np.concatenate([np.arange(split.group_starts[at], ends[at]) for at in chosen])
    return rows[spread_evenly(len(rows), MOST_IMAGES)]


def _triple(values: list[float]) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
