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
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vtbench.datasets.cache import find_cache_folder
from vtbench.datasets.conventions import MaskKnobs, find_convention
from vtbench.datasets.data_files import resolve_folder
from vtbench.datasets.dataset import DataError, ImageSplit, Split
from vtbench.datasets.decoding import choose_image_size, measure_image, spread_evenly
from vtbench.datasets.masked import MaskedFiles, open_masked
from vtbench.datasets.packing import PackedImages, PairedImages, write_pack
from vtbench.datasets.parquet_table import (
    check_classes,
    check_range,
    extract_bytes,
    find_class_names,
    find_image_column,
    find_label_column,
    find_mask_columns,
    number_classes,
)
from vtbench.datasets.source import DATASETS, DatasetSource
from vtbench.errors import UserError, did_you_mean
from vtbench.files import publish_text

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

_NUM_PROBED = 16
_OLDEST = 3
# The smaller split first: what is wrong with the data is then seen before the larger is fetched.
_USUAL_SPLITS: dict[Split, tuple[str, ...]] = {
    "val": ("validation", "valid", "val", "dev", "test"),
    "train": ("train", "training"),
}
# Of the exceptions' classes, by name, because which library fetches differs between versions of ``datasets``.
_OF_THE_NETWORK = frozenset(
    {"ConnectionError", "TimeoutError", "Timeout", "TransportError", "ClientConnectionError", "gaierror"}
)


class HuggingFaceKnobs(MaskKnobs):
    """Which data set, subset, columns and splits, and how they are fetched."""

    path: str = Field(title="NAME", description="name on the hub, such as uoft-cs/cifar10, or a local folder")
    config: str | None = Field(None, description="subset, for data sets that have several")
    image: str | None = Field(None, description="column of images; found when not given")
    label: str | None = Field(None, description="column of integer labels; found when not given")
    mask: str | None = Field(None, description="column of masks, instead of labels; found when classes are said")
    train: str | None = Field(None, description="split to train on; found when not given")
    val: str | None = Field(None, description="split to validate on; found when not given")
    streaming: Literal["off", "on"] = Field("off", description="on: keep no other copy of the data than the cache's")

    @property
    def is_masked(self) -> bool:
        """Whether masks are wanted, and no labels."""
        return self.mask is not None or self.asks_for_masks


class UnreachableHubError(UserError):
    """The hub gave no answer, whatever the cause."""


@dataclass(frozen=True, eq=False)
class HeldSplit:
    """A split in the cache folder: ``pack`` has its images. ``names`` are those of the classes, if they have any.

    Where masks are wanted, each image is followed by its mask, and the label of both is 0.
    """

    pack: Path
    labels: NDArray[np.int64]
    names: tuple[str, ...] | None
    label_column: str
    fingerprint: str


