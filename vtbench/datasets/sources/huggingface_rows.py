"""Parquet files of the Hugging Face hub, read where they lie: of them this machine has a few windows for each run.

``huggingface:`` keeps a copy of all images, from which any is read at random. This keeps none. A stream of the library
``datasets`` would not do: it shuffles by a buffer that it fills in the order of the files, goes on from a place by the
states of all of its workers, and gives each process files of its own, so that what is drawn depends on how many there
are. Here the files' ends say where their row groups lie, and each epoch's order is drawn from (seed, epoch) as a whole:
row groups in random order, and the images of ``window`` of them at a time in random order. So it is known before the
first image is read, hashed into the certificate, and the same for any number of processes and after any stop.

What that cannot give: an image meets only those of its window in an epoch. Where rows are sorted by class, a window
must hold many groups. With a window of all groups the order is that of all other data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vtbench.datasets.cache import find_cache_folder
from vtbench.datasets.class_labels import Labelled, agree_on_names, check_classes
from vtbench.datasets.data_files import SAMPLED, DataFile, fingerprint_files
from vtbench.datasets.dataset import ImageSplit, Split
from vtbench.datasets.decoding import decode_images, probe_images, spread_evenly, tell_white
from vtbench.datasets.hub_library import (
    check_files,
    choose_splits,
    explained,
    import_library,
    list_files,
    locate,
    open_builder,
    without_progress_bars,
)
from vtbench.datasets.memory import recall, remember
from vtbench.datasets.parquet_table import find_class_names, find_image_column, find_label_column
from vtbench.datasets.source import DATASETS, DatasetSource, Knobs
from vtbench.datasets.streamed_groups import StreamedGroups
from vtbench.errors import UserError

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB), G row groups.

_NUM_PROBED = 16
_READERS = 8
_KEPT_WINDOWS = 4


class HuggingFaceRowsKnobs(Knobs):
    """Which data set, subset, columns and splits, and how much of it is shuffled together."""

    path: str = Field(title="NAME", description="name on the hub, such as uoft-cs/cifar10, or a local folder")
    config: str | None = Field(None, description="subset, for data sets that have several")
    image: str | None = Field(None, description="column of images; else one whose name or metadata says so")
    label: str | None = Field(None, description="column of integer labels; else one whose name or metadata says so")
    train: str | None = Field(None, description="split to train on; found when not given")
    val: str | None = Field(None, description="split to validate on; found when not given")
    white: float | None = Field(None, gt=0, description="value of white in images of more than 8 bits, such as 4095")
    window: int = Field(64, ge=1, le=100_000, description="row groups whose images are shuffled together")

    @property
    def spelling(self) -> str:
        """What messages call the data set."""
        return f"huggingface_rows:{self.path}"


@dataclass(frozen=True, eq=False)
class StreamedSplit:
    """One split, its rows in the order of its files."""

    images: StreamedGroups
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    fingerprint: str
    taken: Mapping[str, str]
    window: int
    white: float | None

    @property
    def group_starts(self) -> NDArray[np.int64]:
        """The first row of each row group, (G,)."""
        return self.images.starts

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The image files in the rows ``indices``, and what to call each."""
        return self.images.fetch(indices)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the rows ``indices``, (B, H, W, C)."""
        fetched = self.images.fetch(indices)
        return decode_images([partial(_give, item) for item in fetched], self.image_size, self.white)


@dataclass(frozen=True)
class _Table:
    """What was read of one file: its columns' class names, the rows of each row group, labels, and what it is."""

    url: str
    image: str
    label: str
    names: tuple[str, ...] | None
    sizes: tuple[int, ...]
    labels: list[int]
    content: str
    is_exact: bool


