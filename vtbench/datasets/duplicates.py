"""Images that stand in a data set more than once: within a split, and, worse, in both.

Two images are equal when the network is given equal pixels: the comparison is of decoded images at the size that is
trained at, by a hash of 128 bits. Two encodings of one picture are equal where they decode alike, and no near copies
(another crop, another quality of JPEG) are found. The hashes are taken when they are first asked for, and kept beside
the cached images. Of data too large to be held decoded the files themselves can be compared, byte by byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.cache import CachedImages, HeldImages
from vtbench.datasets.dataset import HasFiles, ImageDataset
from vtbench.datasets.loading import LoadedDataset
from vtbench.datasets.memory import recall, remember

# Dimensions: N images.

_BYTES = 16
_AT_A_TIME = 512


@dataclass(frozen=True)
class Duplicates:
    """Equal images, counted: ``num_train`` and ``num_val`` repeat an earlier one of their own split.

    ``num_shared`` are validation images that stand in the training split, too, ``num_relabelled`` of them under another
    label. ``shared`` are the pairs (validation, training) by number. ``by`` is what was compared.
    """

    by: Literal["pixels", "files"]

    num_train: int
    num_val: int
    num_shared: int
    num_relabelled: int
    shared: tuple[tuple[int, int], ...]


def find_duplicates(train: LoadedDataset, val: LoadedDataset, *, in_files: bool = False) -> Duplicates | None:
    """Count the images that are equal; None where a split is too large to be held decoded.

    ``in_files`` compares the files of such data instead, all of which must be read for it.
    """
    by: Literal["pixels", "files"] = "pixels"
    of_train, of_val = _hash_images(train), _hash_images(val)
    if (of_train is None or of_val is None) and in_files:
        by, of_train, of_val = "files", _hash_files(train), _hash_files(val)
    if of_train is None or of_val is None:
        return None
    first: dict[bytes, int] = {}
    for number, digest in enumerate(of_train):
        first.setdefault(digest, number)
    shared = tuple((number, first[digest]) for number, digest in enumerate(of_val) if digest in first)
    labelled = bool(train.split.class_names)
    return Duplicates(
        by=by,
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


def _hash_images(data: LoadedDataset) -> list[bytes] | None:
    """A hash of every image of ``data``, if they are held decoded."""
    images = data.images
    if isinstance(images, CachedImages):
        every = _recall(images)
        return [every[place] for place in data.places.tolist()]
    if isinstance(images, HeldImages):
        return [_hash(image_HWC.data) for part in _cut(len(data)) for image_HWC in data.read(part)]
    return None


def _hash_files(data: LoadedDataset) -> list[bytes] | None:
    """A hash of every image's file, if they lie in files."""
    if not isinstance(data.split, HasFiles):
        return None
    return [_hash(content) for part in _cut(len(data)) for content, _ in data.split.fetch(data.rows[part])]


def _recall(images: CachedImages) -> list[bytes]:
    """The hashes of all images of an entry, from beside it; an entry's name stands for its content."""
    beside, count = images.path.with_suffix(".digests"), images.shape[0]
    if (found := recall(beside)) is None:
        found = b"".join(_hash(image_HWC.data) for part in _cut(count) for image_HWC in images.read(part))
        remember(beside, found)
    return _split(found)


def _cut(count: int) -> Iterable[NDArray[np.int64]]:
    for start in range(0, count, _AT_A_TIME):
        yield np.arange(start, min(start + _AT_A_TIME, count), dtype=np.int64)


def _hash(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=_BYTES).digest()


def _split(found: bytes) -> list[bytes]:
    return [found[start : start + _BYTES] for start in range(0, len(found), _BYTES)]
