"""A folder of images: ``train/`` and ``val/``, and in each one folder per class, which may hold folders itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from vtbench.datasets.data_files import DataFile, fingerprint_files, resolve_folder
from vtbench.datasets.dataset import ImageSplit, Split
from vtbench.datasets.decoding import choose_image_size, decode_images, measure_image, spread_evenly
from vtbench.datasets.source import DATASETS, DatasetSource, Knobs
from vtbench.errors import UserError, did_you_mean

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "test"),
}
"""What the folder of each split may be called; the first that is there counts."""

_LEFT_BY_SYSTEMS = frozenset({"thumbs.db", "desktop.ini"})
_NUM_PROBED = 64


class FolderKnobs(Knobs):
    """Where the folder lies."""

    path: str = Field(description="the folder that holds train/ and val/")


@dataclass(frozen=True, eq=False)
class FolderSplit:
    """One split: its files in the order of their names, and the class that each stands under."""

    files: tuple[DataFile, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    fingerprint: str

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the files of ``indices``, (B, H, W, C)."""
        return decode_images([partial(_load, self.files[index]) for index in indices], self.image_size)


def open_folder(knobs: FolderKnobs, image_size: int | None) -> dict[Split, ImageSplit]:
    """List both splits. Raises ``UserError`` for a missing split, an empty class and a file that is no image."""
    root = resolve_folder(knobs.path, "folder")
    folders: dict[Split, Path] = {split: _find_split(root, split) for split in ("train", "val")}
    class_names = _list_classes(folders["train"])
    if len(class_names) < 2:
        raise UserError(
            f"{folders['train']} holds one class folder, {class_names[0]!r}. To classify takes two or more."
        )
    found = {split: _list_files(folder, class_names) for split, folder in folders.items()}
    train_files, _ = found["train"]
    probed = [train_files[at] for at in spread_evenly(len(train_files), _NUM_PROBED)]
    size = choose_image_size([measure_image(*_load(file)) for file in probed], image_size)
    return {
        split: FolderSplit(files, labels, class_names, size, fingerprint_files(files))
        for split, (files, labels) in found.items()
    }


def _load(file: DataFile) -> tuple[bytes, str]:
    return file.read(), str(file.path)


def _find_split(root: Path, split: Split) -> Path:
    if not root.is_dir():
        raise UserError(
            f"{root} is a file, not a folder that holds train/ and val/. For parquet files write parquet:PATH."
        )
    for name in SPLIT_FOLDERS[split]:
        if (root / name).is_dir():
            return root / name
    names = ", ".join(f"{name}/" for name in SPLIT_FOLDERS[split])
    inside = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
    raise UserError(f"{root} has no {split} split: there is none of {names} in it, but {inside}. Add one of them.")


def _list_classes(folder: Path) -> tuple[str, ...]:
    entries = sorted((entry for entry in folder.iterdir() if not _is_ignored(entry.name)), key=lambda path: path.name)
    for entry in entries:
        if not entry.is_dir():
            raise UserError(
                f"{entry} lies beside the class folders of {folder}. An image belongs into the folder of its class, "
                "and any other file out of the data."
            )
    if not entries:
        raise UserError(f"{folder} is empty. It should hold one folder of images for each class.")
    return tuple(entry.name for entry in entries)


def _list_files(folder: Path, class_names: tuple[str, ...]) -> tuple[tuple[DataFile, ...], NDArray[np.int64]]:
    for name in _list_classes(folder):
        if name not in class_names:
            hint = did_you_mean(name, class_names)
            raise UserError(f"{folder / name} is a class that the training split does not have. {hint}")
    files: list[DataFile] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        if not (folder / name).exists():
            continue  # A class without validation images is a fact of small data; train/ always has the folder.
        before = len(files)
        for parent, inner, names in os.walk(folder / name):
            inner[:] = sorted(entry for entry in inner if not _is_ignored(entry))
            paths = (Path(parent) / entry for entry in sorted(names) if not _is_ignored(entry))
            files.extend(DataFile.find(path, folder) for path in paths if _check_image_name(path))
        if len(files) == before:
            raise UserError(f"The class folder {folder / name} has no images. Add some, or take the folder away.")
        labels.extend([label] * (len(files) - before))
    return tuple(files), np.asarray(labels, np.int64)


def _check_image_name(path: Path) -> bool:
    endings = Image.registered_extensions()
    if path.suffix.lower() not in endings:
        raise UserError(
            f"{path} is not an image, by its name: .jpg, .png, .webp, .bmp, .gif, .tiff and {len(endings) - 6} other "
            "endings are known. Take it out of the data, or name it after its format."
        )
    return True


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


DATASETS.add("folder", DatasetSource(open_folder, FolderKnobs))
