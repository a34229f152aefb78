"""Images and masks decoded once, kept as raw uint8 in the user's cache folder and mapped into memory by every run.

The folder is ``$VTBENCH_CACHE``, else ``$XDG_CACHE_HOME/vtbench``, else ``~/.cache/vtbench``. An entry is two files:
the pixels, and a note of their shape and checksum that is published after them. Both are written whole and renamed,
and an entry's name is the hash of what it holds, so two processes that build the same one at once put the same bytes
there. An entry whose checksum is wrong is built anew. Where nothing can be written, the images are held in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from vtbench.datasets.dataset import ImageSplit
from vtbench.errors import UserError
from vtbench.files import hash_file, publish, publish_text

# Dimensions: B images of a batch, N images of an entry, H height, W width, C channels (3, RGB; masks have none).

Read = Callable[[NDArray[np.int64]], NDArray[np.uint8]]

_DEFAULT_LIMIT_MB = 2048
_IMAGES_AT_A_TIME = 512


def find_cache_folder() -> Path:
    """Where decoded images and other things that can be made again are kept. It need not exist yet."""
    if folder := os.environ.get("VTBENCH_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "vtbench"


def read_size_limit() -> int:
    """Bytes of decoded images up to which they are cached: ``$VTBENCH_CACHE_LIMIT_MB`` in units of 10**6, else 2048."""
    text = os.environ.get("VTBENCH_CACHE_LIMIT_MB", str(_DEFAULT_LIMIT_MB))
    if not text.isascii() or not text.isdigit():
        raise UserError(
            f"VTBENCH_CACHE_LIMIT_MB is {text!r}. Give a whole number of megabytes, e.g. 2048, or 0 for none."
        )
    return int(text) * 10**6


@dataclass(frozen=True)
class MappedImages:
    """Images of one entry. Sent to another process it is a path, not the pixels: that process maps the file itself."""

    path: Path
    shape: tuple[int, ...]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "shape": self.shape}

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy of the images of ``indices``, (B, H, W, C), or of the masks, (B, H, W)."""
        return np.take(self._pixels, indices, axis=0)

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        # A plain array over the map: np.memmap checks at every indexing whether the result still is one.
        return np.asarray(np.memmap(self.path, np.uint8, "r", shape=self.shape))


@dataclass(frozen=True)
class HeldImages:
    """Images in this process's memory."""

    pixels: NDArray[np.uint8]

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy of the images of ``indices``, (B, H, W, C), or of the masks, (B, H, W)."""
        return np.take(self.pixels, indices, axis=0)


def cache_images(split: ImageSplit, rows: NDArray[np.int64]) -> MappedImages | HeldImages:
    """The images ``rows`` of ``split`` in that order, decoded unless a sound entry holds them already."""
    return _cache(split.read, "decoded 2", split.fingerprint, (len(rows), *split.image_size, 3), rows)


def cache_masks(
    read: Read, fingerprint: str, image_size: tuple[int, int], rows: NDArray[np.int64]
) -> MappedImages | HeldImages:
    """The masks ``rows`` that ``read`` gives, as `cache_images` does it; ``fingerprint`` stands for all of them."""
    return _cache(read, "masks 2", fingerprint, (len(rows), *image_size), rows)


def _cache(
    read: Read, kind: str, fingerprint: str, shape: tuple[int, ...], rows: NDArray[np.int64]
) -> MappedImages | HeldImages:
    chosen = hashlib.sha256(rows.tobytes()).hexdigest()
    key = f"{kind}, Pillow {PIL.__version__}, {fingerprint}, {shape}, {chosen}"
    path = find_cache_folder() / "decoded" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.u8"
    if not _is_sound(path, shape):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            return _hold(read, rows)
        try:
            _build(path, read, rows, shape)
        except OSError:  # Read-only or full; decoding itself raises DataError.
            return _hold(read, rows)
    return MappedImages(path, shape)


def _is_sound(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        note = json.loads(_note(path).read_text("utf-8"))
        size = path.stat().st_size
        return bool(size == np.prod(shape) and note["shape"] == list(shape) and note["sha256"] == hash_file(path))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _build(path: Path, read: Read, rows: NDArray[np.int64], shape: tuple[int, ...]) -> None:
    digest = hashlib.sha256()
    with publish(path) as stream:
        for images in _decode(read, rows):
            digest.update(images.data)
            stream.write(images.data)
    note = {"shape": list(shape), "sha256": digest.hexdigest()}
    publish_text(_note(path), json.dumps(note) + "\n")


def _decode(read: Read, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(rows), _IMAGES_AT_A_TIME):
        yield np.ascontiguousarray(read(rows[start : start + _IMAGES_AT_A_TIME]))


def _hold(read: Read, rows: NDArray[np.int64]) -> HeldImages:
    return HeldImages(np.concatenate(list(_decode(read, rows))))


def _note(path: Path) -> Path:
    return path.with_suffix(".json")