@dataclass(frozen=True, eq=False)
class HuggingFaceSplit:
    """One split, its rows in the order of the library."""

    images: PackedImages
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    fingerprint: str

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the rows ``indices``, (B, H, W, C)."""
        return self.images.read(indices)


def open_huggingface(knobs: HuggingFaceKnobs, image_size: int | None) -> dict[Split, ImageSplit]:
    """Both splits, packed first if they are not. Raises ``UserError`` for what is wrong with either."""
    held = _hold_splits(knobs)
    if knobs.is_masked:
        pairs = {split: _pair(one, f"the {split} split of huggingface:{knobs.path}") for split, one in held.items()}
        return open_masked(pairs, find_convention(knobs, Path(knobs.path).expanduser()), image_size)
    train, spelling = held["train"], f"huggingface:{knobs.path}"
    names = train.names or number_classes(train.labels)
    places: dict[Split, str] = {split: f"the {split} split of {spelling}" for split in held}
    for split, found in held.items():
        check_range(found.labels, len(names), places[split], found.label_column)
    check_classes(names, train.labels, spelling, train.label_column, spelling)
    packs = {split: PackedImages(found.pack, (1, 1), places[split]) for split, found in held.items()}
    probed = spread_evenly(len(train.labels), _NUM_PROBED if image_size is None else 0)
    size = choose_image_size([measure_image(*packs["train"].load(int(row))) for row in probed], image_size)
    return {
        split: HuggingFaceSplit(
            PackedImages(found.pack, size, places[split]), found.labels, names, size, found.fingerprint
        )
        for split, found in held.items()
    }


def _pair(held: HeldSplit, place: str) -> MaskedFiles:
    pack = PackedImages(held.pack, (1, 1), place)
    images, masks = PairedImages(pack, 0), PairedImages(pack, 1)
    return MaskedFiles(images.fetch, masks.fetch, len(held.labels) // 2, held.fingerprint)


def _hold_splits(knobs: HuggingFaceKnobs) -> dict[Split, HeldSplit]:
    """Both splits from the cache folder, where those that are not there, or no longer as they were, are put first."""
    hub = _import_library(knobs.path)
    path = _locate(knobs.path)
    notes = {split: _note(knobs, path, split) for split in _USUAL_SPLITS}
    with _without_progress_bars(hub):
        try:
            builder = _open_builder(hub, knobs, path)
        except UnreachableHubError:
            held = {split: _recall(notes[split]) for split in notes}
            if not all(held.values()):
                raise
            return {split: found for split, found in held.items() if found}
        chosen = _choose_splits(knobs, builder)
        # The last three folders of the library's cache name the subset, the version and the files or the commit.
        state = "/".join(Path(builder.cache_dir).parts[-3:])
        held = {split: _recall(notes[split], f"{state} {chosen[split]}") for split in notes}
        if not all(held.values()):
            tables = _load_tables(knobs, builder, chosen)
            for split, table in tables.items():
                held[split] = held[split] or _build(hub, knobs, table, notes[split], f"{state} {chosen[split]}", split)
    return {split: found for split, found in held.items() if found}


def _import_library(path: str) -> Any:
    mend = (
        f"huggingface:{path} needs the library datasets, version {_OLDEST} or newer: "
        "pip install 'vtbench[huggingface]'."
    )
    try:
        import datasets
    except ImportError:
        raise UserError(mend) from None
    if not hasattr(datasets, "load_dataset_builder"):  # Any folder "datasets" beside a script can be imported.
        raise UserError(f"{mend} What is imported by that name is {getattr(datasets, '__path__', datasets)}.")
    if int(datasets.__version__.partition(".")[0]) < _OLDEST:
        raise UserError(f"{mend} Installed is {datasets.__version__}.")
    return datasets


def _locate(path: str) -> str:
    """The folder if ``path`` is one, else the name as it stands, for the hub."""
    found = Path(path).expanduser()
    if found.is_file():
        raise UserError(
            f"{found} is a file; huggingface: takes a name on the hub or a folder. For parquet files write "
            "parquet:PATH. Scripts that load data are never run."
        )
    if found.is_dir() or found.is_absolute() or path.startswith("."):
        return str(resolve_folder(path, "huggingface"))
    return path


def _open_builder(hub: Any, knobs: HuggingFaceKnobs, path: str) -> Any:
    takes = inspect.signature(hub.load_dataset_builder).parameters
    foreign_code = {"trust_remote_code": False} if "trust_remote_code" in takes else {}
    with _explained(knobs.path):
        return hub.load_dataset_builder(path, knobs.config, **foreign_code)


def _choose_splits(knobs: HuggingFaceKnobs, builder: Any) -> dict[Split, str]:
    """The library's name of each split."""
    there = [str(name) for name in builder.config.data_files or builder.info.splits or ()]
    chosen: dict[Split, str] = {}
    for split, usual in _USUAL_SPLITS.items():
        wanted: str | None = getattr(knobs, split)
        found = next((name for name in ([wanted] if wanted else usual) if name in there), None)
        if found is None and wanted:
            raise UserError(f"huggingface:{knobs.path} has no split {wanted!r}. {did_you_mean(wanted, there)}")
        if found is None:
            raise UserError(
                f"huggingface:{knobs.path} has no {split} split by its name; it has {', '.join(there) or 'none'}. "
                f"Name one with huggingface:{knobs.path},{split}=NAME."
            )
        chosen[split] = found
    if chosen["train"] == chosen["val"]:
        raise UserError(
            f"huggingface:{knobs.path} is to be trained and validated on the same split, {chosen['train']!r}. "
            f"Name another with train= or val=; there are {', '.join(there)}."
        )
    return chosen


def _load_tables(knobs: HuggingFaceKnobs, builder: Any, chosen: Mapping[Split, str]) -> dict[Split, Any]:
    """The library's data set of each split: an iterable one that fetches as it goes, or one on the disk."""
    with _explained(knobs.path):
        if knobs.streaming == "on":
            tables = builder.as_streaming_dataset()
            return {split: tables[name] for split, name in chosen.items()}
        builder.download_and_prepare()
        return {split: builder.as_dataset(split=name) for split, name in chosen.items()}


def _build(hub: Any, knobs: HuggingFaceKnobs, table: Any, note: Path, state: str, split: Split) -> HeldSplit:
    """Read ``table`` through once and write its pack, and then the note that says that it is there."""
    spelling = f"huggingface:{knobs.path}"
    place = f"the {split} split of {spelling}"
    if table.features is None:
        raise UserError(f"{spelling} does not say which columns it has while it is streamed. Use streaming=off.")
    schema = table.features.arrow_schema
    if knobs.is_masked:
        image, label = find_mask_columns(place, schema, knobs.image, knobs.mask, spelling)
    else:
        image = find_image_column(place, schema, knobs.image, spelling)
        label = find_label_column(place, schema, knobs.label, spelling)
    for column in (image, label):
        if isinstance(table.features[column], hub.Image):
            table = table.cast_column(column, hub.Image(decode=False))
    pack = note.with_name(f"{hashlib.sha256(f'{note.stem} {state}'.encode()).hexdigest()[:32]}.pack")
    labels: list[int] = []
    digest = hashlib.sha256()
    is_folder = table.info.builder_name == "imagefolder"

    def read_through() -> Iterator[bytes]:
        for row, cells in enumerate(_iterate(knobs.path, table.select_columns([image, label]))):
            if cells[label] is None:
                what = "mask" if knobs.is_masked else "label"
                raise DataError(
                    f"Row {row} of {place} has no {what} in column {label!r}. Name another with {what}=NAME."
                )
            for column in (image, label) if knobs.is_masked else (image,):
                data = _read_cell(knobs.path, cells[column], f"in row {row} of {place}", is_folder=is_folder)
                labels.append(0 if knobs.is_masked else cells[label])
                digest.update(hashlib.sha256(data).digest())
                yield data

    write_pack(pack, read_through())
    if not labels:
        raise UserError(f"{spelling} has no rows in its {split} split.")
    told = {
        "state": state,
        "pack": pack.name,
        "images": digest.hexdigest(),
        "names": find_class_names(schema, label),
        "label_column": label,
        "labels": labels,
    }
    try:
        publish_text(note, json.dumps(told) + "\n")
    except OSError as error:
        raise DataError(f"The file {note} cannot be written: {error.strerror or error}.") from error
    return _understand(told, note)


