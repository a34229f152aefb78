"""A class-balanced subset of a split, fixed by the seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.counter_based import derive_key, shuffle
from vtbench.datasets.dataset import Split
from vtbench.errors import UserError


def select_balanced(
    labels: NDArray[np.int64], limit: int | None, *, split: Split, seed: int, name: str
) -> NDArray[np.int64]:
    """Indices, in ascending order, of ``limit`` images with as equal a number of each class as there are images for.

    The numbers of two classes differ by more than one only if the smaller class is used up. Which classes have one
    image more, and which images are taken, is drawn from (seed, split).
    Raises ``UserError`` when the split is too small, or the limit leaves a class without an image.
    """
    if limit is None or limit == len(labels):
        return np.arange(len(labels), dtype=np.int64)
    if limit > len(labels):
        raise UserError(
            f"--limit-{split} asks for {limit} images, but {name} has {len(labels)} in its {split} split. "
            f"Give at most {len(labels)}, or leave the limit out."
        )
    key = derive_key("subset", split, seed)
    available = np.bincount(labels)
    if limit < (classes := int((available > 0).sum())):
        raise UserError(
            f"--limit-{split} asks for {limit} images, and {name} has {classes} classes of images in its {split} "
            f"split: some would have none. Give at least {classes}, or leave the limit out."
        )
    quota = _share_out(limit, available, shuffle(derive_key("extra", split, seed), len(available)))
    order = shuffle(key, len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    starts = np.cumsum(available) - available
    taken = [by_class[start : start + count] for start, count in zip(starts, quota, strict=True)]
    return np.sort(np.concatenate(taken))


def hold_out(labels: NDArray[np.int64], part: float, *, seed: int, name: str) -> dict[Split, NDArray[np.int64]]:
    """Indices, in ascending order, of the images to train on and of those held out to validate on.

    Of every class ``part`` is held out, rounded, one image at least; which, is drawn from the seed alone. Raises
    ``UserError`` where a class has too few images for both.
    """
    available = np.bincount(labels)
    held = np.maximum(1, np.rint(part * available)).astype(np.int64) * (available > 0)
    if (held >= available)[available > 0].any():
        raise UserError(
            f"Of the training images of {name} the part {part:g} is to be held out, and some class has too few for "
            "that. Hold out less, or take more images."
        )
    order = shuffle(derive_key("held out", seed), len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    starts = np.cumsum(available) - available
    val = np.sort(np.concatenate([by_class[start : start + count] for start, count in zip(starts, held, strict=True)]))
    return {"train": np.setdiff1d(np.arange(len(labels), dtype=np.int64), val), "val": val}


def _share_out(limit: int, available: NDArray[np.int64], precedence: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fill the classes evenly up to what they have; the last few images go to the classes first in ``precedence``."""
    quota = np.zeros_like(available)
    left = limit
    while left:
        open_classes = [int(label) for label in precedence if quota[label] < available[label]]
        each = max(1, min(left // len(open_classes), int((available - quota)[open_classes].min())))
        for label in open_classes[: left // each]:
            quota[label] += each
            left -= each
    return quota
