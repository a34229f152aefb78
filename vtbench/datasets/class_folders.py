"""Images in one folder for each class, of which there may be millions: listed at every opening, in seconds.

Every opening lists every folder and asks for the size and time of change of every file, so that a file that came, went,
was renamed or written again is noticed. What takes longer, to read files, is done once for such a listing and
remembered in the cache folder (see `data_files`, which says what is not noticed).
"""

from __future__ import annotations

import os
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vtbench.datasets.data_files import DataFile, FileTable
from vtbench.datasets.text_table import TextTable
from vtbench.datasets.walking import list_entries, walk_folders
from vtbench.errors import UserError, did_you_mean


def list_classes(folder: Path) -> tuple[str, ...]:
    """The names of the class folders in ``folder``. Raises ``UserError`` for a file beside them and names alike."""
    entries = list_entries(folder)
    for entry in entries:
        if not entry.is_dir():
            raise UserError(
                f"{entry} lies beside the class folders of {folder}. An image belongs into the folder of its class, "
                "and any other file out of the data."
            )
    if not entries:
        raise UserError(f"{folder} is empty. It should hold one folder of images for each class.")
    names = tuple(entry.name for entry in entries)
    alike: dict[str, str] = {}
    for name in names:
        if (other := alike.setdefault(unicodedata.normalize("NFC", name).casefold(), name)) != name:
            raise UserError(
                f"The class folders {other!r} and {name!r} of {folder} differ in nothing but case, or how accents are "
                "encoded. Put them together, or name two classes apart."
            )
    return names


def list_images(folder: Path, class_names: tuple[str, ...]) -> tuple[FileTable, NDArray[np.int64]]:
    """The images in the class folders of ``folder`` by class and name, and the number of the class of each.

    Raises ``UserError`` for a class that is not of ``class_names`` or empty, a file that is no image by its name, and
    for what looks like copies of other images; `DataError` for what cannot be had.
    """
    as_in_train = {unicodedata.normalize("NFC", name): name for name in class_names}
    there = {as_in_train.get(unicodedata.normalize("NFC", name), name): name for name in list_classes(folder)}
    for name in there:
        if name not in class_names:
            hint = did_you_mean(name, class_names)
            raise UserError(f"{folder / name} is a class that the training split does not have. {hint}")
    listing, counts = _Listing(folder), [0] * len(class_names)
    for label, name in enumerate(class_names):
        if name in there:
            counts[label] = listing.add_class(folder / there[name])
    listing.check_endings()
    return listing.freeze(), np.repeat(np.arange(len(class_names), dtype=np.int64), counts)


def is_image_name(name: str) -> bool:
    """Whether a file of this name is an image, by its ending."""
    return _find_ending(name) in Image.registered_extensions()


def check_image_name(path: Path) -> bool:
    """True. Raises ``UserError`` for a file that is no image, by its name."""
    if not is_image_name(path.name):
        endings = Image.registered_extensions()
        raise UserError(
            f"{path} is not an image, by its name: .jpg, .png, .webp, .bmp, .gif, .tiff and {len(endings) - 6} other "
            "endings are known. Take it out of the data, or name it after its format."
        )
    return True


@dataclass
class _Listing:
    """Files as they are found, as plain numbers and texts: an object for each of a million takes long to make."""

    folder: Path
    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    modified_ns: list[int] = field(default_factory=list)
    num_twice: int = 0
    twice: tuple[str, str] | None = None

    def add_class(self, place: Path) -> int:
        """Add the images below ``place``; how many there are."""
        before = len(self.names)
        inside: dict[Path, list[str]] = {}
        for folder, files in walk_folders(place):
            if files:
                inside[folder] = self._add_folder(folder, files)
        if len(self.names) == before:
            raise UserError(f"The class folder {place} has no images. Add some, or take the folder away.")
        _check_above(place, inside)
        return len(self.names) - before

    def _add_folder(self, folder: Path, files: list[os.DirEntry[str]]) -> list[str]:
        """Add ``files``; their names without endings."""
        known, prefix = Image.registered_extensions(), f"{folder.relative_to(self.folder).as_posix()}/"
        stems, endings = [], set()
        for file in files:
            name = file.name
            ending = _find_ending(name)
            if ending not in known:
                check_image_name(Path(file))
            try:
                status = file.stat()
            except OSError:
                status = None
            if status is None or not stat.S_ISREG(status.st_mode):
                DataFile.find(Path(file), self.folder)  # Says what is wrong with it.
            assert status is not None
            self.names.append(prefix + name)
            self.sizes.append(status.st_size)
            self.modified_ns.append(status.st_mtime_ns)
            stems.append(name[: -len(ending)])
            endings.add(name[-len(ending) :])
        if len(endings) > 1:
            self._count_twice(prefix, [file.name for file in files], stems)
        return stems

    def _count_twice(self, prefix: str, names: list[str], stems: list[str]) -> None:
        first: dict[str, str] = {}
        for name, stem in zip(names, stems, strict=True):
            if (other := first.setdefault(stem, name)) is not name:
                self.num_twice += 1
                self.twice = self.twice or (prefix + other, prefix + name)

    def check_endings(self) -> None:
        """Raise ``UserError`` when most images stand twice under two endings: an export beside the originals."""
        if self.twice is not None and 3 * self.num_twice > len(self.names):
            raise UserError(
                f"{self.num_twice} of the {len(self.names)} images of {self.folder} are called like others save for "
                f"their endings, the first {self.twice[0]} and {self.twice[1]}: they may be the same pictures twice. "
                "Take one kind away."
            )

    def freeze(self) -> FileTable:
        """The table of all that was found."""
        sizes, modified_ns = (np.asarray(numbers, np.int64) for numbers in (self.sizes, self.modified_ns))
        return FileTable(self.folder, TextTable.build(self.names), sizes, modified_ns)


def _find_ending(name: str) -> str:
    """The ending with its dot, in lower case; empty for a name without, and one that has nothing before the dot."""
    at = name.rfind(".")
    return name[at:].lower() if at > 0 else ""


def _check_above(place: Path, inside: dict[Path, list[str]]) -> None:
    """Raise ``UserError`` when a folder inside a class holds files that are all called like some above it."""
    for folder, names in inside.items():
        if folder != place and set(names) <= set(inside.get(folder.parent, ())):
            raise UserError(
                f"The {len(names)} images in {folder} are called like images in the folder above it: they may be the "
                "same pictures, made smaller or otherwise changed. Take one kind away."
            )