def _iterate(path: str, table: Any) -> Iterator[dict[str, Any]]:
    rows = iter(table)
    while True:
        with _explained(path):
            cells = next(rows, None)
        if cells is None:
            return
        yield cells


def _read_cell(path: str, cell: dict[str, Any] | bytes | None, name: str, *, is_folder: bool) -> bytes:
    """The image file in a cell. Of image folders the library tells the places alone; those of a table are not opened.

    A table may come from anyone, and could name any file of this machine.
    """
    if is_folder and isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path"):
        import fsspec

        with _explained(path), fsspec.open(cell["path"], "rb") as stream:
            return bytes(stream.read())
    return extract_bytes(cell, name)


def _note(knobs: HuggingFaceKnobs, path: str, split: Split) -> Path:
    """Where it is noted what was packed for these knobs; how it was fetched makes no difference."""
    unasked = {"streaming", "mask", *MaskKnobs.model_fields}
    asked = {"path": path, "split": split, **knobs.model_dump(exclude=unasked)}
    if knobs.is_masked:
        asked["mask"] = knobs.mask or "found"
    key = hashlib.sha256(f"huggingface 1, {json.dumps(asked, sort_keys=True)}".encode()).hexdigest()
    return find_cache_folder() / "packed" / f"{key[:32]}.json"


def _recall(note: Path, state: str | None = None) -> HeldSplit | None:
    """What ``note`` tells of, if that is whole, and of ``state`` when one is given."""
    try:
        told = json.loads(note.read_text("utf-8"))
        found = _understand(told, note)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = PackedImages(found.pack, (1, 1)).is_sound(len(found.labels))
    return found if whole and state in (None, told["state"]) else None


def _understand(told: Mapping[str, Any], note: Path) -> HeldSplit:
    """The split; its fingerprint is a hash of every image file, the labels and the classes' names, in their order."""
    labels = np.asarray(told["labels"], np.int64)
    names = tuple(told["names"]) if told["names"] else None
    digest = hashlib.sha256(f"{told['images']} {json.dumps(names)} ".encode() + labels.astype("<i8").tobytes())
    return HeldSplit(note.with_name(told["pack"]), labels, names, told["label_column"], digest.hexdigest())


@contextmanager
def _without_progress_bars(hub: Any) -> Iterator[None]:
    if hub.utils.are_progress_bars_disabled():
        yield
        return
    hub.utils.disable_progress_bars()
    try:
        yield
    finally:
        hub.utils.enable_progress_bars()


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn whatever the library raises into one paragraph; it and its readers raise many kinds of exception."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise _explain(path, error) from error


def _explain(path: str, error: Exception) -> UserError:
    said = " ".join(_say(cause) for cause in (error, error.__cause__) if cause is not None)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "DatasetNotFoundError" in kinds:
        return UserError(
            f"The Hugging Face hub has no data set {path!r}, or does not show it to you, and there is no folder of "
            f"that name here: {said} Check the name; for a private or gated one, log in with: hf auth login."
        )
    if _is_of_the_network(error):
        return UnreachableHubError(
            f"huggingface:{path} could not be fetched, because the Hugging Face hub cannot be reached: {said} Check "
            "the network and run again, or give a local folder, huggingface:PATH. The data set scenes needs none."
        )
    if "FileNotFoundError" in kinds:
        return UserError(
            f"huggingface:{path} is neither a name on the Hugging Face hub (OWNER/NAME) nor a folder with data that "
            f"the library datasets can read: {said}"
        )
    mend = " Choose a subset with config=NAME." if "config" in said.lower() else ""
    return UserError(f"The library datasets cannot read huggingface:{path}: {said}{mend}")


def _say(error: BaseException) -> str:
    return f"{(' '.join(str(error).split()) or type(error).__name__).rstrip('.')}."


def _is_of_the_network(error: BaseException | None) -> bool:
    while error is not None:
        if any(kind.__name__ in _OF_THE_NETWORK for kind in type(error).__mro__):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


DATASETS.add("huggingface", DatasetSource(open_huggingface, HuggingFaceKnobs))
