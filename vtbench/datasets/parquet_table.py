"""Which columns of a table hold images and labels, and what they hold, as Hugging Face and others write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vtbench.datasets.data_files import DataFile
from vtbench.datasets.dataset import DataError
from vtbench.errors import UserError, did_you_mean

_USUAL_IMAGE_NAMES = ("image", "img")
_IMAGES = "bytes, or {bytes, path}"
USUAL_MASK_NAMES = ("annotation", "mask", "segmentation", "label_image", "semantic_mask")
"""What a column of masks may be called."""
_USUAL_LABEL_NAMES = ("label", "labels", "fine_label", "target", "class")


def read_schema(file: DataFile) -> pa.Schema:
    """The columns of one file. Raises `DataError` when it is no parquet file."""
    try:
        return pq.read_schema(file.path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file.path} cannot be read as a parquet file: {error}. Replace it, or take it away."
        ) from error


def find_image_column(place: str, schema: pa.Schema, wanted: str | None, spelling: str = "parquet:PATH") -> str:
    """The column of images: ``wanted``, or the one that can be, or the one of those with a usual name.

    Messages call the table ``place``, and its data set, as ``--data`` takes it, ``spelling``.
    """
    able = [field.name for field in schema if _holds_images(field.type)]
    return _choose(place, schema, wanted, able, _USUAL_IMAGE_NAMES, spelling, "image", _IMAGES)


def find_label_column(place: str, schema: pa.Schema, wanted: str | None, spelling: str = "parquet:PATH") -> str:
    """The column of labels: ``wanted``, or the one of integers, or the one of those with a usual name."""
    able = [field.name for field in schema if pa.types.is_integer(field.type)]
    return _choose(place, schema, wanted, able, _USUAL_LABEL_NAMES, spelling, "label", "integers")


def find_mask_columns(
    place: str, schema: pa.Schema, image: str | None, mask: str | None, spelling: str = "parquet:PATH"
) -> tuple[str, str]:
    """The columns of images and of masks: those named, or the two that can be. Messages as `find_image_column`."""
    able = [field.name for field in schema if _holds_images(field.type) and field.name != image]
    usual = (*USUAL_MASK_NAMES, *_USUAL_LABEL_NAMES)
    if mask is None and not set(able) & set(usual):
        listing = ", ".join(schema.names)
        raise UserError(
            f"{place} has no column of masks by its name. Name it with {spelling},mask=NAME. Its columns: {listing}."
        )
    named = able if mask is not None else [name for name in able if name in usual]
    mask = _choose(place, schema, mask, named, usual, spelling, "mask", _IMAGES)
    return find_image_column(place, schema.remove(schema.get_field_index(mask)), image, spelling), mask


def shows_masks(schema: pa.Schema) -> bool:
    """Whether a table holds masks and no labels, by its columns."""
    masks = any(field.name in USUAL_MASK_NAMES and _holds_images(field.type) for field in schema)
    return masks and not any(pa.types.is_integer(field.type) for field in schema)


def find_class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """The names of the classes, if Hugging Face's ``datasets`` left them in the metadata of the file."""
    try:
        names = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, ValueError, TypeError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def read_labels(files: Sequence[DataFile], column: str) -> NDArray[np.int64]:
    """The labels of all rows of ``files``. Raises `DataError` for a row without one, or with a negative one."""
    parts = []
    for file in files:
        try:
            values = pq.read_table(file.path, columns=[column]).column(column)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"The labels of {file.path} cannot be read: {error}. Replace the file.") from error
        if values.null_count:
            row = np.flatnonzero(values.is_null().to_numpy())[0]
            raise DataError(
                f"Row {row} of {file.path} has no label in column {column!r}. Take the row out, or label it."
            )
        labels = values.to_numpy()
        _check(labels < 0, labels, str(file.path), column, "Labels start at 0.")
        parts.append(labels.astype(np.int64))
    return np.concatenate(parts)


def check_below(labels: NDArray[np.int64], num_classes: int, files: Sequence[DataFile], column: str) -> None:
    """Raise `DataError` for the first label that is not in ``range(num_classes)``, naming the file and row."""
    start = 0
    for file in files:
        part = labels[start : start + pq.read_metadata(file.path).num_rows]
        check_range(part, num_classes, str(file.path), column)
        start += len(part)


def check_range(labels: NDArray[np.int64], num_classes: int, place: str, column: str) -> None:
    """Raise `DataError` for the first of ``labels``, the rows of ``place``, that is not in ``range(num_classes)``."""
    _check(labels < 0, labels, place, column, "Labels start at 0.")
    _check(labels >= num_classes, labels, place, column, f"There are {num_classes} classes, 0 to {num_classes - 1}.")


def number_classes(labels: NDArray[np.int64]) -> tuple[str, ...]:
    """Names for classes that have none: their numbers. A number beyond any sense is left to be reported."""
    return tuple(str(label) for label in range(min(int(labels.max(initial=0)), len(labels)) + 1))


def check_classes(
    names: tuple[str, ...], labels: NDArray[np.int64], place: str, column: str, spelling: str = "parquet:PATH"
) -> None:
    """Raise ``UserError`` unless there are two classes or more and every one has an image in the train split."""
    where = f"The train split in {place} (column {column!r})"
    if len(labels) == 0:
        raise UserError(f"{where} has no rows.")
    missing = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)
    if len(missing):
        named = ", ".join(f"{label} ({names[label]})" for label in missing[:5])
        raise UserError(
            f"{where} has no image of {len(missing)} of the {len(names)} classes: {named}. Number the classes from 0 "
            f"without gaps, or name another column with {spelling},label=NAME."
        )
    if len(names) < 2:
        raise UserError(f"{where} has one class only. To classify takes two or more.")


def extract_bytes(value: dict[str, Any] | bytes | None, name: str) -> bytes:
    """The image file that a cell holds. Raises `DataError` when it is empty."""
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is None:
        path = value.get("path") if isinstance(value, dict) else None
        said = f"only the path {path!r}" if path else "nothing"
        raise DataError(
            f"The image {name} holds {said}, not the bytes of an image. Write the bytes into the parquet file."
        )
    return bytes(data)


def _check(wrong: NDArray[np.bool_], labels: NDArray[Any], place: str, column: str, allowed: str) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"Row {row} of {place} has the label {labels[row]} in column {column!r}. {allowed}")


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _holds_images(kind.field(at).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _choose(
    place: str,
    schema: pa.Schema,
    wanted: str | None,
    able: list[str],
    usual: tuple[str, ...],
    spelling: str,
    role: str,
    kind: str,
) -> str:
    listing = ", ".join(f"{field.name} ({_shorten(str(field.type))})" for field in schema)
    if wanted is not None:
        if wanted not in schema.names:
            raise UserError(f"{place} has no column {wanted!r}. {did_you_mean(wanted, schema.names)}")
        if wanted not in able:
            found = _shorten(str(schema.field(wanted).type))
            raise UserError(
                f"The column {wanted!r} of {place} holds {found}, but {role}s are {kind}. Its columns: {listing}."
            )
        return wanted
    if len(able) == 1:
        return able[0]
    for name in usual:
        if name in able:
            return name
    cause = f"has several columns of {kind}" if able else f"has no column of {kind}"
    mend = f"Name the one of {role}s with {spelling},{role}=NAME" if able else f"An {role} column is needed"
    raise UserError(f"{place} {cause}. {mend.replace('An label', 'A label')}. Its columns: {listing}.")


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
