"""Files that data lies in: found once, recognised by content, and noticed when they change under a run.

A fingerprint is a hash of the files' names below the data's folder and of their bytes, in the order in which they are
read. So it is the same on every machine, for data that were moved or are reached by a link, and for any time of change.
Files are compared, not rows: the same rows written into other shards, even in the same order, are another data set.

How far it can be trusted: of up to 8 GB every byte was read once. Of more, the names and sizes of all files were, and
the content of parts of some: it starts with ``sampled-``. A file of the same path, size and time of change is not read
again, so that whoever changes one and sets the time back is believed until the cache folder is emptied.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.cache import find_cache_folder
from vtbench.datasets.dataset import DataError
from vtbench.datasets.decoding import run_for_each, spread_evenly
from vtbench.datasets.memory import recall, remember
from vtbench.datasets.text_table import TextTable
from vtbench.errors import UserError
from vtbench.files import expand_home, hash_file

MOST_BYTES_HASHED = 8 * 10**9
"""Of files that are larger together, parts are read to recognise them."""

SAMPLED = "sampled-"
"""What a fingerprint starts with that rests on parts of the content."""

_NUM_SAMPLED = 512
_PART_BYTES = 1 << 20
_SETTLED_SECONDS = 2.0


@dataclass(frozen=True)
class DataFile:
    """A file as it was found: ``name`` is relative to the data's folder."""

    name: str
    path: Path
    size: int
    modified_ns: int

    @classmethod
    def find(cls, path: Path, root: Path) -> DataFile:
        """Look at the file ``path`` below ``root``. Raises `DataError` for a link that leads nowhere, or a pipe."""
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"The file {path} cannot be had: {error.strerror}. Mend it, or take it away.") from error
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path} is no file that holds data, but a pipe, a socket or a device. Take it away.")
        return cls(path.relative_to(root).as_posix(), path, status.st_size, status.st_mtime_ns)

    def check_unchanged(self) -> None:
        """Raise `DataError` when the file has gone or is not the one that was found."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise DataError(
                f"The file {self.path} was there when the data was opened and cannot be had now: {error.strerror}. "
                "Put it back and run again."
            ) from error
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified_ns):
            raise DataError(
                f"The file {self.path} has changed since the data was opened, so results would mix two data sets. "
                "Leave the data alone while it is used, and run again."
            )

    def read(self) -> bytes:
        """The file's content. Raises `DataError` when it has gone or changed."""
        self.check_unchanged()
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise DataError(f"The file {self.path} cannot be read: {error.strerror}.") from error


@dataclass(frozen=True, eq=False)
class FileTable(Sequence[DataFile]):
    """Many files below the folder ``root``, F of them, in arrays: a million of short names take 60 MB.

    ``sizes`` in bytes and ``modified_ns`` are of shape (F,). A `DataFile` is made when it is asked for.
    """

    root: Path
    names: TextTable
    sizes: NDArray[np.int64]
    modified_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, at: int) -> DataFile: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[DataFile, ...]: ...
    def __getitem__(self, at: int | slice) -> DataFile | tuple[DataFile, ...]:
        if isinstance(at, slice):
            return tuple(self[one] for one in range(*at.indices(len(self))))
        name = self.names[at]
        return DataFile(name, self.root / name, int(self.sizes[at]), int(self.modified_ns[at]))

    def digest(self) -> str:
        """A hash of places, names, sizes and times."""
        digest = hashlib.sha256(os.fsencode(self.root) + b"\0" + self.names.encoded)
        for numbers in (self.names.starts, self.sizes, self.modified_ns):
            digest.update(numbers.astype("<i8").tobytes())
        return digest.hexdigest()


def resolve_folder(path: str, kind: str) -> Path:
    """The existing file or folder that the user named. Raises ``UserError`` when there is none."""
    found = expand_home(path)
    if not found.exists():
        raise UserError(f"There is no file or folder {found}, where the data set {kind}:{path} should lie.")
    return found.absolute()


def fingerprint_files(files: Sequence[DataFile]) -> str:
    """A hash of the names and contents of ``files``; how far it can be trusted is said above.

    Hashes of files that lie still are remembered in the cache folder, by path, size and time of change.
    """
    num_bytes, latest_ns, seen = _sum_up(files)
    mark = SAMPLED if num_bytes > MOST_BYTES_HASHED else ""
    memory = find_cache_folder() / "fingerprints" / hashlib.sha256(f"{mark}{seen}".encode()).hexdigest()[:32]
    if (known := recall(memory)) is not None:
        return known.decode()
    fingerprint = mark + (_sample_all(files) if mark else _hash_all(files))
    if lies_still(latest_ns):
        remember(memory, fingerprint.encode())
    return fingerprint


def lies_still(modified_ns: int) -> bool:
    """Whether a file was changed so long ago that the time of its next change will show it."""
    return time.time() - modified_ns / 1e9 > _SETTLED_SECONDS


def _sum_up(files: Sequence[DataFile]) -> tuple[int, int, str]:
    """The bytes of all files, the latest time of change in ns, and a hash of their places, sizes and times."""
    if isinstance(files, FileTable):
        return int(files.sizes.sum()), int(files.modified_ns.max(initial=0)), files.digest()
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\0{file.size}\0{file.modified_ns}\n".encode(errors="surrogateescape"))
    latest_ns = max((file.modified_ns for file in files), default=0)
    return sum(file.size for file in files), latest_ns, digest.hexdigest()


def derive_fingerprint(of: str, text: str) -> str:
    """A hash of ``text``, which holds the fingerprint ``of``, and marked as that is."""
    return (SAMPLED if of.startswith(SAMPLED) else "") + hashlib.sha256(text.encode()).hexdigest()


def _hash_all(files: Sequence[DataFile]) -> str:
    hashes = [""] * len(files)

    def read(at: int) -> None:
        with _explained(files[at]):
            hashes[at] = hash_file(files[at].path)

    run_for_each(read, len(files))
    digest = hashlib.sha256()
    for file, content in zip(files, hashes, strict=True):
        digest.update(f"{file.name}\0{content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _sample_all(files: Sequence[DataFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{file.size}\n".encode(errors="surrogateescape"))
    for at in spread_evenly(len(files), _NUM_SAMPLED):
        with _explained(files[at]), files[at].path.open("rb") as stream:
            for start in spread_evenly(max(1, files[at].size - _PART_BYTES + 1), 3):
                stream.seek(int(start))
                digest.update(stream.read(_PART_BYTES))
    return digest.hexdigest()


@contextmanager
def _explained(file: DataFile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"The file {file.path} cannot be read: {error.strerror}.") from error
