"""Image files that a user points at, singly or in folders, each with a name of its own for what is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vtbench.datasets.dataset import DataError
from vtbench.datasets.decoding import measure_image
from vtbench.datasets.walking import walk_files
from vtbench.errors import UserError
from vtbench.files import read_file


@dataclass(frozen=True)
class NamedImage:
    """A file, and the name of its results: a path without an ending, which no other image of the call has."""

    path: Path
    name: str

    def read(self) -> bytes:
        """The file's content. Raises `DataError` naming it when it cannot be read."""
        return _read(self.path)


def find_images(paths: Sequence[Path]) -> tuple[list[NamedImage], list[Path]]:
    """The images that ``paths`` name, files or folders, in their order; and files in folders that are none by name.

    An image is called by the name of its file, in a folder with the folders between; a further image that would be
    called so gets ``-2``, ``-3`` and so on. Raises ``UserError`` for a path where nothing lies, a folder without images
    and a file that is no image, as far as its beginning shows it.
    """
    found: dict[Path, str] = {}
    left_out: list[Path] = []
    for path in paths:
        inside = list(walk_files(path)) if path.is_dir() else [path]
        images = [file for file in inside if not path.is_dir() or _is_image(file)]
        left_out += sorted(set(inside) - set(images))
        if not images:
            raise UserError(f"The folder {path} holds no image, by the endings of its files. Give another one.")
        for file in images:
            name = file.relative_to(path) if path.is_dir() else Path(file.name)
            found.setdefault(file, name.with_suffix("").as_posix())
    for file in found:
        measure_image(_read(file), str(file))
    return [NamedImage(*pair) for pair in zip(found, _tell_apart(found.values()), strict=True)], left_out


def _tell_apart(names: Iterable[str]) -> Iterator[str]:
    """Each name, or with a number behind it where it was given before; on some disks a and A are one."""
    names = list(names)
    given = {name.casefold() for name in names}
    seen: set[str] = set()
    for name in names:
        number, called = 1, name
        while called.casefold() in seen or (number > 1 and called.casefold() in given):
            number += 1
            called = f"{name}-{number}"
        seen.add(called.casefold())
        yield called


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in Image.registered_extensions()


def _read(path: Path) -> bytes:
    try:
        return read_file(path)
    except FileNotFoundError:
        raise DataError(f"There is no image or folder {path}. Check the path.") from None
    except OSError as error:
        raise DataError(f"The image {path} cannot be read: {error.strerror}. Check the path.") from error
