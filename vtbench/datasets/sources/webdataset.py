"""Shards of WebDataset: tar files of images with labels or masks beside them; the split is read off the file's name.

Samples are read from their places in the shards, in the order that (seed, epoch, sample index) draws, as those of any
other data set are: nothing is shuffled by shards, and no process has shards of its own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from vtbench.datasets.class_labels import Labelled, agree_on_names, check_classes
from vtbench.datasets.conventions import MaskKnobs, find_convention
from vtbench.datasets.data_files import DataFile, fingerprint_files, resolve_folder
from vtbench.datasets.dataset import DataError, ImageSplit, Split
from vtbench.datasets.decoding import decode_images, probe_images, spread_evenly, tell_white
from vtbench.datasets.masked import MaskedFiles, open_masked
from vtbench.datasets.source import DATASETS, DatasetSource
from vtbench.datasets.split_files import Wanted, choose_files, list_tables, name_splits, take_subset
from vtbench.datasets.tar_shards import Shard, TarMembers, check_samples, expand_braces, open_shard, read_texts
from vtbench.errors import UserError, did_you_mean
from vtbench.files import expand_home

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

_NUM_PROBED = 64
_JSON = "json"
_USUAL_LABELS = ("cls", _JSON)
_USUAL_FIELDS = ("label", "cls", "class", "target", "category")
_MOST_DIGITS = 18
_INTEGER = re.compile(rf"-?\d{{1,{_MOST_DIGITS}}}")
_MOST_LISTED = 8
_USUAL_MASKS = ("mask.png", "seg.png", "segmentation.png", "annotation.png", "label.png")
_BESIDE_PHOTOGRAPHS = "png"
_PHOTOGRAPHS = frozenset({"jpg", "jpeg", "webp"})


class WebDatasetKnobs(MaskKnobs):
    """Where the shards lie, and which members of a sample count."""

    path: str = Field(description="a folder of .tar files, or their names with braces, such as train-{000..146}.tar")
    image: str | None = Field(None, description="endings of images, such as jpg or jpg+png; else all that are known")
    mask: str | None = Field(None, description="ending of masks, instead of labels; found when classes are said")
    label: str | None = Field(None, description="ending of labels, numbers or names of classes; else cls, or json")
    field: str | None = Field(None, description="of json labels: the field that counts; else label, cls or class")
    subset: str | None = Field(None, description="folder of the files to take, where several hold some")
    train: str | None = Field(None, description="files to train on, by split or name, A+B or with braces; else train")
    val: str | None = Field(None, description="files to validate on, likewise; else val or test")

    @property
    def is_masked(self) -> bool:
        """Whether masks are wanted, and no labels."""
        return self.mask is not None or self.asks_for_masks

    @property
    def wanted(self) -> Wanted:
        """Which files to take, every one by its name."""
        train, val = (text and "+".join(expand_braces(text)) for text in (self.train, self.val))
        return Wanted(train, val, self.subset, "webdataset", ".tar")


@dataclass(frozen=True, eq=False)
class TarSplit:
    """One split: its shards in the order of their names, and in each the samples as they stand."""

    images: TarMembers
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    fingerprint: str
    taken: Mapping[str, str]
    white: float | None

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The image files of the samples ``indices``, and what to call each."""
        return self.images.fetch(indices)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the images of the samples ``indices``, (B, H, W, C)."""
        fetched = self.images.fetch(indices)
        return decode_images([partial(_give, item) for item in fetched], self.image_size, self.white)


@dataclass(frozen=True)
class _Members:
    """Which members of a sample count: those of ``images``, and of ``label``, in JSON its ``field``."""

    images: tuple[str, ...]
    label: str
    field: str | None

    @property
    def label_spelt(self) -> str:
        """What a user calls the labels."""
        return self.label if self.field is None else f"{self.label}, field={self.field}"


def open_webdataset(knobs: WebDatasetKnobs, image_size: int | None) -> dict[Split, ImageSplit]:
    """Find the shards, samples and labels of both splits. Raises ``UserError`` for what is wrong with any."""
    spelling, wanted = f"webdataset:{knobs.path}", knobs.wanted
    files = choose_files(_list_shards(knobs, wanted), knobs.path, wanted)
    if knobs.is_masked:
        return _open_masked(knobs, files, image_size)
    chosen = _choose_members(open_shard(files["train"][0]), knobs, spelling)
    samples = {split: _read_samples(some, chosen) for split, some in files.items()}
    names, labels = _number({split: some.labels for split, some in samples.items()}, files, chosen)
    mend = f"Number the classes from 0 without gaps, or name another member with {spelling},label=ENDING."
    check_classes(names, labels, f"{knobs.path} (labels {chosen.label_spelt})", mend)
    probed = samples["train"].images.fetch(spread_evenly(len(labels["train"]), _NUM_PROBED))
    size = probe_images(probed, image_size, knobs.white)
    taken = {
        "image": "+".join(sorted(set().union(*(some.endings for some in samples.values())))),
        "label": chosen.label,
    }
    taken |= ({"field": chosen.field} if chosen.field else {}) | name_splits(files, Wanted(knobs.train, knobs.val))
    told = f"{taken['image']} {chosen.label_spelt}{tell_white(knobs.white)}"
    return {
        split: TarSplit(
            samples[split].images,
            labels[split],
            names,
            size,
            f"{fingerprint_files(files[split])} {told}",
            taken,
            knobs.white,
        )
        for split in files
    }


def _open_masked(
    knobs: WebDatasetKnobs, files: Mapping[Split, Sequence[DataFile]], image_size: int | None
) -> dict[Split, ImageSplit]:
    """Both splits of images with a mask in each sample. Raises as `open_webdataset`."""
    images, mask = _choose_mask(open_shard(files["train"][0]), knobs)
    found: dict[Split, MaskedFiles] = {}
    for split, some in files.items():
        shards = [open_shard(file) for file in some]
        for shard in shards:
            check_samples(shard, (mask,), "mask")
            check_samples(shard, images, "image")
        members = (TarMembers.join([TarMembers.of_shard(one, ends) for one in shards]) for ends in (images, (mask,)))
        of_images, of_masks = members
        endings = {one for shard in shards for sample in shard.samples.values() for one in sample if one in images}
        taken = {"image": "+".join(sorted(endings)), "mask": mask, **name_splits(files, knobs.wanted)}
        fingerprint = f"{fingerprint_files(some)} {taken['image']} {mask}"
        if not len(of_images):
            raise UserError(f"The {split} split of webdataset:{knobs.path} has no samples. Give it some.")
        found[split] = MaskedFiles(of_images.fetch, of_masks.fetch, len(of_images), fingerprint, taken)
    root = Path(os.path.commonpath([file.path.parent for some in files.values() for file in some]))
    return open_masked(found, find_convention(knobs, root), image_size, knobs.white)


def _choose_mask(first: Shard, knobs: WebDatasetKnobs) -> tuple[tuple[str, ...], str]:
    """The endings of images, and that of masks. Raises ``UserError`` where neither the user nor the endings tell."""
    for name in ("label", "field"):
        if getattr(knobs, name) is not None:
            raise UserError(f"{name}= is of labels, and the images of {knobs.path} are to have masks. Leave it out.")
    if not first.samples:
        raise DataError(f"{first.file.path} has no samples. Replace it, or take it away.")
    sample, members = next(iter(first.samples.items()))
    images = _list_image_endings(knobs, sample, first)
    if knobs.image is not None and knobs.mask is not None and _spell(knobs.mask) in images:
        raise UserError(
            f"image= and mask= of webdataset:{knobs.path} name the same ending, {_spell(knobs.mask)!r}. The first "
            f"sample {sample!r} of {first.file.path} has .{', .'.join(members)}. Name another with mask=."
        )
    usual = [one for one in _USUAL_MASKS if knobs.image is None or one not in images]
    found = [one for one in usual if one in members]
    png_may_be = _BESIDE_PHOTOGRAPHS in members and (knobs.image is None or _BESIDE_PHOTOGRAPHS not in images)
    if not found and png_may_be and not _PHOTOGRAPHS.isdisjoint(members):
        found = [_BESIDE_PHOTOGRAPHS]
    if knobs.mask is None and len(found) != 1:
        said = f"several that may be ({', '.join(found)})" if found else f"none of {', '.join(usual)}"
        raise UserError(
            f"Of the members of a sample of webdataset:{knobs.path} one should be its mask, and there is {said}. The "
            f"first sample {sample!r} of {first.file.path} has .{', .'.join(members)}. Name the ending of masks with "
            "mask=ENDING."
        )
    mask = _spell(knobs.mask) if knobs.mask is not None else found[0]
    return tuple(one for one in images if one != mask), mask


@dataclass(frozen=True)
class _Samples:
    """Those of one split: their images, the endings that these have, and for each shard the labels."""

    images: TarMembers
    endings: frozenset[str]
    labels: list[list[int] | list[str]]


def _read_samples(files: Sequence[DataFile], chosen: _Members) -> _Samples:
    """Go through the shards one by one. Raises `DataError` for a sample that lacks its image or label."""
    parts, labels, endings = [], [], set()
    for file in files:
        shard = open_shard(file)
        check_samples(shard, chosen.images, "image")
        check_samples(shard, (chosen.label,), "label")
        parts.append(TarMembers.of_shard(shard, chosen.images))
        labels.append(_read_values(shard, chosen))
        endings |= {one for members in shard.samples.values() for one in members if one in chosen.images}
    return _Samples(TarMembers.join(parts), frozenset(endings), labels)


def _list_shards(knobs: WebDatasetKnobs, wanted: Wanted) -> Sequence[DataFile]:
    if "{" not in knobs.path and "}" not in knobs.path:
        return list_tables(resolve_folder(knobs.path, "webdataset"), wanted)
    paths = [expand_home(name).absolute() for name in expand_braces(knobs.path)]
    if gone := [path for path in paths if not path.exists()]:
        raise UserError(
            f"{len(gone)} of the {len(paths)} files that webdataset:{knobs.path} names cannot be found, the first "
            f"{gone[0]}. Complete them, or name those that there are."
        )
    root = Path(os.path.commonpath([path.parent for path in paths]))
    return take_subset([DataFile.find(path, root) for path in paths], wanted)


def _choose_members(first: Shard, knobs: WebDatasetKnobs, spelling: str) -> _Members:
    """By what the user says, or the first sample has. Raises ``UserError`` where that does not tell."""
    if not first.samples:
        raise DataError(f"{first.file.path} has no samples. Replace it, or take it away.")
    sample, members = next(iter(first.samples.items()))
    images = _list_image_endings(knobs, sample, first)
    there = f"The first sample {sample!r} of {first.file.path} has .{', .'.join(members)}."
    label = (
        _spell(knobs.label) if knobs.label is not None else next((one for one in _USUAL_LABELS if one in members), None)
    )
    if label is None:
        raise UserError(
            f"{spelling} has no labels that are known by their ending, {' or '.join(_USUAL_LABELS)}. {there} Name "
            f"the ending of labels with {spelling},label=ENDING."
        )
    if label != _JSON:
        if knobs.field is not None:
            raise UserError(
                f"field={knobs.field} is for labels in json, and they are taken from .{label}. Leave it out."
            )
        return _Members(images, label, None)
    check_samples(first, (label,), "label")
    return _Members(images, label, knobs.field or _find_field(first, spelling))


def _list_image_endings(knobs: WebDatasetKnobs, sample: str, first: Shard) -> tuple[str, ...]:
    known = tuple(ending.removeprefix(".") for ending in Image.registered_extensions())
    if knobs.image is None:
        return known
    images = tuple(_spell(one) for one in knobs.image.split("+"))
    if odd := [one for one in images if one.rpartition(".")[2] not in known]:
        raise UserError(
            f"The ending {odd[0]!r} is of no format of images that is known. The first sample {sample!r} of "
            f"{first.file.path} has .{', .'.join(first.samples[sample])}."
        )
    return images


def _spell(ending: str) -> str:
    return ending.strip().removeprefix(".").lower()


def _find_field(first: Shard, spelling: str) -> str:
    described = _parse(read_texts(first, _JSON)[0], next(iter(first.samples)), first)
    found = [field for field in _USUAL_FIELDS if field in described]
    if len(found) != 1:
        said = f"several that may be ({', '.join(found)})" if found else f"none of {', '.join(_USUAL_FIELDS)}"
        raise UserError(
            f"Of the fields of a json member of {spelling} one should hold the label, and there is {said}. Its fields: "
            f"{', '.join(list(described)[:_MOST_LISTED])}. Name it with {spelling},field=NAME."
        )
    return found[0]


def _read_values(shard: Shard, chosen: _Members) -> list[int] | list[str]:
    """The label of every sample of ``shard``, numbers all or names all. Raises `DataError` for one that is neither."""
    texts = read_texts(shard, chosen.label)
    values: list[Any] = [text if _INTEGER.fullmatch(text) is None else int(text) for text in texts]
    if chosen.field is not None:
        values = []
        for text, sample in zip(texts, shard.samples, strict=True):
            described = _parse(text, sample, shard)
            if chosen.field not in described:
                raise DataError(
                    f"The json member of {sample!r} in {shard.file.path} has no field {chosen.field!r}. "
                    f"{did_you_mean(chosen.field, described)}"
                )
            values.append(described[chosen.field])
    kinds = [type(value) for value in values]
    odd = next((at for at, kind in enumerate(kinds) if kind not in (int, str) or kind is not kinds[0]), None)
    odd = next((at for at, value in enumerate(values) if value == "" or _is_too_large(value)), odd)
    if odd is not None:
        raise DataError(
            f"The label of {[*shard.samples][odd]!r} in {shard.file.path} is {values[odd]!r}. A label is the number of "
            f"a class, of {_MOST_DIGITS} digits at most, or its name, and of one kind in all samples."
        )
    return values


def _is_too_large(value: Any) -> bool:
    return isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS


def _parse(text: str, sample: str, shard: Shard) -> dict[str, Any]:
    try:
        described = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"The json member of {sample!r} in {shard.file.path} cannot be read: {error}.") from error
    if not isinstance(described, dict):
        raise DataError(f"The json member of {sample!r} in {shard.file.path} has no fields: it is no object.")
    return described


def _number(
    values: Mapping[Split, Sequence[Sequence[Any]]], files: Mapping[Split, Sequence[DataFile]], chosen: _Members
) -> tuple[tuple[str, ...], dict[Split, NDArray[np.int64]]]:
    """Names of the classes, and the labels: numbers as they stand, names numbered in their order."""
    kinds = {
        type(some[0]): file for split in values for some, file in zip(values[split], files[split], strict=True) if some
    }
    if len(kinds) > 1:
        named, numbered = kinds[str], kinds[int]
        raise DataError(
            f"Labels are names of classes in {named.path} and numbers in {numbered.path}. Write one kind everywhere."
        )
    names: tuple[str, ...] | None = None
    if str in kinds:
        names = tuple(sorted({name for split in values for some in values[split] for name in some}))
    number = {name: at for at, name in enumerate(names or ())}
    parts = {
        split: [
            Labelled(str(file.path), np.asarray([number.get(one, one) for one in some], np.int64), names)
            for some, file in zip(values[split], files[split], strict=True)
        ]
        for split in values
    }
    return agree_on_names(parts, chosen.label_spelt, "webdataset:PATH")


def _give(item: tuple[bytes, str]) -> tuple[bytes, str]:
    return item


DATASETS.add("webdataset", DatasetSource(open_webdataset, WebDatasetKnobs))
