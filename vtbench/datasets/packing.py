"""Encoded images end to end in one file, with an index: random access for data that is stored for reading in order.

A row group of a parquet file must be read whole to get one image of it, and a stream gives its images in order only.
Such data, when too large to be held decoded, is therefore copied once, still encoded, into the cache folder. It takes
as much room there as the images take in their own files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.cache import find_cache_folder
from vtbench.datasets.dataset import DataError
from vtbench.datasets.decoding import decode_images
from vtbench.files import publish, publish_bytes, read_file

# Dimensions: B images of a batch, N images of the pack, H height, W width, C channels (3, RGB).

Fetch = Callable[[NDArray[np.int64]], list[tuple[bytes, str]]]

_IMAGES_AT_A_TIME = 256
_CHECK_BYTES = 8


@dataclass(frozen=True)
class PackedImages:
    """A pack: ``path`` holds the images, the file beside it where each starts, and 8 bytes of its SHA-256.

    Messages call an image by its number in ``origin``, which is the pack itself when not given.
    """

    path: Path
    image_size: tuple[int, int]
    origin: str = ""
    white: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "image_size": self.image_size, "origin": self.origin, "white": self.white}

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the images ``indices`` of the pack, (B, H, W, C). Raises `DataError` when it has been changed."""
        return decode_images([partial(self.load, int(index)) for index in indices], self.image_size, self.white)

    def is_sound(self, num_images: int) -> bool:
        """Whether both files are there and fit each other and the number of images."""
        try:
            return len(self._index) == num_images and self.path.stat().st_size == int(self._index["end"][-1])
        except (OSError, ValueError):
            return False

    def load(self, index: int) -> tuple[bytes, str]:
        """The image file of number ``index``, and what to call it. Raises `DataError` when it has been changed."""
        start = int(self._index["end"][index - 1]) if index else 0
        with self.path.open("rb") as stream:
            stream.seek(start)
            data = stream.read(int(self._index["end"][index]) - start)
        if _checksum(data) != self._index["check"][index].tobytes():
            raise DataError(f"The file {self.path} in the cache has been changed. Delete it and run again.")
        return data, f"number {index} of {self.origin or self.path}"

    @cached_property
    def _index(self) -> NDArray[Any]:
        return np.frombuffer(read_file(_index_path(self.path)), _ENTRY)


@dataclass(frozen=True)
class PairedImages:
    """Every second image of a pack, from the ``first`` on."""

    pack: PackedImages
    first: int

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The image files of the pairs ``indices``, and what to call each."""
        return [
            (self.pack.load(2 * int(index) + self.first)[0], f"number {index} of {self.pack.origin or self.pack.path}")
            for index in indices
        ]


def pack_images(
    fetch: Fetch,
    rows: NDArray[np.int64],
    fingerprint: str,
    image_size: tuple[int, int],
    white: float | None = None,
) -> PackedImages:
    """The pack of ``rows`` in that order, made by ``fetch`` if it is not there. Raises `DataError` without room."""
    key = f"packed 1, {fingerprint}, {hashlib.sha256(rows.tobytes()).hexdigest()}"
    path = find_cache_folder() / "packed" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.pack"
    if not (found := PackedImages(path, image_size, white=white)).is_sound(len(rows)):
        write_pack(path, _fetch_in_turn(fetch, rows))
        found = PackedImages(path, image_size, white=white)
    return found


def pack_pairs(first: Fetch, second: Fetch, rows: NDArray[np.int64], fingerprint: str) -> tuple[Fetch, Fetch]:
    """What gives the ``rows`` of ``first`` and of ``second`` from one pack, made as `pack_images` does it."""

    def fetch(places: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        pairs = zip(first(places[::2] // 2), second(places[::2] // 2), strict=True)
        return [one for pair in pairs for one in pair]

    both = np.stack((2 * rows, 2 * rows + 1), axis=1).ravel()
    pack = pack_images(fetch, both, f"pairs, {fingerprint}", (1, 1))
    return PairedImages(pack, 0).fetch, PairedImages(pack, 1).fetch


def write_pack(path: Path, images: Iterable[bytes]) -> None:
    """Make the pack ``path`` of image files in the order in which they come. Raises `DataError` without room."""
    index = bytearray()
    end = 0
    try:
        with publish(path) as stream:
            for data in images:
                stream.write(data)
                end += len(data)
                index += np.array((end, np.frombuffer(_checksum(data), np.uint8)), _ENTRY).tobytes()
        publish_bytes(_index_path(path), bytes(index))
    except OSError as error:
        raise DataError(
            f"The images are to be copied, still encoded, to {path.parent}, but: "
            f"{error.strerror or error}. Set VTBENCH_CACHE to a folder with room for them."
        ) from error


_ENTRY = np.dtype([("end", "<i8"), ("check", "u1", _CHECK_BYTES)])


def _fetch_in_turn(fetch: Fetch, rows: NDArray[np.int64]) -> Iterator[bytes]:
    for start in range(0, len(rows), _IMAGES_AT_A_TIME):
        for data, _ in fetch(rows[start : start + _IMAGES_AT_A_TIME]):
            yield data


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_CHECK_BYTES]


def _index_path(path: Path) -> Path:
    return path.with_suffix(".index")
