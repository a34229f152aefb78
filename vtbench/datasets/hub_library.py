"""The library ``datasets`` of Hugging Face as sources of data use it: what it finds, and what it says.

Messages name what the user asked for by its ``spelling``, the source and the path: ``huggingface:uoft-cs/cifar10``.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from PIL import Image

from vtbench.datasets.data_files import resolve_folder
from vtbench.datasets.dataset import Split
from vtbench.datasets.split_files import check_exports, check_one_subset
from vtbench.datasets.walking import is_left_behind
from vtbench.errors import UserError, did_you_mean, format_names
from vtbench.files import expand_home, resolve

if TYPE_CHECKING:
    import pyarrow as pa

    from vtbench.datasets.sources.huggingface import HuggingFaceKnobs

_OLDEST = 3
_READERS = 16
_TABLES = frozenset({"arrow", "csv", "json", "parquet"})
_DATA = frozenset({".jsonl", ".tar", ".zip", ".gz", ".txt", ".xml", *(f".{kind}" for kind in _TABLES)})
_MOST_OTHER_FILES = 20_000
# The smaller split first: what is wrong with the data is then seen before the larger is fetched.
USUAL_SPLITS: dict[Split, tuple[str, ...]] = {
    "val": ("validation", "valid", "val", "dev", "test"),
    "train": ("train", "training"),
}
# Of the exceptions' classes, by name, because which library fetches differs between versions of ``datasets``.
_OF_THE_NETWORK = frozenset(
    {"ConnectionError", "TimeoutError", "Timeout", "TransportError", "ClientConnectionError", "gaierror"}
)


class Footer(NamedTuple):
    """Path, number of rows and columns of a parquet file."""

    file: str
    num_rows: int
    schema: pa.Schema


class Asked(Protocol):
    """Which data set, subset and splits a user names, for whatever reads them."""

    @property
    def path(self) -> str:
        """A name on the hub or a folder."""

    @property
    def spelling(self) -> str:
        """The source that reads it, and the path."""

    @property
    def config(self) -> str | None:
        """The subset."""

    @property
    def train(self) -> str | None:
        """The split to train on."""

    @property
    def val(self) -> str | None:
        """The split to validate on."""


class UnreachableHubError(UserError):
    """The hub gave no answer, whatever the cause."""


def import_library(spelling: str) -> Any:
    mend = f"{spelling} needs the library datasets, version {_OLDEST} or newer: pip install 'vtbench[huggingface]'."
    try:
        import datasets
    except ImportError:
        raise UserError(mend) from None
    if not hasattr(datasets, "load_dataset_builder"):  # Any folder "datasets" beside a script can be imported.
        raise UserError(f"{mend} What is imported by that name is {getattr(datasets, '__path__', datasets)}.")
    if int(datasets.__version__.partition(".")[0]) < _OLDEST:
        raise UserError(f"{mend} Installed is {datasets.__version__}.")
    return datasets


def locate(spelling: str) -> str:
    """The folder if the path is one, else the name as it stands, for the hub."""
    source, _, path = spelling.partition(":")
    found = expand_home(path)
    if found.is_file():
        raise UserError(
            f"{found} is a file; {source}: takes a name on the hub or a folder. For parquet files write "
            "parquet:PATH. Scripts that load data are never run."
        )
    if found.is_dir() or found.is_absolute() or path.startswith("."):
        folder = resolve_folder(path, source)
        _check_holds_data(folder)
        return str(folder)
    return path


def _check_holds_data(folder: Path) -> None:
    """Raise ``UserError`` for a folder of much else: the library goes through all of it dozens of times."""
    num_data = num_others = 0
    for _, _, names in os.walk(folder):
        suffixes = [Path(name).suffix.lower() for name in names]
        of_data = sum(suffix in _DATA or suffix in Image.registered_extensions() for suffix in suffixes)
        num_data, num_others = num_data + of_data, num_others + len(names) - of_data
        if num_others >= _MOST_OTHER_FILES and num_others > num_data:
            raise UserError(
                f"The folder {folder} holds much else than data: of the first {num_data + num_others:,} files beneath "
                f"it {num_others:,} are no images, tables or archives. Give the folder of the data alone."
            )


def open_builder(hub: Any, knobs: Asked, path: str) -> Any:
    takes = inspect.signature(hub.load_dataset_builder).parameters
    foreign_code = {"trust_remote_code": False} if "trust_remote_code" in takes else {}
    with explained(knobs.spelling):
        return hub.load_dataset_builder(path, knobs.config, **foreign_code)


def choose_splits(knobs: Asked, builder: Any) -> dict[Split, str]:
    """The library's name of each split."""
    there = [str(name) for name in builder.config.data_files or builder.info.splits or ()]
    chosen: dict[Split, str] = {}
    for split, usual in USUAL_SPLITS.items():
        wanted: str | None = getattr(knobs, split)
        found = next((name for name in ([wanted] if wanted else usual) if name in there), None)
        if found is None and wanted:
            raise UserError(f"{knobs.spelling} has no split {wanted!r}. {did_you_mean(wanted, there)}")
        if found is None:
            raise UserError(
                f"{knobs.spelling} has no {split} split by its name; it has {format_names(there) or 'none'}. "
                f"Name one with {knobs.spelling},{split}=NAME."
            )
        chosen[split] = found
    if chosen["train"] == chosen["val"]:
        raise UserError(
            f"{knobs.spelling} is to be trained and validated on the same split, {chosen['train']!r}. "
            f"Name another with train= or val=; there are {format_names(there)}."
        )
    return chosen


