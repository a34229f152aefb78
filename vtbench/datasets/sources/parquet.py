"""Parquet files with images inside, such as those of the Hugging Face hub; the split is read off the file's name."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vtbench.datasets.class_labels import Labelled, agree_on_names, check_classes, read_labels
from vtbench.datasets.conventions import MaskKnobs, find_convention
from vtbench.datasets.data_files import DataFile, fingerprint_files, resolve_folder
from vtbench.datasets.dataset import DataError, Images, ImageSplit, Split
from vtbench.datasets.decoding import decode_images, probe_images, spread_evenly, tell_white
from vtbench.datasets.masked import MaskedFiles, open_masked
from vtbench.datasets.packing import pack_images
from vtbench.datasets.parquet_table import (
    check_column,
    extract_bytes,
    find_class_names,
    find_image_column,
    find_label_column,
    find_mask_columns,
    read_schema,
    shows_masks,
)
from vtbench.datasets.source import DATASETS, DatasetSource
from vtbench.datasets.split_column import check_rows_agree, find_split_column, split_by_rows
from vtbench.datasets.split_files import Wanted, find_files, list_tables, name_splits, says_nothing_of_splits
from vtbench.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

_NUM_PROBED = 16


class ParquetKnobs(MaskKnobs):
    """Where the files lie and which columns count."""

    path: str = Field(description="a folder of parquet files, or one file")
    image: str | None = Field(None, description="column of images; else one whose name or metadata says so")
    label: str | None = Field(None, description="column of integer labels; else one whose name or metadata says so")
    mask: str | None = Field(None, description="column of masks, instead of labels; found when there are no labels")
    subset: str | None = Field(None, description="folder of the files to take, where several hold some")
    train: str | None = Field(None, description="files to train on, by split or name, several as A+B; else train")
    val: str | None = Field(None, description="files to validate on, by split or name, such as test; else val or test")

    @property
    def wanted(self) -> Wanted:
        """Which files to take."""
        return Wanted(self.train, self.val, self.subset)


@dataclass(frozen=True, eq=False)
class RowGroups:
    """Finds rows in the files of one split; the row group read last is kept, so that reading in order is fast.

    It is let go with its last row: whoever reads in order goes on to another, and a group may be as large as its file.
    ``rows`` are those of the split, where the files have others, too.
    """

    files: tuple[DataFile, ...]
    column: str
    rows: NDArray[np.int64] | None = None
    _last: dict[tuple[int, int], Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "column": self.column, "rows": self.rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _last={}, _lock=threading.Lock())

    @cached_property
    def _places(self) -> tuple[list[tuple[int, int]], NDArray[np.int64], NDArray[np.int64]]:
        """Of every row group: file and group, first row in the split, and first row in its file."""
        import pyarrow.parquet as pq

        groups, firsts, firsts_in_file, rows = [], [], [], 0
        for number, file in enumerate(self.files):
            metadata, in_file = pq.read_metadata(file.path), 0
            for group in range(metadata.num_row_groups):
                groups.append((number, group))
                firsts.append(rows)
                firsts_in_file.append(in_file)
                rows += (size := metadata.row_group(group).num_rows)
                in_file += size
        return groups, np.asarray(firsts, np.int64), np.asarray(firsts_in_file, np.int64)

    @property
    def num_rows(self) -> int:
        """Rows of the split."""
        import pyarrow.parquet as pq

        if self.rows is not None:
            return len(self.rows)
        return sum(pq.read_metadata(file.path).num_rows for file in self.files)

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The image files in the rows ``indices``, each with what to call it in a message."""
        groups, firsts, firsts_in_file = self._places
        indices = indices if self.rows is None else self.rows[indices]
        found: list[tuple[bytes, str]] = [(b"", "")] * len(indices)
        at_group = np.searchsorted(firsts, indices, side="right") - 1
        with self._lock:
            for at in np.argsort(at_group, kind="stable"):
                number = int(at_group[at])
                row = int(indices[at] - firsts[number])
                name = f"in row {firsts_in_file[number] + row} of {self.files[groups[number][0]].path}"
                found[at] = extract_bytes(self._read(groups[number])[row].as_py(), name), name
            for place, group in list(self._last.items()):
                if (indices == firsts[groups.index(place)] + len(group) - 1).any():
                    self._last.clear()
        return found

    def _read(self, place: tuple[int, int]) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if place not in self._last:
            self._last.clear()
            file = self.files[place[0]]
            file.check_unchanged()
            try:
                table = pq.ParquetFile(file.path).read_row_group(place[1], columns=[self.column])
            except (pa.ArrowException, OSError) as error:
                raise DataError(
                    f"Row group {place[1]} of {file.path} cannot be read: {error}. Replace the file."
                ) from error
            self._last[place] = table.column(self.column)
        return self._last[place]


@dataclass(frozen=True, eq=False)
class ParquetSplit:
    """One split: its files in the order of their names, and in each the rows as they stand."""

    rows: RowGroups
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    fingerprint: str
    taken: Mapping[str, str]
    white: float | None

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The image files in the rows ``indices``, and what to call each."""
        return self.rows.fetch(indices)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the rows ``indices``, (B, H, W, C). Fast when they ascend."""
        fetched = self.rows.fetch(indices)
        return decode_images([partial(_give, item) for item in fetched], self.image_size, self.white)

    def pack(self, rows: NDArray[np.int64]) -> Images:
        """The rows, still encoded, in one file of the cache where each can be had by itself."""
        return pack_images(self.rows.fetch, rows, self.fingerprint, self.image_size, self.white)


