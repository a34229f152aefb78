"""Files that data lies in: found once, recognised by content, and noticed when they change under a run."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vtbench.datasets.cache import find_cache_folder
from vtbench.datasets.dataset import DataError
from vtbench.errors import UserError
from vtbench.files import hash_file, publish_text

MOST_BYTES_HASHED = 8 * 10**9
"""Files that are larger together are recognised by their names and sizes alone."""

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
        """Look at the file ``path`` below ``root``. Raises `DataError` when it is a link that leads nowhere."""
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"The file {path} cannot be had: {error.strerror}. Mend it, or take it away.") from error
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


def resolve_folder(path: str, kind: str) -> Path:
    """The existing file or folder that the user named. Raises ``UserError`` when there is none."""
    found = Path(path).expanduser()
    if not found.exists():
        raise UserError(f"There is no file or folder {found}, where the data set {kind}:{path} should lie.")
    return found.absolute()


def fingerprint_files(files: Sequence[DataFile]) -> str:
    """A hash of the names and contents of ``files``, the same on every machine; of names and sizes if they are large.

    Hashes of files that lie still are remembered in the cache folder, by path, size and time of change.
    """
    digest = hashlib.sha256()
    if sum(file.size for file in files) > MOST_BYTES_HASHED:
        for file in files:
            digest.update(f"{file.name}\0{file.size}\n".encode())
        return f"listing-{digest.hexdigest()}"
    seen = hashlib.sha256()
    for file in files:
        seen.update(f"{file.path}\0{file.size}\0{file.modified_ns}\n".encode())
    memory = find_cache_folder() / "fingerprints" / seen.hexdigest()[:32]
    if memory.exists() and len(text := memory.read_text("ascii")) == digest.digest_size * 2:
        return text
    for file in files:
        digest.update(f"{file.name}\0{_hash(file)}\n".encode())
    # A file written a moment ago may be written again without its time of change showing it.
    if time.time() - max((file.modified_ns for file in files), default=0) / 1e9 > _SETTLED_SECONDS:
        with suppress(OSError):
            publish_text(memory, digest.hexdigest())
    return digest.hexdigest()


def _hash(file: DataFile) -> str:
    try:
        return hash_file(file.path)
    except OSError as error:
        raise DataError(f"The file {file.path} cannot be read: {error.strerror}.") from error