def load_tables(knobs: HuggingFaceKnobs, builder: Any, chosen: Mapping[Split, str]) -> dict[Split, Any]:
    """The library's data set of each split: an iterable one that fetches as it goes, or one on the disk."""
    with explained(knobs.spelling):
        if knobs.streaming == "on":
            tables = builder.as_streaming_dataset()
            return {split: tables[name] for split, name in chosen.items()}
        builder.download_and_prepare()
        return {split: builder.as_dataset(split=name) for split, name in chosen.items()}


def check_files(knobs: Asked, path: str, builder: Any, chosen: Mapping[Split, str]) -> None:
    """Raise ``UserError`` for files that the library would take wrongly: twice, or though they are no data.

    It finds splits in any part of a path, so that ``test/train/1.png``, of a class called train, is of both. That
    tables are not certainly of one export is seen in a local folder alone, where no README.md says which files count.
    """
    root, spelling = resolve(path), knobs.spelling
    files = {split: list_files(builder, name) for split, name in chosen.items()}
    if both := sorted(set(files["train"]) & set(files["val"])):
        raise UserError(
            f"The library datasets would take {len(both)} files of {spelling} for both splits, the first {both[0]}, "
            "because it finds the names of splits in any part of a path, such as a class that is called train. Rename "
            f"those folders, or write folder:{knobs.path}."
        )
    if not root.is_dir() or any(not Path(name).is_relative_to(root) for names in files.values() for name in names):
        return
    inside = {split: [Path(name).relative_to(root).as_posix() for name in names] for split, names in files.items()}
    for names in inside.values():
        if left := [name for name in names if any(map(is_left_behind, name.split("/")))]:
            raise UserError(
                f"Of the {len(names)} files that the library datasets would take of {spelling}, {len(left)} were left "
                f"behind by a system or program, the first {left[0]}. Take them away, or write folder:{knobs.path}."
            )
    card = root / "README.md"
    declared = card.is_file() and re.search(r"^configs:", card.read_text("utf-8", errors="replace"), re.MULTILINE)
    if builder.name in _TABLES and not declared:
        check_exports(inside, spelling, f"{spelling}/")
        if knobs.train is None or knobs.val is None:
            check_one_subset(inside, spelling)


