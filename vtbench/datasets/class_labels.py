"""What the labels of a data set are: numbers of classes, which every file and split must call alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.data_files import DataFile
from vtbench.datasets.dataset import DataError, Split
from vtbench.errors import UserError, format_names

_MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labels of some rows that lie in one ``place``, and what that calls the classes, if anything."""

    place: str
    labels: NDArray[np.int64]
    names: tuple[str, ...] | None


def read_labels(file: DataFile, column: str) -> NDArray[np.int64]:
    """The labels of all rows of ``file``. Raises `DataError` for a row without one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        values = pq.read_table(file.path, columns=[column]).column(column)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"The labels of {file.path} cannot be read: {error}. Replace the file.") from error
    if values.null_count:
        row = np.flatnonzero(values.is_null().to_numpy())[0]
        raise DataError(
            f"Row {row} of {file.path} has no label in column {column!r}, as have {values.null_count} of its "
            f"{len(values)} rows. Take them out, or label them."
        )
    labels = values.to_numpy()
    return labels.astype(np.int64) if len(labels) else np.zeros(0, np.int64)


def agree_on_names(
    parts: Mapping[Split, Sequence[Labelled]], column: str, spelling: str
) -> tuple[tuple[str, ...], dict[Split, NDArray[np.int64]]]:
    """The names of the classes and the labels of both splits, numbered alike.

    The first place's order of names counts; where another has the same names in another order, its labels are
    renumbered. Classes without any names are called by their numbers. Raises `DataError` for labels out of range, for
    places that name other classes, or none where others do.
    """
    every = [part for some in parts.values() for part in some]
    for split, some in parts.items():
        _check_rows(split, sum(len(part.labels) for part in some), spelling)
    for part in every:
        _check_from_zero(part, column, spelling)
    first = next((part for part in every if part.names is not None), None)
    if first is not None and first.names is not None:
        if twice := [name for at, name in enumerate(first.names) if name in first.names[:at]]:
            raise DataError(f"{first.place} calls two classes of column {column!r} {twice[0]!r}. Name them apart.")
        labels = {split: [_renumber(part, first, column) for part in some] for split, some in parts.items()}
        return first.names, {split: np.concatenate(some) for split, some in labels.items()}
    names = _number_classes(np.concatenate([part.labels for part in parts["train"]]))
    for part in every:
        _check_below(part, len(names), column)
    return names, {split: np.concatenate([part.labels for part in some]) for split, some in parts.items()}


def check_classes(names: Sequence[str], labels: Mapping[Split, NDArray[np.int64]], place: str, mend: str) -> None:
    """Raise ``UserError`` unless both whole splits have images of each of two classes or more.

    As many classes as training images are refused as well: then each image is a class of its own, as row numbers are.
    ``mend`` says what to do when the classes are not those that were meant.
    """
    for split, some in labels.items():
        _check_rows(split, len(some), place)
    if len(names) < 2:
        raise UserError(f"The train split of {place} has one class only, {names[0]!r}. To classify takes two or more.")
    if len(np.unique(labels["train"])) == len(labels["train"]):
        raise UserError(
            f"The train split of {place} has as many classes as images, {len(labels['train'])}: each image is a class "
            f"of its own, as if rows were numbered. {mend}"
        )
    for split, some in labels.items():
        missing = np.flatnonzero(np.bincount(some, minlength=len(names)) == 0)
        if len(missing):
            more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
            named = ", ".join(f"{label} ({format_names([names[label]])})" for label in missing[:_MOST_NAMED]) + more
            raise UserError(
                f"The {split} split of {place} has no image of {len(missing)} of the {len(names)} classes: {named}. "
                + (f"Give it some, or take the class out of both splits. {mend}" if split == "val" else mend)
            )


def _check_rows(split: Split, num_rows: int, place: str) -> None:
    if num_rows == 0:
        raise UserError(f"The {split} split of {place} has no rows. Give it images, or name another split.")


def _renumber(part: Labelled, first: Labelled, column: str) -> NDArray[np.int64]:
    assert first.names is not None
    if part.names is None:
        raise DataError(
            f"{part.place} does not name its classes, and {first.place} does ({_list(first.names)}), so that it cannot "
            "be seen whether both number them alike. Write the names into the metadata of all files, or of none."
        )
    _check_below(part, len(part.names), column)
    if part.names == first.names:
        return part.labels
    unknown, absent = set(part.names) - set(first.names), set(first.names) - set(part.names)
    if unknown or absent or len(set(part.names)) < len(part.names) or len(part.names) != len(first.names):
        differences = [
            f"only {one.place} has {_list(sorted(names))}" for one, names in ((part, unknown), (first, absent)) if names
        ]
        raise DataError(
            f"{part.place} names other classes in column {column!r} than {first.place}: "
            f"{' and '.join(differences) or 'one name stands twice'}. Name the same classes in every file."
        )
    return np.array([first.names.index(name) for name in part.names], np.int64)[part.labels]


def _number_classes(labels: NDArray[np.int64]) -> tuple[str, ...]:
    """Names for classes that have none: their numbers. A number beyond any sense is left to be reported."""
    return tuple(str(label) for label in range(min(int(labels.max(initial=0)), len(labels)) + 1))


def _check_from_zero(part: Labelled, column: str, spelling: str) -> None:
    wrong = part.labels < 0
    if not wrong.any():
        return
    row = int(wrong.argmax())
    said = f"Row {row} of {part.place} has the label {part.labels[row]} in column {column!r}"
    if (part.labels[wrong] == -1).all():
        said += (
            f", as have {int(wrong.sum())} of its {len(wrong)} rows: -1 stands for an image without a label. "
            f"Name a split with labels instead, with {spelling},val=NAME or train=NAME, or take such rows out; where "
            "there is none to validate on, hold some of the training images out."
        )
        raise DataError(said)
    raise DataError(f"{said}. Labels start at 0.")


def _check_below(part: Labelled, num_classes: int, column: str) -> None:
    wrong = part.labels >= num_classes
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"Row {row} of {part.place} has the label {part.labels[row]} in column {column!r}. There are {num_classes} "
            f"classes, 0 to {num_classes - 1}."
        )


def _list(names: Sequence[str]) -> str:
    return format_names(names, most=_MOST_NAMED)
