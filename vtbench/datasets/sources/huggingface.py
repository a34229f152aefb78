"""Data sets of the Hugging Face hub, or local folders laid out like one, by the library ``datasets`` (an extra).

However they are loaded, their images are read through once and packed, still encoded, into the cache folder, in the
order in which they come. From then on they are data like any other: small ones are decoded into the uint8 cache,
of large ones any image is read from the pack by its index. Nothing is trained on straight off the network, because a
stream can neither be put into an order drawn from (seed, epoch, sample index) nor be taken up again at a given place.

``streaming=on`` reads the hub's files as they arrive and keeps nothing but the pack. With ``streaming=off``
``datasets`` first downloads everything into its own cache, where other programs find it and a broken download goes on;
that takes the room of two or three packs. Either way the pack is the same, and is used until the data changes. When the
hub cannot be reached, the pack made last is used. A pack that was interrupted while it was made is begun again.

No code of a data set is ever run: ``datasets`` 4 and later cannot, and 3 is told not to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vtbench.datasets.cache import find_cache_folder
from vtbench.datasets.class_labels import Labelled, agree_on_names, check_classes
from vtbench.datasets.conventions import MaskKnobs, find_convention
from vtbench.datasets.dataset import DataError, ImageSplit, Split
from vtbench.datasets.decoding import probe_images, spread_evenly, tell_white
from vtbench.datasets.hub_library import (
    USUAL_SPLITS,
    Footer,
    UnreachableHubError,
    check_files,
    choose_splits,
    count_images,
    explained,
    import_library,
    iterate,
    load_tables,
    locate,
    open_builder,
    read_footers,
    without_progress_bars,
)
from vtbench.datasets.masked import MaskedFiles, open_masked
from vtbench.datasets.packing import PackedImages, PairedImages, write_pack
from vtbench.datasets.parquet_table import (
    extract_bytes,
    find_class_names,
    find_image_column,
    find_label_column,
    find_mask_columns,
)
from vtbench.datasets.source import DATASETS, DatasetSource
from vtbench.datasets.split_column import check_row_agrees, find_split_column
from vtbench.errors import UserError
from vtbench.files import expand_home, publish_text, read_json

if TYPE_CHECKING:
    import pyarrow as pa

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

ClassNames = tuple[str, ...] | None

_NUM_PROBED = 16


class HuggingFaceKnobs(MaskKnobs):
    """Which data set, subset, columns and splits, and how they are fetched."""

    path: str = Field(title="NAME", description="name on the hub, such as uoft-cs/cifar10, or a local folder")
    config: str | None = Field(None, description="subset, for data sets that have several")
    image: str | None = Field(None, description="column of images; else one whose name or metadata says so")
    label: str | None = Field(None, description="column of integer labels; else one whose name or metadata says so")
    mask: str | None = Field(None, description="column of masks, instead of labels; found when classes are said")
    train: str | None = Field(None, description="split to train on; found when not given")
    val: str | None = Field(None, description="split to validate on; found when not given")
    streaming: Literal["off", "on"] = Field("off", description="on: keep no other copy of the data than the cache's")

    @property
    def spelling(self) -> str:
        """What messages call the data set."""
        return f"huggingface:{self.path}"

    @property
    def is_masked(self) -> bool:
        """Whether masks are wanted, and no labels."""
        return self.mask is not None or self.asks_for_masks


@dataclass(frozen=True, eq=False)
class HeldSplit:
    """A split in the cache folder: ``pack`` has its images, ``taken`` the columns that they and their labels are from.

    ``parts`` tells of its files in order the place, the number of rows and how it names the classes, if it does. Where
    masks are wanted, each image is followed by its mask, and the label of both is 0.
    """

    pack: Path
    labels: NDArray[np.int64]
    parts: tuple[tuple[str, int, ClassNames], ...]
    taken: Mapping[str, str]
    fingerprint: str

    def list_labelled(self) -> list[Labelled]:
        """The labels of each file."""
        ends = np.cumsum([rows for _, rows, _ in self.parts])[:-1]
        labels = np.split(self.labels, ends)
        return [Labelled(place, some, names) for (place, _, names), some in zip(self.parts, labels, strict=True)]


@dataclass(frozen=True, eq=False)
class HuggingFaceSplit:
    """One split, its rows in the order of the library."""

    images: PackedImages
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    fingerprint: str
    taken: Mapping[str, str]

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The image files in the rows ``indices``, and what to call each."""
        return [self.images.load(int(index)) for index in indices]

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the rows ``indices``, (B, H, W, C)."""
        return self.images.read(indices)


def open_huggingface(knobs: HuggingFaceKnobs, image_size: int | None) -> dict[Split, ImageSplit]:
    """Both splits, packed first if they are not. Raises ``UserError`` for what is wrong with either."""
    held = _hold_splits(knobs)
    spelling = knobs.spelling
    places: dict[Split, str] = {split: f"the {split} split of {spelling}" for split in held}
    taken = {**held["train"].taken, "train": held["train"].taken["split"], "val": held["val"].taken["split"]}
    del taken["split"]
    if knobs.is_masked:
        pairs = {split: _pair(one, places[split], taken) for split, one in held.items()}
        return open_masked(pairs, find_convention(knobs, expand_home(knobs.path)), image_size, knobs.white)
    column = taken["label"]
    parts = {split: held[split].list_labelled() for split in sorted(held)}
    names, labels = agree_on_names(parts, column, spelling)
    check_classes(
        names,
        labels,
        f"{spelling} (column {column!r})",
        f"Number the classes from 0 without gaps, or name another column with {spelling},label=NAME.",
    )
    packs = {split: PackedImages(held[split].pack, (1, 1), places[split]) for split in held}
    probed = [packs["train"].load(int(row)) for row in spread_evenly(len(labels["train"]), _NUM_PROBED)]
    size = probe_images(probed, image_size, knobs.white)
    return {
        split: HuggingFaceSplit(
            PackedImages(found.pack, size, places[split], knobs.white),
            labels[split],
            names,
            size,
            f"{found.fingerprint}{tell_white(knobs.white)}",
            taken,
        )
        for split, found in held.items()
    }


def _pair(held: HeldSplit, place: str, taken: Mapping[str, str]) -> MaskedFiles:
    pack = PackedImages(held.pack, (1, 1), place)
    images, masks = PairedImages(pack, 0), PairedImages(pack, 1)
    return MaskedFiles(images.fetch, masks.fetch, len(held.labels) // 2, held.fingerprint, taken)


def _hold_splits(knobs: HuggingFaceKnobs) -> dict[Split, HeldSplit]:
    """Both splits from the cache folder, where those that are not there, or no longer as they were, are put first."""
    hub = import_library(knobs.spelling)
    path = locate(knobs.spelling)
    notes = {split: _note(knobs, path, split) for split in USUAL_SPLITS}
    with without_progress_bars(hub):
        try:
            builder = open_builder(hub, knobs, path)
        except UnreachableHubError:
            held = {split: _recall(notes[split]) for split in notes}
            if not all(held.values()):
                raise
            return {split: found for split, found in held.items() if found}
        chosen = choose_splits(knobs, builder)
        check_files(knobs, path, builder, chosen)
        parts = {split: _Part(hub, knobs, builder, split, chosen[split], notes[split]) for split in notes}
        held = {split: _recall(notes[split], parts[split].state) for split in notes}
        if not all(held.values()):
            for part in parts.values():
                part.check_rows()
            tables = load_tables(knobs, builder, chosen)
            for split, table in tables.items():
                held[split] = held[split] or _build(parts[split], table)
    return {split: found for split, found in held.items() if found}


@dataclass(frozen=True)
class _Part:
    """A split that is to be packed: ``name`` is the library's for it, ``note`` the file that will tell of it."""

    hub: Any
    knobs: HuggingFaceKnobs
    builder: Any
    split: Split
    name: str
    note: Path

    @property
    def place(self) -> str:
        """What messages call it."""
        return f"the {self.split} split of {self.knobs.spelling}"

    @property
    def state(self) -> str:
        """Which data it is: the library's cache names subset, version and the files or the commit by its folders."""
        return f"{'/'.join(Path(self.builder.cache_dir).parts[-3:])} {self.name}"

    @cached_property
    def footers(self) -> tuple[Footer, ...]:
        """What its tables say of themselves, if they are of a kind that does."""
        return read_footers(self.knobs, self.builder, self.name)

    def check_rows(self) -> None:
        """Raise ``UserError`` when its files have no rows."""
        if self.footers and not any(footer.num_rows for footer in self.footers):
            raise UserError(f"{self.knobs.spelling} has no rows in its {self.split} split.")

    def find_columns(self, schema: pa.Schema) -> tuple[str, str]:
        """Those of images, and of labels or masks."""
        knobs, spelling = self.knobs, self.knobs.spelling
        if knobs.is_masked:
            return find_mask_columns(self.place, schema, knobs.image, knobs.mask, spelling)
        image = find_image_column(self.place, schema, knobs.image, spelling)
        return image, find_label_column(self.place, schema, knobs.label, spelling)

    def tell_parts(self, schema: pa.Schema, label: str, count: int) -> list[tuple[str, int, ClassNames]]:
        """Its files as `HeldSplit.parts` has them; one for all where none names its classes in a way of its own."""
        files = [(file, rows, find_class_names(columns, label)) for file, rows, columns in self.footers]
        if self.knobs.is_masked or len({names for *_, names in files}) <= 1:
            return [(self.place, count, files[0][2] if files else find_class_names(schema, label))]
        if sum(rows for _, rows, _ in files) != count:
            raise DataError(f"The library datasets gave {count} rows of {self.place}, which its files do not have.")
        return files