def open_rows(knobs: HuggingFaceRowsKnobs, image_size: int | None) -> dict[Split, ImageSplit]:
    """Both splits, of which labels alone are read. Raises ``UserError`` for what is wrong with either."""
    spelling = knobs.spelling
    hub, path = import_library(spelling), locate(spelling)
    with without_progress_bars(hub):
        builder = open_builder(hub, knobs, path)
        chosen = choose_splits(knobs, builder)
        check_files(knobs, path, builder, chosen)
    if builder.name != "parquet":
        raise UserError(
            f"{spelling} is of files that the library datasets reads as {builder.name!r}, and parts can be had of "
            f"parquet alone. Write huggingface:{knobs.path},streaming=on, which reads through them once."
        )
    with ThreadPoolExecutor(_READERS) as pool:
        tables = {
            split: list(pool.map(lambda url: _open_table(url, knobs, spelling), list_files(builder, name)))
            for split, name in chosen.items()
        }
    first = tables["train"][0]
    for split, some in tables.items():
        if not sum(map(sum, (table.sizes for table in some))):
            raise UserError(f"{spelling} has no rows in its {split} split.")
    parts = {
        split: [Labelled(one.url, np.asarray(one.labels, np.int64), one.names) for one in some]
        for split, some in tables.items()
    }
    names, labels = agree_on_names(parts, first.label, spelling)
    mend = f"Number the classes from 0 without gaps, or name another column with {spelling},label=NAME."
    check_classes(names, labels, f"{spelling} (column {first.label!r})", mend)
    contents = {split: _identify_split(some) for split, some in tables.items()}
    groups = {split: _make_groups(some, contents[split], knobs) for split, some in tables.items()}
    first_rows = next(rows for one in tables["train"] for rows in one.sizes if rows)
    probed = groups["train"].fetch(spread_evenly(first_rows, _NUM_PROBED))
    size = probe_images(probed, image_size, knobs.white)
    taken: dict[str, str] = {"image": first.image, "label": first.label, "train": chosen["train"], "val": chosen["val"]}
    return {
        split: StreamedSplit(
            groups[split],
            labels[split],
            names,
            size,
            f"{contents[split]}{tell_white(knobs.white)}",
            taken,
            knobs.window,
            knobs.white,
        )
        for split in tables
    }


def _identify_split(tables: list[_Table]) -> str:
    mark = "" if all(table.is_exact for table in tables) else SAMPLED
    return mark + _hash([text for table in tables for text in (table.content, table.image, table.label)])


def _make_groups(tables: list[_Table], content: str, knobs: HuggingFaceRowsKnobs) -> StreamedGroups:
    folder = find_cache_folder() / "streamed" / content[-32:]
    files, sizes = tuple(one.url for one in tables), tuple(one.sizes for one in tables)
    most = _KEPT_WINDOWS * knobs.window
    return StreamedGroups(files, sizes, tables[0].image, folder, most, knobs.spelling)


def _open_table(url: str, knobs: HuggingFaceRowsKnobs, spelling: str) -> _Table:
    """The end of a file and its labels; of a file that is as it was, what was found before."""
    import fsspec
    import pyarrow.parquet as pq

    with explained(spelling):
        system, place = fsspec.core.url_to_fs(url)
        content, is_exact = _identify(system.info(place), url, place)
    key = json.dumps([url, content, knobs.image, knobs.label])
    memory = find_cache_folder() / "streamed" / "tables" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if (told := recall(memory)) is None:
        with explained(spelling), system.open(place, "rb") as stream:
            file = pq.ParquetFile(stream)
            schema = file.schema_arrow
            image = find_image_column(url, schema, knobs.image, spelling)
            label = find_label_column(url, schema, knobs.label, spelling)
            sizes = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
            labels = file.read(columns=[label]).column(0).to_pylist()
        if None in labels:
            raise UserError(
                f"Row {labels.index(None)} of {url} has no label in column {label!r}. Name another with label=NAME."
            )
        told = json.dumps([image, label, find_class_names(schema, label), sizes, labels]).encode()
        remember(memory, told)
    image, label, names, sizes, labels = json.loads(told)
    return _Table(url, image, label, tuple(names) if names else None, tuple(sizes), labels, content, is_exact)


def _identify(info: Mapping[str, Any], url: str, place: str) -> tuple[str, bool]:
    """What tells a file from others, and whether that is a hash of its content, as the hub has one of each file."""
    if "mode" in info:  # It lies on this machine.
        path = Path(place)
        content = fingerprint_files([DataFile.find(path, path.parent)])
        return content, not content.startswith(SAMPLED)
    hashed = (info.get("lfs") or {}).get("sha256") or info.get("blob_id")
    told = hashed or info.get("ETag") or info.get("LastModified")
    return _hash([url.rpartition("/")[2], str(info.get("size")), str(told)]), hashed is not None


def _hash(texts: list[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _give(item: tuple[bytes, str]) -> tuple[bytes, str]:
    return item


DATASETS.add("huggingface_rows", DatasetSource(open_rows, HuggingFaceRowsKnobs))
