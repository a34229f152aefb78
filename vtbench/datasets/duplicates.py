"""Images that stand in a data set more than once: within a split, and, worse, in both.

Two images are equal when the network is given equal pixels: the comparison is of decoded images at the size that is
trained at, by a hash of 128 bits. Two encodings of one picture are equal where they decode alike, and no near copies
(another crop, another quality of JPEG) are found. The hashes are taken when images are first decoded into the cache,
and lie beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.cache import HeldImages, MappedImages
from vtbench.datasets.dataset import ImageDataset
from vtbench.datasets.loading import LoadedDataset
from vtbench.files import publish_bytes

# Dimensions: N images.

_BYTES = 16
_AT_A_TIME = 512


@dataclass(frozen=True)
class Duplicates:
    """Equal images, counted: ``num_train`` and ``num_val`` repeat an earlier one of their own split.

    ``num_shared`` are validation images that stand in the training split, too, ``num_relabelled`` of them under another
    label. ``shared`` are the pairs (validation, training) by number.
    """

    num_train: int
    num_val: int
    num_shared: int
    num_relabelled: int
    shared: tuple[tuple[int, int], ...]


def find_duplicates(train: LoadedDataset, val: LoadedDataset, *, at_any_cost: bool = False) -> Duplicates | None:
    """Count the images that are equal; None where a split is too large to be held decoded.

    With ``at_any_cost`` such a split is decoded once for it.
    """
    found = [_hash_images(data, at_any_cost=at_any_cost) for data in (train, val)]
    if found[0] is None or found[1] is None:
        return None
    of_train, of_val = found[0], found[1]
    first: dict[bytes, int] = {}
    for number, digest in enumerate(of_train):
        first.setdefault(digest, number)
    shared = tuple((number, first[digest]) for number, digest in enumerate(of_val) if digest in first)
    labelled = bool(train.split.class_names)
    return Duplicates(
        num_train=len(of_train) - len(first),
        num_val=len(of_val) - len(set(of_val)),
        num_shared=len(shared),
        num_relabelled=sum(val.labels[one] != train.labels[other] for one, other in shared) if labelled else 0,
        shared=shared,
    )


def describe_leakage(train: ImageDataset, val: ImageDataset) -> str | None:
    """One paragraph for whoever is about to trust numbers of the validation images; None where nothing is to be said.

    Nothing is, too, of data whose images are not held decoded, because to look would take as long as an epoch.
    """
    if not isinstance(train, LoadedDataset) or not isinstance(val, LoadedDataset):
        return None
    found = find_duplicates(train, val)
    if found is None or not found.num_shared:
        return None
    relabelled = f", {found.num_relabelled:,} of them under another label" if found.num_relabelled else ""
    return (
        f"{found.num_shared:,} of the {len(val):,} validation images of {val.name} are training images too, pixel for "
        f"pixel{relabelled}: what is measured on them is memory. vtbench data names them."
    )


def _hash_images(data: LoadedDataset, *, at_any_cost: bool) -> list[bytes] | None:
    """A hash of every image of ``data``."""
    images = data.images
    if isinstance(images, MappedImages):
        every = _recall(images)
        return [every[place] for place in data.places.tolist()]
    if isinstance(images, HeldImages) or at_any_cost:
        return list(_hash_each(data.read(part) for part in _cut(len(data))))
    return None


def _recall(images: MappedImages) -> list[bytes]:
    """The hashes of all images of an entry, from beside it; an entry's name stands for its content."""
    beside, count = images.path.with_suffix(".digests"), images.shape[0]
    with suppress(OSError):
        if len(found := beside.read_bytes()) == count * _BYTES:
            return _split(found)
    found = b"".join(_hash_each(images.read(part) for part in _cut(count)))
    with suppress(OSError):
        publish_bytes(Path(beside), found)
    return _split(found)


def _cut(count: int) -> Iterable[NDArray[np.int64]]:
    for start in range(0, count, _AT_A_TIME):
        yield np.arange(start, min(start + _AT_A_TIME, count), dtype=np.int64)


def _hash_each(batches: Iterable[NDArray[np.uint8]]) -> Iterable[bytes]:
    for images_NHWC in batches:
        for image_HWC in np.ascontiguousarray(images_NHWC):
            yield hashlib.blake2b(image_HWC.data, digest_size=_BYTES).digest()


def _split(found: bytes) -> list[bytes]:
    return [found[start : start + _BYTES] for start in range(0, len(found), _BYTES)]
