"""Files that are either whole or absent: temporary name, flush to disk, rename. Sets of files likewise."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from vtbench.errors import UserError

_STAGED = ".staged-"
_DECIDED = ".decided"
"""A whole set of files beside those that it replaces, to be moved into their place."""
_STALE = ".stale.json"
_ABANDONED_SECONDS = 3600.0


@contextmanager
def publish(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under ``path`` only when the block ends without an exception.

    The data is flushed to the disk before the rename, and the folder after it, so that a power cut leaves the old file
    or the new one. On an exception the temporary file is removed and ``path`` is as before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def publish_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all."""
    with publish(path) as stream:
        stream.write(data)


def publish_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, whole or not at all. Bytes of a name that are no text are spelled out."""
    publish_bytes(path, text.encode("utf-8", "backslashreplace"))


@contextmanager
def publish_set(folder: Path, stale: Iterable[str] = ()) -> Iterator[Path]:
    """A folder to write files into that replace those of ``folder`` together when the block ends without an exception.

    Files of ``folder`` that match a pattern of ``stale`` and are not written again are removed; others stay. Nothing of
    ``folder`` is touched before all has been written and flushed. From then on the set is decided: a process that is
    killed while it moves the files has its work ended by `finish_set`, which whoever reads such a folder calls first.
    Raises ``UserError`` where ``folder`` cannot be written, or a part of it is a link that leads out of it.
    """
    check_writable(folder)
    finish_set(folder)
    for left in folder.glob(f"{_STAGED}*"):
        with contextlib.suppress(FileNotFoundError):  # Another process has ended with it meanwhile.
            if time.time() - left.lstat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    staged = Path(tempfile.mkdtemp(dir=folder, prefix=_STAGED))
    try:
        staged.chmod(0o755)
        yield staged
        written = {path.relative_to(staged) for path in staged.rglob("*") if path.is_file()}
        old = {path.relative_to(folder) for name in stale for path in folder.glob(name) if not path.is_dir()}
        _refuse_links(folder, written | old)
        _refuse_blocked(folder, written)
        publish_text(staged / _STALE, json.dumps(sorted(path.as_posix() for path in old - written)))
        while True:
            try:
                staged.rename(folder / _DECIDED)
                break
            except OSError:  # Another process has decided on a set at the same time: that one comes first.
                if not (folder / _DECIDED).is_dir():
                    raise
                finish_set(folder)
        _sync_folder(folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    finish_set(folder)


def finish_set(folder: Path) -> None:
    """Move the files of a set that was decided into their place; does nothing where there is none.

    Several processes may do so at once. Raises ``UserError`` where ``folder`` cannot be written, where the set is a
    link or would go through one, and where it names what lies outside of ``folder``.
    """
    decided = folder / _DECIDED
    if not decided.is_dir():
        return
    refuse_link(decided)
    try:
        found = sorted(decided.rglob("*"))
        _refuse_links(folder, (path.relative_to(decided) for path in found))
        with contextlib.suppress(FileNotFoundError):  # Another process was faster.
            stale = _read_stale(decided)
            _refuse_links(folder, stale)
            for name in stale:
                (folder / name).unlink(missing_ok=True)
        _move_files(found, decided, folder)
        _sync_folder(folder)
    except OSError as error:
        raise UserError(
            f"The files of {folder} were being replaced when that was cut short, and the rest cannot be moved: "
            f"{error.strerror or error}. Make the folder writable and try again; nothing is lost."
        ) from error


def _read_stale(decided: Path) -> list[Path]:
    """Which files the set replaces by nothing, as they are called in its folder."""
    try:
        names = [Path(name) for name in read_json(decided / _STALE)]
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{decided / _STALE} is no list of files: {error}. Remove {decided}, and make the files anew."
        ) from error
    for name in names:
        if name.is_absolute() or ".." in name.parts:
            raise UserError(
                f"{decided / _STALE} names {name}, outside of its folder, and nothing is removed there. "
                f"Remove {decided}, and make the files anew."
            )
    return names


def is_staged(path: Path) -> bool:
    """Whether ``path`` lies in a set of files that has not come to its place."""
    return any(part.startswith(_STAGED) or part == _DECIDED for part in path.parts)


def finish_sets(folder: Path) -> None:
    """`finish_set` for ``folder`` and all beneath it."""
    for decided in [*folder.glob(f"**/{_DECIDED}")]:
        finish_set(decided.parent)


def _move_files(found: Sequence[Path], source: Path, target: Path) -> None:
    """Move all files; the folders that this empties go, and one into which another process writes stays."""
    for path in found:
        if path.is_file() and path.name != _STALE:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                path.replace(place)
    (source / _STALE).unlink(missing_ok=True)
    for path in [*(path for path in reversed(found) if path.is_dir()), source]:
        with contextlib.suppress(FileNotFoundError):
            path.rmdir()


def _refuse_links(folder: Path, names: Iterable[Path]) -> None:
    for parent in {parent for name in names for parent in name.parents if parent != Path()}:
        refuse_link(folder / parent)


def _refuse_blocked(folder: Path, names: Iterable[Path]) -> None:
    """Raise ``UserError`` where a file has the place of a folder that is needed, or a folder that of a file."""
    for name in names:
        blocking = [folder / parent for parent in name.parents if (folder / parent).exists()]
        if not blocking[0].is_dir():
            raise UserError(f"{blocking[0]} is a file where a folder is needed for {name.name}. Move it away.")
        if (folder / name).is_dir():
            raise UserError(f"{folder / name} is a folder where a file is to be written. Move it away.")


def refuse_link(path: Path) -> None:
    """Raise ``UserError`` if ``path`` is a symbolic link: nothing is written or removed through it."""
    if path.is_symlink():
        raise UserError(
            f"{path} is a link to {path.readlink()}, and nothing is written or removed through a link out of the "
            "folder that was named. Remove the link, or name its target instead."
        )


def refuse_special(path: Path, kind: str) -> None:
    """Raise ``UserError`` if ``path`` is a link, or a pipe or a device, which is waited for without end."""
    refuse_link(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is a pipe or a device, not a {kind}. Remove it, or give another folder with --out.")


def expand_home(path: str | Path) -> Path:
    """``~`` and ``~NAME`` in full; the path as it is where no such user is known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def resolve(path: str | Path) -> Path:
    """The absolute path behind all links; links in a circle stay (``Path.resolve`` raises)."""
    return Path(os.path.realpath(path))


def place_within(folder: Path, name: str) -> Path:
    """``folder / name``. Raises ``UserError`` where a part of ``name`` is a link, or leads out of ``folder``.

    Only ``folder`` itself may be a link.
    """
    place, parts = folder, Path(name).parts
    if ".." in parts or Path(name).is_absolute():
        raise UserError(f"The name {name!r} leads out of {folder}, and nothing is written there. Give another name.")
    for part in parts:
        place /= part
        refuse_link(place)
    return place


def read_file(path: Path) -> bytes:
    """The content of a regular file. Raises ``OSError`` for any other: a pipe would be waited for without end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """The values in a JSON file. Raises ``OSError`` as `read_file` does, and ``ValueError`` for what is no JSON."""
    return parse_json(read_file(path))


def parse_json(text: str | bytes) -> Any:
    """The values in a JSON text. Raises ``ValueError`` for any other, and for one that is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def hash_file(path: Path) -> str:
    """SHA-256 of the file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_writable(folder: Path) -> None:
    """Raise a ``UserError`` unless files can be made in ``folder``; creates the folder if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"Cannot write to the output folder {folder}: {error.strerror or error}. "
            "Give a folder that you may write to with --out."
        ) from error


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder.
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