def _build(part: _Part, table: Any) -> HeldSplit:
    """Read ``table`` through once and write its pack, and then the note that says that it is there."""
    knobs, place, note = part.knobs, part.place, part.note
    if table.features is None:
        raise UserError(f"{knobs.spelling} does not say which columns it has while it is streamed. Use streaming=off.")
    schema = table.features.arrow_schema
    image, label = part.find_columns(schema)
    for column in (image, label):
        if isinstance(table.features[column], part.hub.Image):
            table = table.cast_column(column, part.hub.Image(decode=False))
    pack = note.with_name(f"{hashlib.sha256(f'{note.stem} {part.state}'.encode()).hexdigest()[:32]}.pack")
    labels: list[int] = []
    digest = hashlib.sha256()
    is_folder = table.info.builder_name == "imagefolder"
    what = "mask" if knobs.is_masked else "label"
    told_by = find_split_column(schema)

    def read_through() -> Iterator[bytes]:
        columns = [image, label, *([] if told_by is None else [told_by])]
        for row, cells in enumerate(iterate(knobs.spelling, table.select_columns(columns))):
            if told_by is not None:
                check_row_agrees(str(cells[told_by]), part.name, f"Row {row} of {place}", told_by)
            if cells[label] is None:
                raise DataError(
                    f"Row {row} of {place} has no {what} in column {label!r}. Name another with {what}=NAME."
                )
            for column in (image, label) if knobs.is_masked else (image,):
                data = _read_cell(knobs.spelling, cells[column], f"in row {row} of {place}", is_folder=is_folder)
                labels.append(0 if knobs.is_masked else cells[label])
                digest.update(hashlib.sha256(data).digest())
                yield data

    write_pack(pack, read_through())
    if not labels:
        raise UserError(f"{knobs.spelling} has no rows in its {part.split} split.")
    num_pictures = sum(isinstance(feature, part.hub.Image) for feature in table.features.values())
    if is_folder and num_pictures == 1 and len(labels) < (listed := count_images(part.builder, part.name)):
        raise DataError(
            f"The library datasets gave {len(labels)} of the {listed} images of {place}: its metadata file does not "
            "tell of the others. Complete it, or take those images away."
        )
    told = {
        "state": part.state,
        "pack": pack.name,
        "images": digest.hexdigest(),
        "parts": part.tell_parts(schema, label, len(labels)),
        "taken": {"image": image, what: label, "split": part.name},
        "labels": labels,
    }
    try:
        publish_text(note, json.dumps(told) + "\n")
    except OSError as error:
        raise DataError(f"The file {note} cannot be written: {error.strerror or error}.") from error
    return _understand(told, note)


