"""A folder of images: ``train/`` and ``val/``, and in each one folder per class, which may hold folders itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vtbench.datasets.class_folders import check_image_name, is_image_name, list_classes, list_images
from vtbench.datasets.class_labels import check_classes
from vtbench.datasets.conventions import Layout, MaskKnobs, find_convention
from vtbench.datasets.data_files import DataFile, FileTable, fingerprint_files, resolve_folder
from vtbench.datasets.dataset import ImageSplit, Split
from vtbench.datasets.decoding import decode_images, probe_images, spread_evenly, tell_white
from vtbench.datasets.masked import MaskedFiles, open_masked
from vtbench.datasets.source import DATASETS, DatasetSource
from vtbench.datasets.walking import list_entries, walk_files
from vtbench.errors import UserError, format_names
from vtbench.files import read_file

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

SPLIT_FOLDERS: dict[Split, tuple[tuple[str, ...], ...]] = {
    "train": (("train", "training"),),
    "val": (("val", "valid", "validation"), ("test", "testing")),
}
"""What the folder of each split may be called, in any case; the later names count where there is none of the first."""

_NUM_PROBED = 64


class FolderKnobs(MaskKnobs):
    """Where the folder lies, and what masks in it mean."""

    path: str = Field(description="the folder that holds train/ and val/, or images/ and masks/")
    train: str | None = Field(None, description="folder to train on; else train or training")
    val: str | None = Field(
        None, description="folder to validate on, such as test; else val, valid, validation, test or testing"
    )

    @property
    def named_splits(self) -> dict[Split, str | None]:
        """What the user named for each split."""
        return {"train": self.train, "val": self.val}


@dataclass(frozen=True, eq=False)
class FolderSplit:
    """One split: its files in the order of their names, and the class that each stands under."""

    files: FileTable
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    fingerprint: str
    taken: Mapping[str, str]
    white: float | None

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The files ``indices``, and their paths."""
        return [_load(self.files[index]) for index in indices.tolist()]

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the files of ``indices``, (B, H, W, C)."""
        return decode_images(
            [partial(_load, self.files[index]) for index in indices.tolist()], self.image_size, self.white
        )


def open_folder(knobs: FolderKnobs, image_size: int | None) -> dict[Split, ImageSplit]:
    """List both splits. Raises ``UserError`` for a missing split, an empty class and a file that is no image."""
    root = resolve_folder(knobs.path, "folder")
    if knobs.asks_for_masks or (root / "classes.toml").is_file() or _find_pair(root, Layout(), "train"):
        return _open_masked(root, knobs, image_size)
    folders = {split: _find_split(root, split, named) for split, named in knobs.named_splits.items()}
    _check_apart(knobs, folders)
    class_names = list_classes(folders["train"])
    found = {split: list_images(folder, class_names) for split, folder in folders.items()}
    labels_of = {split: labels for split, (_, labels) in found.items()}
    mend = "Each folder in it is a class, and holds its images."
    check_classes(class_names, labels_of, f"folder:{knobs.path}", mend)
    train_files, _ = found["train"]
    taken = {str(split): folder.name for split, folder in folders.items()}
    probed = [train_files[at] for at in spread_evenly(len(train_files), _NUM_PROBED).tolist()]
    size = probe_images([_load(file) for file in probed], image_size, knobs.white)
    return {
        split: FolderSplit(
            files, labels, class_names, size, f"{fingerprint_files(files)}{tell_white(knobs.white)}", taken, knobs.white
        )
        for split, (files, labels) in found.items()
    }


def _open_masked(root: Path, knobs: FolderKnobs, image_size: int | None) -> dict[Split, ImageSplit]:
    convention = find_convention(knobs, root)
    named = {str(split): (name,) for split, name in knobs.named_splits.items() if name is not None}
    layout = convention.layout.model_copy(update=named)
    found: dict[Split, MaskedFiles] = {}
    taken: dict[str, str] = {}
    pairs: dict[Split, tuple[Path, Path]] = {}
    for split in knobs.named_splits:
        folders = _find_pair(root, layout, split)
        if folders is None:
            patterns, names = (*layout.images, *layout.masks), getattr(layout, split)
            stands = f", with {' or '.join(names)} for {{}}" if any("{}" in one for one in patterns) else ""
            raise UserError(
                f"{root} has no {split} split with masks: there is no folder {' or '.join(layout.images)} beside "
                f"{' or '.join(layout.masks)}{stands}. Add them, or say where they lie "
                "under [layout] in a file of classes."
            )
        pairs[split] = folders
        images, masks = _pair_files(root, *folders, layout, split)
        taken[split] = f"{folders[0].relative_to(root).as_posix()}, {folders[1].relative_to(root).as_posix()}"
        found[split] = MaskedFiles(
            FileList(images).fetch, FileList(masks).fetch, len(images), fingerprint_files((*images, *masks)), taken
        )
    if layout.listing is None:
        _check_apart(knobs, pairs)
    return open_masked(found, convention, image_size, knobs.white)


@dataclass(frozen=True)
class FileList:
    """Files by their number."""

    files: tuple[DataFile, ...]

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The content and the path of the files ``indices``."""
        return [_load(self.files[index]) for index in indices]


