"""Images and masks decoded once, kept as raw uint8 in the user's cache folder and read from there by every run.

The folder is ``$VTBENCH_CACHE``, else ``$XDG_CACHE_HOME/vtbench``, else ``~/.cache/vtbench``. An entry is two files:
the pixels, and a note of their shape and checksum that is published after them. Both are written whole and renamed,
and an entry's name is the hash of what it holds, so two processes that build the same one at once put the same bytes
there. Where nothing can be written, the images are held in memory.

What is read is what was written. At opening the whole entry is held against its checksum, and built anew if that is
wrong. From then on every image is held against its own checksum, taken at opening, whenever it is read, before anything
is computed from it: an entry that is altered or cut off while a run reads it ends the run with one message and what was
saved before is sound.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any
from zlib import crc32

import numpy as np
import PIL
from numpy.typing import NDArray

from vtbench.datasets.dataset import DataError, ImageSplit
from vtbench.datasets.decoding import split_rows
from vtbench.errors import UserError
from vtbench.files import expand_home, publish, publish_text, read_json

# Dimensions: B images of a batch, N images of an entry, H height, W width, C channels (3, RGB; masks have none).

Read = Callable[[NDArray[np.int64]], NDArray[np.uint8]]

_DEFAULT_LIMIT_MB = 2048
_BUFFER_BYTES = 1 << 20


def find_cache_folder() -> Path:
    """Where decoded images and other things that can be made again are kept. It need not exist yet."""
    if folder := os.environ.get("VTBENCH_CACHE"):
        return expand_home(folder)
    return expand_home(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vtbench"


def read_size_limit() -> int:
    """Bytes of decoded images up to which they are cached: ``$VTBENCH_CACHE_LIMIT_MB`` in units of 10**6, else 2048."""
    text = os.environ.get("VTBENCH_CACHE_LIMIT_MB", str(_DEFAULT_LIMIT_MB))
    if not text.isascii() or not text.isdigit():
        raise UserError(
            f"VTBENCH_CACHE_LIMIT_MB is {text!r}. Give a whole number of megabytes, e.g. 2048, or 0 for none."
        )
    return int(text) * 10**6


@dataclass(frozen=True, eq=False)
class CachedImages:
    """Images of one entry, with a checksum of each. Sent to another process it is a path, and not the pixels."""

    path: Path
    shape: tuple[int, ...]
    checksums: NDArray[np.uint32]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "shape": self.shape, "checksums": self.checksums}

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images of ``indices``, (B, H, W, C), or the masks, (B, H, W). Raises `DataError` if one was altered."""
        images = np.empty((len(indices), *self.shape[1:]), np.uint8)
        stream, lock = self._opened
        with lock:
            for image, index in zip(images, indices.tolist(), strict=True):
                stream.seek(index * image.nbytes)
                if stream.readinto(image.data) != image.nbytes or crc32(image.data) != self.checksums[index]:
                    raise DataError(
                        f"The file {self.path} of the cache has been altered or cut off, which shows at its number "
                        f"{index}. Nothing was computed from what is wrong in it. Run again: the file is made anew, "
                        "and a run goes on from what it has saved."
                    )
        return images

    @cached_property
    def _opened(self) -> tuple[FileIO, Lock]:
        """Read rather than mapped into memory: a mapped file that is cut off kills the process."""
        try:
            stream = FileIO(self.path)
        except OSError as error:
            raise DataError(f"The file {self.path} of the cache is gone: {error.strerror}. Run again.") from error
        weakref.finalize(self, stream.close)
        return stream, Lock()


@dataclass(frozen=True)
class HeldImages:
    """Images in this process's memory."""

    pixels: NDArray[np.uint8]

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy of the images of ``indices``, (B, H, W, C), or of the masks, (B, H, W)."""
        return np.take(self.pixels, indices, axis=0)


def cache_images(split: ImageSplit, rows: NDArray[np.int64]) -> CachedImages | HeldImages:
    """The images ``rows`` of ``split`` in that order, decoded unless a sound entry holds them already."""
    return _cache(split.read, "decoded 2", split.fingerprint, (len(rows), *split.image_size, 3), rows)


def cache_masks(
    read: Read, fingerprint: str, image_size: tuple[int, int], rows: NDArray[np.int64]
) -> CachedImages | HeldImages:
    """The masks ``rows`` that ``read`` gives, as `cache_images` does it; ``fingerprint`` stands for all of them."""
    return _cache(read, "masks 2", fingerprint, (len(rows), *image_size), rows)


def _cache(
    read: Read, kind: str, fingerprint: str, shape: tuple[int, ...], rows: NDArray[np.int64]
) -> CachedImages | HeldImages:
    chosen = hashlib.sha256(rows.tobytes()).hexdigest()
    key = f"{kind}, Pillow {PIL.__version__}, {fingerprint}, {shape}, {chosen}"
    path = find_cache_folder() / "decoded" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.u8"
    if (found := _open(path, shape)) is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return _hold(read, rows, shape)
    try:
        return _build(path, read, rows, shape)
    except OSError:  # Read-only or full; decoding itself raises DataError.
        return _hold(read, rows, shape)


def _open(path: Path, shape: tuple[int, ...]) -> CachedImages | None:
    """The entry, if all of it is as it was written."""
    digest, checksums = hashlib.sha256(), np.empty(shape[0], np.uint32)
    num_bytes = math.prod(shape[1:])
    try:
        note = read_json(_note(path))
        if path.stat().st_size != math.prod(shape) or note["shape"] != list(shape):
            return None
        with path.open("rb", buffering=_BUFFER_BYTES) as stream:
            for index in range(shape[0]):
                image = stream.read(num_bytes)
                digest.update(image)
                checksums[index] = crc32(image)
        return CachedImages(path, shape, checksums) if note["sha256"] == digest.hexdigest() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _build(path: Path, read: Read, rows: NDArray[np.int64], shape: tuple[int, ...]) -> CachedImages:
    digest, checksums = hashlib.sha256(), []
    with publish(path) as stream:
        for images in _decode(read, rows, shape):
            digest.update(images.data)
            checksums += [crc32(image.data) for image in images]
            stream.write(images.data)
    note = {"shape": list(shape), "sha256": digest.hexdigest()}
    publish_text(_note(path), json.dumps(note) + "\n")
    return CachedImages(path, shape, np.array(checksums, np.uint32))


def _decode(read: Read, rows: NDArray[np.int64], shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    for some in split_rows(rows, math.prod(shape[1:])):
        yield np.ascontiguousarray(read(some))


def _hold(read: Read, rows: NDArray[np.int64], shape: tuple[int, ...]) -> HeldImages:
    return HeldImages(np.concatenate(list(_decode(read, rows, shape))))


def _note(path: Path) -> Path:
    return path.with_suffix(".json")
