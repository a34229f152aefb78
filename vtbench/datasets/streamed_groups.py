"""Row groups of parquet files that lie elsewhere: brought when an image of one is wanted, and let go again.

A file's end tells where its row groups lie, so that any image can be had without what stands before it: order, split
among processes and going on in mid-epoch are those of all other data. What cannot be had in small parts is one image:
its whole row group is brought, kept in the cache folder for all processes of the machine, and removed after those used
later. For that to pay, images are drawn from few groups at a time; see `vtbench.datasets.counter_based`. Runs side by
side draw from groups of their own, so each leaves a mark of its use there, and room is kept for all that are at work.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from vtbench.datasets.dataset import DataError
from vtbench.datasets.hub_library import explained
from vtbench.datasets.packing import PackedImages, write_pack
from vtbench.datasets.parquet_table import extract_bytes

# Dimensions: F files, G row groups of all of them.

_MOST_TRIES = 5
_IDLE_S = 600


def name_reader() -> str:
    """What tells this process from others that read the same folder, on this machine or another."""
    return f"{platform.node()}-{os.getpid()}"


@dataclass(frozen=True, eq=False)
class StreamedGroups:
    """The images in ``column`` of ``files``, by row; ``sizes`` (F lists) are the rows of each row group.

    ``folder`` keeps ``most`` groups for each ``reader``, with which go the workers to which this is sent. Messages call
    the data set ``name``.
    """

    files: tuple[str, ...]
    sizes: tuple[tuple[int, ...], ...]
    column: str
    folder: Path
    most: int
    name: str
    reader: str = field(default_factory=name_reader)

    def __getstate__(self) -> dict[str, Any]:
        names = ("files", "sizes", "column", "folder", "most", "name", "reader")
        return {name: getattr(self, name) for name in names}

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The first row of each group, (G,)."""
        sizes = [size for some in self.sizes for size in some]
        return np.cumsum([0, *sizes[:-1]], dtype=np.int64)

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        return [(file, group) for file, some in enumerate(self.sizes) for group in range(len(some))]

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The image files in the rows ``indices``, and what to call each. Raises ``UserError`` if one is not had."""
        with suppress(OSError):  # There is no folder before the first group is brought.
            self._mark.touch()
        found: list[tuple[bytes, str]] = [(b"", "")] * len(indices)
        numbers = np.searchsorted(self.starts, indices, side="right") - 1
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            rows = (indices[places] - self.starts[number]).tolist()
            for place, one in zip(places.tolist(), self._load(number, rows), strict=True):
                found[place] = one
        return found

    def _load(self, number: int, rows: list[int]) -> list[tuple[bytes, str]]:
        path = self.folder / f"{number:07d}.pack"
        file, group = self._places[number]
        for _ in range(_MOST_TRIES):  # Another process may let it go at any moment.
            with suppress(FileNotFoundError):
                os.utime(path)
                pack = PackedImages(path, (1, 1), f"row group {group} of {self.files[file]}")
                return [pack.load(row) for row in rows]
            self._bring(number, path)
        raise DataError(f"Row groups of {self.name} vanish from {self.folder} as soon as they are there. Run again.")

    def _bring(self, number: int, path: Path) -> None:
        file, group = self._places[number]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                if not PackedImages(path, (1, 1)).is_sound(self.sizes[file][group]):
                    write_pack(path, self._read(file, group))
            self._let_go()
        except OSError as error:
            raise DataError(
                f"Row groups of {self.name} are to be kept in {self.folder}, but: {error.strerror or error}. Set "
                "VTBENCH_CACHE to a folder with room for them."
            ) from error

    def _read(self, file: int, group: int) -> Iterator[bytes]:
        import fsspec
        import pyarrow.parquet as pq

        url = self.files[file]
        with explained(self.name), fsspec.open(url, "rb") as stream:
            column = pq.ParquetFile(stream).read_row_group(group, columns=[self.column]).column(0)
        for row, cell in enumerate(column):
            yield extract_bytes(cell.as_py(), f"in row {row} of row group {group} of {url}")

    @property
    def _mark(self) -> Path:
        return self.folder / f"{self.most}-{self.reader}.reader"

    def _count_kept(self) -> int:
        """How many groups to keep, for all readers that were at work within the last ten minutes, this one included."""
        self._mark.touch()
        now, kept = self._mark.stat().st_mtime, 0
        for path in self.folder.glob("*.reader"):
            with suppress(OSError):
                if now - path.stat().st_mtime > _IDLE_S:
                    path.unlink()
                else:
                    kept += int(path.name.partition("-")[0])
        return max(kept, self.most)

    def _let_go(self) -> None:
        """Remove the groups that were used least lately, but for the newest, and those that a system holds as open."""
        kept = self._count_kept()
        packs = []
        for path in self.folder.glob("*.pack"):
            with suppress(OSError):
                packs.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(packs)[:-kept]:
            with suppress(OSError):  # Windows removes no open file; an index stays as long as its pack does.
                for one in (path, path.with_suffix(".index"), path.with_suffix(".lock")):
                    one.unlink(missing_ok=True)