def _find_pair(root: Path, layout: Layout, split: Split) -> tuple[Path, Path] | None:
    """The folders of images and masks of ``split``, if both are there. Raises ``UserError`` when two names have both.

    Only ``test`` may stand beside another name: it is left out then.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for name in getattr(layout, split):
        images, masks = _find_one(root, layout.images, name), _find_one(root, layout.masks, name)
        if images is not None and masks is not None:
            found[name] = (images, masks)
    if len(found) > 1:
        found.pop("test", None)
    if len(set(found.values())) > 1:
        listing = " and ".join(found)
        raise UserError(f"{root} has images and masks of {listing}. Name the one to take: folder:{root},{split}=NAME.")
    return next(iter(found.values()), None)


def _find_one(root: Path, patterns: Sequence[str], name: str) -> Path | None:
    """The folder of ``patterns`` that is there; of several the one with images. Raises ``UserError`` if more have."""
    there = [root / at.format(name) for at in patterns if (root / at.format(name)).is_dir()]
    if len(there) > 1:
        there = [folder for folder in there if any(is_image_name(file.name) for file in walk_files(folder))] or there[
            :1
        ]
    if len(there) > 1:
        listing = " and ".join(folder.relative_to(root).as_posix() for folder in there)
        raise UserError(
            f"{root} holds {listing}, and it cannot be seen which is meant. Take one away, or say which counts "
            'in a file of classes, under [layout]: images = ["FOLDER/{}"] or masks = ["FOLDER/{}"].'
        )
    return next(iter(there), None)


def _pair_files(
    root: Path, images: Path, masks: Path, layout: Layout, split: Split
) -> tuple[tuple[DataFile, ...], tuple[DataFile, ...]]:
    """The images of ``split`` and the mask of each. Raises ``UserError`` for one without the other."""
    of_image, of_mask = _list_by_key(images, layout.image_ending), _list_by_key(masks, layout.mask_ending)
    if layout.listing is not None:
        listing = root / layout.listing.format(split)
        try:
            lines = read_file(listing).decode("utf-8-sig").splitlines()
        except OSError as error:
            raise UserError(f"The list of the {split} split {listing} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise UserError(f"The list of the {split} split {listing} is no text in UTF-8.") from error
        keys = [line.strip() for line in lines if line.strip()]
        if not keys:
            raise UserError(f"The list of the {split} split {listing} is empty. Let it name images, one a line.")
        of_image = {key: of_image[key] for key in keys if key in of_image}
        of_mask = {key: of_mask[key] for key in keys if key in of_mask}
        if gone := [key for key in keys if key not in of_image]:
            raise UserError(
                f"{len(gone)} images that {listing} names are not in {images}, the first {gone[0]!r}. "
                "A line is the name of one image, without its ending."
            )
    for have, lack, place, what in ((of_image, of_mask, masks, "mask"), (of_mask, of_image, images, "image")):
        if alone := sorted(have.keys() - lack.keys()):
            raise UserError(
                f"{len(alone)} of the {len(have)} files have no {what} in {place}, the first {have[alone[0]]}. "
                f"Image and mask have one name, save the endings. Add the {what}, or take the file away; where several "
                "kinds of masks lie in one folder, mask_ending under [layout] in a file of classes says which counts."
            )
    if not of_image:
        ending = f" whose names end in {layout.image_ending}" if layout.image_ending else ""
        raise UserError(f"The {split} split has no images{ending} in {images}. Give it some, or name another split.")
    keys = sorted(of_image)
    return (
        tuple(DataFile.find(of_image[key], root) for key in keys),
        tuple(DataFile.find(of_mask[key], root) for key in keys),
    )


def _list_by_key(folder: Path, ending: str) -> dict[str, Path]:
    """Files below ``folder`` by their paths in it without endings; those of another ending are left out."""
    found: dict[str, Path] = {}
    for path in walk_files(folder):
        if not path.stem.endswith(ending) or not check_image_name(path):
            continue
        key = path.relative_to(folder).with_suffix("").as_posix().removesuffix(ending)
        if key in found:
            raise UserError(f"{found[key]} and {path} differ in their endings alone. Take one of them away.")
        found[key] = path
    return found


def _load(file: DataFile) -> tuple[bytes, str]:
    return file.read(), str(file.path)


def _check_apart(knobs: FolderKnobs, places: Mapping[Split, object]) -> None:
    if places["train"] == places["val"]:
        raise UserError(
            f"folder:{knobs.path} is to be trained and validated on the same folder. Name others with train= or val=."
        )


def _find_split(root: Path, split: Split, named: str | None) -> Path:
    if not root.is_dir():
        raise UserError(
            f"{root} is a file, not a folder that holds train/ and val/. For parquet files write parquet:PATH."
        )
    entries = list_entries(root)
    usual = ((named,),) if named is not None else SPLIT_FOLDERS[split]
    for names in usual:
        there = [entry for entry in entries if entry.is_dir() and (entry.name in names or entry.name.lower() in names)]
        if len(there) > 1:
            listing = " and ".join(entry.name for entry in there)
            raise UserError(f"{root} holds {listing}. Name the one to take with folder:{root},{split}=NAME.")
        if there:
            return there[0]
    sought = ", ".join(f"{name}/" for names in usual for name in names)
    inside = format_names(entry.name for entry in entries[:8]) or "nothing"
    raise UserError(
        f"{root} has no {split} split: there is none of {sought} in it, but {inside}. Add one of them, or name the "
        f"folder with folder:{root},{split}=NAME; where the data lie deeper, write folder:{root}/FOLDER."
    )


DATASETS.add("folder", DatasetSource(open_folder, FolderKnobs))