def open_parquet(knobs: ParquetKnobs, image_size: int | None) -> dict[Split, ImageSplit]:
    """Find the files, columns, classes and labels of both splits. Raises ``UserError`` for what is wrong with any."""
    path = resolve_folder(knobs.path, "parquet")
    spelling = f"parquet:{knobs.path}"
    found = _find_rows(path, knobs.wanted, spelling)
    files, schemas, first = found.files, found.schemas, found.files["train"][0]
    if knobs.mask is not None or knobs.asks_for_masks or shows_masks(schemas[first]):
        return _open_masked(knobs, path, found, image_size)
    image = find_image_column(str(first.path), schemas[first], knobs.image, spelling)
    label = find_label_column(str(first.path), schemas[first], knobs.label, spelling)
    _check_columns(schemas, first, (image, label))
    parts = {split: list(found.list_labelled(split, label)) for split in files}
    names, labels = agree_on_names(parts, label, spelling)
    check_classes(
        names,
        labels,
        f"{path} (column {label!r})",
        f"Number the classes from 0 without gaps, or name another column with {spelling},label=NAME.",
    )
    groups = {split: RowGroups(files[split], image, found.rows.get(split)) for split in files}
    probed = groups["train"].fetch(spread_evenly(len(labels["train"]), _NUM_PROBED))
    size = probe_images(probed, image_size, knobs.white)
    taken = {"image": image, "label": label, **found.called}
    return {
        split: ParquetSplit(
            groups[split],
            labels[split],
            names,
            size,
            f"{found.fingerprint(split)} {image} {label}{tell_white(knobs.white)}",
            taken,
            knobs.white,
        )
        for split in files
    }


@dataclass(frozen=True)
class _FoundRows:
    """The files of each split, which of their rows are of it where they have others, too, and what the data call it."""

    files: dict[Split, tuple[DataFile, ...]]
    schemas: dict[DataFile, pa.Schema]
    called: dict[str, str]
    rows: dict[Split, NDArray[np.int64]] = field(default_factory=dict)

    def fingerprint(self, split: Split) -> str:
        """A hash of the files, and how the rows were told apart."""
        return fingerprint_files(self.files[split]) + (f" {self.called[split]}" if self.rows else "")

    def list_labelled(self, split: Split, label: str) -> Iterator[Labelled]:
        """The labels of each file's rows of the split."""
        before = 0
        for file in self.files[split]:
            labels, names = read_labels(file, label), find_class_names(self.schemas[file], label)
            here, before = np.arange(before, before + len(labels)), before + len(labels)
            if self.rows:
                labels = labels[np.isin(here, self.rows[split])]
            place = f"{file.path} ({self.called[split]})" if self.rows else str(file.path)
            yield Labelled(place, labels, names)


def _find_rows(path: Path, wanted: Wanted, spelling: str) -> _FoundRows:
    """By the names of the files, or by a column of the tables where no name says anything."""
    every = tuple(list_tables(path, wanted))
    if every and says_nothing_of_splits(every, wanted):
        schemas = {file: read_schema(file) for file in every}
        columns = {find_split_column(schema) for schema in schemas.values()}
        if len(columns) == 1 and (column := columns.pop()) is not None:
            rows, called = split_by_rows(every, column, wanted, spelling)
            return _FoundRows(dict.fromkeys(rows, every), schemas, called, rows)
    files = find_files(path, wanted)
    schemas = {file: read_schema(file) for split in files for file in files[split]}
    check_rows_agree(files, schemas)
    return _FoundRows(files, schemas, name_splits(files, wanted))


def _open_masked(knobs: ParquetKnobs, path: Path, rows: _FoundRows, size: int | None) -> dict[Split, ImageSplit]:
    files, schemas, first = rows.files, rows.schemas, rows.files["train"][0]
    image, mask = find_mask_columns(str(first.path), schemas[first], knobs.image, knobs.mask, f"parquet:{knobs.path}")
    _check_columns(schemas, first, (image, mask))
    taken = {"image": image, "mask": mask, **rows.called}
    found: dict[Split, MaskedFiles] = {}
    for split in files:
        images, masks = (RowGroups(files[split], column, rows.rows.get(split)) for column in (image, mask))
        fingerprint = f"{rows.fingerprint(split)} {image} {mask}"
        if images.num_rows == 0:
            raise UserError(f"The {split} split in {path} has no rows. Give it images, or name another split.")
        found[split] = MaskedFiles(images.fetch, masks.fetch, images.num_rows, fingerprint, taken, in_groups=True)
    return open_masked(found, find_convention(knobs, path if path.is_dir() else path.parent), size, knobs.white)


def _check_columns(schemas: dict[DataFile, pa.Schema], first: DataFile, columns: tuple[str, ...]) -> None:
    for file, schema in schemas.items():
        for column in columns:
            check_column(file, schema, column, schemas[first].field(column).type, first)


def _give(item: tuple[bytes, str]) -> tuple[bytes, str]:
    return item


DATASETS.add("parquet", DatasetSource(open_parquet, ParquetKnobs))