def read_footers(knobs: HuggingFaceKnobs, builder: Any, name: str) -> tuple[Footer, ...]:
    """What the tables of the split ``name`` say of themselves, parquet or Arrow; of other kinds of files, nothing.

    The library reads what the first file says alone and takes it for that of all files of all splits.
    """
    import fsspec

    read = {"parquet": _read_parquet_footer, "arrow": _read_arrow_footer}.get(builder.name)
    if read is None:
        return ()

    def open_and_read(file: str) -> Footer:
        with fsspec.open(file, "rb") as stream:
            num_rows, schema = read(stream)
            return Footer(file, num_rows, schema)

    with explained(knobs.spelling), ThreadPoolExecutor(_READERS) as pool:
        return tuple(pool.map(open_and_read, list_files(builder, name)))


def _read_parquet_footer(stream: Any) -> tuple[int, pa.Schema]:
    import pyarrow.parquet as pq

    opened = pq.ParquetFile(stream)
    return opened.metadata.num_rows, opened.schema_arrow


def _read_arrow_footer(stream: Any) -> tuple[int, pa.Schema]:
    """Of a file for random access or, as ``save_to_disk`` writes it, a stream: that is read through to count rows."""
    import pyarrow as pa

    try:
        reader = pa.ipc.open_stream(stream)
        return sum(batch.num_rows for batch in reader), reader.schema
    except pa.ArrowInvalid:
        stream.seek(0)
        reader = pa.ipc.open_file(stream)
        return sum(reader.get_batch(number).num_rows for number in range(reader.num_record_batches)), reader.schema


def count_images(builder: Any, name: str) -> int:
    """Image files of the split ``name`` of a folder, by their endings."""
    return sum(Path(file).suffix.lower() in Image.registered_extensions() for file in list_files(builder, name))


def list_files(builder: Any, name: str) -> list[str]:
    """Paths or addresses of the files of the split ``name``."""
    files = builder.config.data_files
    return [str(file) for file in files.get(name, ())] if isinstance(files, dict) else []


def iterate(spelling: str, table: Any) -> Iterator[dict[str, Any]]:
    rows = iter(table)
    while True:
        with explained(spelling):
            cells = next(rows, None)
        if cells is None:
            return
        yield cells


@contextmanager
def without_progress_bars(hub: Any) -> Iterator[None]:
    if hub.utils.are_progress_bars_disabled():
        yield
        return
    hub.utils.disable_progress_bars()
    try:
        yield
    finally:
        hub.utils.enable_progress_bars()


@contextmanager
def explained(spelling: str) -> Iterator[None]:
    """Turn whatever the library raises into one paragraph; it and its readers raise many kinds of exception."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise _explain(spelling, error) from error


def _explain(spelling: str, error: Exception) -> UserError:
    source, _, path = spelling.partition(":")
    said = " ".join(_say(cause) for cause in (error, error.__cause__) if cause is not None)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "DatasetNotFoundError" in kinds:
        return UserError(
            f"The Hugging Face hub has no data set {path!r}, or does not show it to you, and there is no folder of "
            f"that name here: {said} Check the name; for a private or gated one, log in with: hf auth login."
        )
    if _is_of_the_network(error):
        return UnreachableHubError(
            f"{spelling} could not be fetched, because the Hugging Face hub cannot be reached: {said} Check "
            f"the network and run again, or give a local folder, {source}:PATH. The data set scenes needs none."
        )
    if "FileNotFoundError" in kinds:
        return UserError(
            f"{spelling} is neither a name on the Hugging Face hub (OWNER/NAME) nor a folder with data that "
            f"the library datasets can read: {said}"
        )
    mend = " Choose a subset with config=NAME." if "config" in said.lower() else ""
    return UserError(f"The library datasets cannot read {spelling}: {said}{mend}")


def _say(error: BaseException) -> str:
    return f"{(' '.join(str(error).split()) or type(error).__name__).rstrip('.')}."


def _is_of_the_network(error: BaseException | None) -> bool:
    while error is not None:
        if any(kind.__name__ in _OF_THE_NETWORK for kind in type(error).__mro__):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False
