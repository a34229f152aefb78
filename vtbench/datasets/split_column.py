"""Tables whose rows tell of which split they are, in a column called ``split``.

Where no name of a file says it, the rows do. Where names do, rows that contradict them are refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.data_files import DataFile
from vtbench.datasets.dataset import DataError, Split
from vtbench.datasets.split_files import Wanted, list_split_words
from vtbench.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMN = "split"
_MOST_LISTED = 8


def find_split_column(schema: pa.Schema) -> str | None:
    """The column whose name and type say that it tells the split of each row."""
    import pyarrow as pa

    def is_text(kind: pa.DataType) -> bool:
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if column.name.lower() == _COLUMN and is_text(kind):
            return str(column.name)
    return None


def split_by_rows(
    files: Sequence[DataFile], column: str, wanted: Wanted, spelling: str
) -> tuple[dict[Split, NDArray[np.int64]], dict[str, str]]:
    """The rows of each split in ``files`` one after another, and what the column calls it.

    Raises ``UserError`` if a split has none, and for values that name no split unless those of both are ``wanted``.
    """
    values = np.concatenate([_read(file, column) for file in files])
    counts = Counter(values.tolist())
    listed = _list(counts)
    named: dict[Split, str | None] = {"train": wanted.train, "val": wanted.val}
    words = {value: list_split_words(value)[:1] for value in counts}
    if strange := [value for value, word in words.items() if not word and None in named.values()]:
        raise UserError(
            f"The column {column!r} of {spelling} has values that name no split, such as {strange[0]!r}: {listed}. "
            f"Name those to take with {spelling},train=VALUE,val=VALUE."
        )
    taken: dict[Split, list[str]] = {}
    for split, name in named.items():
        usual = (split,) if split == "train" else ("val", "test")
        by_word = ([value for value, word in words.items() if word == [one]] for one in usual)
        taken[split] = name.split("+") if name is not None else next(filter(None, by_word), [])
        if not any(value in counts for value in taken[split]) or not set(taken[split]) <= set(counts):
            raise UserError(
                f"No row of {spelling} is of the {split} split, by its column {column!r}: {listed}. Name the value of "
                f"those to take with {spelling},{split}=VALUE."
            )
    if both := set(taken["train"]) & set(taken["val"]):
        raise UserError(f"The rows of {spelling} with {column}={min(both)} are to be trained and validated on.")
    rows = {split: np.flatnonzero(np.isin(values, some)).astype(np.int64) for split, some in taken.items()}
    return rows, {split: f"{column}:{'+'.join(some)}" for split, some in taken.items()}


def check_rows_agree(files: Mapping[Split, Sequence[DataFile]], schemas: Mapping[DataFile, pa.Schema]) -> None:
    """Raise `DataError` when rows of a file that was taken for one split say that they are of another."""
    for split, some in files.items():
        for file in some:
            if (column := find_split_column(schemas[file])) is None:
                continue
            counts = Counter(_read(file, column).tolist())
            meant = list_split_words(file.name)[:1] or [split]
            if others := {value: n for value, n in counts.items() if list_split_words(value)[:1] not in ([], meant)}:
                raise DataError(
                    f"{file.path} is taken for the {split} split, and its column {column!r} says otherwise of "
                    f"{sum(others.values())} of its {counts.total()} rows: {_list(Counter(others))}. Name the file so "
                    "that it says no split, then its rows do, or take the column out."
                )


def check_row_agrees(value: str, name: str, place: str, column: str) -> None:
    """Raise `DataError` when the row at ``place``, of the split ``name``, says in ``column`` that it is of another."""
    said, meant = (list_split_words(text)[:1] for text in (value, name))
    if said and meant and said != meant:
        raise DataError(
            f"{place} says in the column {column!r} that it is of the split {value!r}, and the data have it in "
            f"{name!r}. Keep the splits in files of their own, or take the column out."
        )


def _read(file: DataFile, column: str) -> NDArray[np.str_]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        values = pq.read_table(file.path, columns=[column]).column(column)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"The column {column!r} of {file.path} cannot be read: {error}. Replace the file.") from error
    if values.null_count:
        raise DataError(
            f"{values.null_count} of the {len(values)} rows of {file.path} do not say in the column {column!r} of "
            "which split they are. Fill it, or take the rows out."
        )
    return np.array(values.to_pylist(), np.str_)


def _list(counts: Counter[str]) -> str:
    more = f" and {len(counts) - _MOST_LISTED} values more" if len(counts) > _MOST_LISTED else ""
    return ", ".join(f"{value!r} in {n:,} rows" for value, n in counts.most_common(_MOST_LISTED)) + more