def _read_cell(spelling: str, cell: dict[str, Any] | bytes | None, name: str, *, is_folder: bool) -> bytes:
    """The image file in a cell. Of image folders the library tells the places alone; those of a table are not opened.

    A table may come from anyone, and could name any file of this machine.
    """
    if is_folder and isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path"):
        import fsspec

        with explained(spelling), fsspec.open(cell["path"], "rb") as stream:
            return bytes(stream.read())
    return extract_bytes(cell, name)


def _note(knobs: HuggingFaceKnobs, path: str, split: Split) -> Path:
    """Where it is noted what was packed for these knobs; how it was fetched makes no difference."""
    unasked = {"streaming", "mask", *MaskKnobs.model_fields}
    asked = {"path": path, "split": split, **knobs.model_dump(exclude=unasked)}
    if knobs.is_masked:
        asked["mask"] = knobs.mask or "found"
    key = hashlib.sha256(f"huggingface 2, {json.dumps(asked, sort_keys=True)}".encode()).hexdigest()
    return find_cache_folder() / "packed" / f"{key[:32]}.json"


def _recall(note: Path, state: str | None = None) -> HeldSplit | None:
    """What ``note`` tells of, if that is whole, and of ``state`` when one is given."""
    try:
        told = read_json(note)
        found = _understand(told, note)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = PackedImages(found.pack, (1, 1)).is_sound(len(found.labels))
    return found if whole and state in (None, told["state"]) else None


def _understand(told: Mapping[str, Any], note: Path) -> HeldSplit:
    """The split; its fingerprint is a hash of every image file, the labels and the classes' names, in their order."""
    labels = np.asarray(told["labels"], np.int64)
    parts = tuple((place, int(rows), tuple(names) if names else None) for place, rows, names in told["parts"])
    names = [(rows, names) for _, rows, names in parts] if len(parts) > 1 else parts[0][2]
    digest = hashlib.sha256(f"{told['images']} {json.dumps(names)} ".encode() + labels.astype("<i8").tobytes())
    return HeldSplit(note.with_name(told["pack"]), labels, parts, told["taken"], digest.hexdigest())


DATASETS.add("huggingface", DatasetSource(open_huggingface, HuggingFaceKnobs))
