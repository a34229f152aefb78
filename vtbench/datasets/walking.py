"""The files of a data set's folder: what systems and programs leave behind in folders is no part of the data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vtbench.errors import UserError

_LEFT_BEHIND = frozenset(
    {
        "$recycle.bin",  # Windows
        "desktop.ini",
        "ehthumbs.db",
        "recycled",
        "recycler",
        "system volume information",
        "thumbs.db",
        "__macosx",  # macOS
        "icon\r",
        "network trash folder",
        "temporary items",
        "lost+found",  # Linux
        "#recycle",  # Network storage
        "#snapshot",
        "@__thumb",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "__pycache__",  # Programs
    }
)


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of this name is no data: hidden, a recycle bin, thumbnails, an editor's checkpoint."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def list_entries(folder: Path) -> list[Path]:
    """What lies in ``folder`` itself, by name, without what was left behind."""
    return sorted((entry for entry in folder.iterdir() if not is_left_behind(entry.name)), key=lambda path: path.name)


def walk_files(folder: Path) -> Iterator[Path]:
    """Every file below ``folder``: those of a folder by name, then its folders by name, without what was left behind.

    Raises as `walk_folders` does.
    """
    for _, files in walk_folders(folder):
        yield from (Path(file) for file in files)


def walk_folders(folder: Path) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """``folder`` and every folder below it, each before those in it, with its files by name.

    Links to folders are followed. Raises ``UserError`` for one that leads back to where it lies, and for a folder that
    cannot be listed.
    """
    return _walk(folder, ())


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be listed: {error.strerror}. Make it readable.") from error
    if (here := (status.st_dev, status.st_ino)) in above:
        raise UserError(f"The link {folder} leads back to a folder that it lies in. Take it out of the data.")
    files: list[os.DirEntry[str]] = []
    folders: list[os.DirEntry[str]] = []
    for entry in entries:
        if not is_left_behind(entry.name):
            (folders if entry.is_dir() else files).append(entry)
    yield folder, files
    for inner in folders:
        yield from _walk(Path(inner), (*above, here))
