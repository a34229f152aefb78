"""Which columns of a table hold images, labels and masks: those that the user names, or whose own names say it.

A column is taken by a usual name, or where Hugging Face's ``datasets`` left word in the metadata that it holds images
or classes; never because no other is left. A usual name with a type that cannot be is refused, and so are two that can.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vtbench.datasets.data_files import DataFile
from vtbench.datasets.dataset import DataError
from vtbench.errors import UserError, did_you_mean, format_names

if TYPE_CHECKING:
    import pyarrow as pa

USUAL_MASK_NAMES = ("annotation", "mask", "segmentation", "label_image", "semantic_mask")
"""What a column of masks may be called."""
_USUAL_LABEL_NAMES = ("label", "labels", "fine_label", "target", "class", "category", "cls")
_IMAGES = "bytes, or {bytes, path}"
_NEVER = re.compile(
    r"(?<![a-z])(annotations?|depth|file(name)?|k?folds?|u?u?id|idx|index|masks?|path|row|segmentation|split|thumb(nail)?"
    r"|unnamed)(?![a-z])"
)
"""Words in the names of columns that are neither what is seen nor what is to be told, whatever their type."""


@dataclass(frozen=True)
class _Role:
    """What a column is to be: the names that say so, the types that can be, and the feature of ``datasets``."""

    name: str
    usual: tuple[str, ...]
    fits: Callable[[pa.DataType], bool]
    kind: str
    feature: str


def read_schema(file: DataFile) -> pa.Schema:
    """The columns of one file. Raises `DataError` when it is no parquet file, and where two columns have one name."""
    import pyarrow as pa  # Here and below: a run on other data should not load it.
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file.path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file.path} cannot be read as a parquet file: {error}. Replace it, or take it away."
        ) from error
    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise DataError(
            f"{file.path} has several columns of the name {format_names(twice)}. Rename all but one of them."
        )
    return schema


def find_image_column(place: str, schema: pa.Schema, wanted: str | None, spelling: str = "parquet:PATH") -> str:
    """The column of images: ``wanted``, or the one whose name or metadata says so.

    Messages call the table ``place``, and its data set, as ``--data`` takes it, ``spelling``.
    """
    return _choose(place, schema, wanted, _IMAGE, spelling)


def find_label_column(place: str, schema: pa.Schema, wanted: str | None, spelling: str = "parquet:PATH") -> str:
    """The column of labels: ``wanted``, or the one whose name or metadata says so."""
    return _choose(place, schema, wanted, _LABEL, spelling)


def find_mask_columns(
    place: str, schema: pa.Schema, image: str | None, mask: str | None, spelling: str = "parquet:PATH"
) -> tuple[str, str]:
    """The columns of images and of masks: those named, or whose names say so. Messages as `find_image_column`."""
    if mask is None and not any(_holds_images(schema.field(name).type) for name in _list_usual(schema, _MASK.usual)):
        usual = (*_MASK.usual, *_LABEL.usual)
        mask = next((name for name in _list_usual(schema, usual) if _holds_images(schema.field(name).type)), None)
    mask = _choose(place, schema, mask, _MASK, spelling)
    return find_image_column(place, schema.remove(schema.get_field_index(mask)), image, spelling), mask


def shows_masks(schema: pa.Schema) -> bool:
    """Whether a table holds masks, and no column whose name or metadata says that it holds labels."""
    masks = any(_holds_images(schema.field(schema.names.index(name)).type) for name in _list_usual(schema, _MASK.usual))
    return masks and not _list_usual(schema, _LABEL.usual) and not _list_declared(schema, _LABEL)


def check_column(file: DataFile, schema: pa.Schema, column: str, kind: pa.DataType, first: DataFile) -> None:
    """Raise `DataError` unless ``file`` has the ``column`` that was found in ``first``, and of its ``kind``."""
    if column not in schema.names:
        raise DataError(
            f"{file.path} has no column {column!r}, which {first.path} has. Its columns: {_list_columns(schema)}. "
            "Files of one data set have the same columns."
        )
    found = schema.field(column).type
    if not any(fits(kind) and fits(found) for fits in (_holds_images, _holds_integers)):
        raise DataError(
            f"The column {column!r} holds {_shorten(str(found))} in {file.path} and {_shorten(str(kind))} in "
            f"{first.path}. Files of one data set hold the same."
        )


def find_class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """The names of the classes, if Hugging Face's ``datasets`` left them in the metadata of the file."""
    names = _read_feature(schema, label).get("names")
    return tuple(map(str, names)) if isinstance(names, list) and names else None


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


def _holds_images(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _holds_images(kind.field(at).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_integers(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind))


_IMAGE = _Role("image", ("image", "img", "images", "picture", "photo", "jpg", "png"), _holds_images, _IMAGES, "Image")
_LABEL = _Role("label", _USUAL_LABEL_NAMES, _holds_integers, "integers", "ClassLabel")
_MASK = _Role("mask", USUAL_MASK_NAMES, _holds_images, _IMAGES, "")


def _choose(place: str, schema: pa.Schema, wanted: str | None, role: _Role, spelling: str) -> str:
    columns, name = f"Its columns: {_list_columns(schema)}.", role.name
    mend = f"Name the one of {name}s with {spelling},{name}=NAME."
    if wanted is not None:
        if schema.names.count(wanted) != 1:
            raise UserError(f"{place} has no column {wanted!r}. {did_you_mean(wanted, schema.names)}")
        if not role.fits(schema.field(wanted).type):
            raise UserError(_explain_unfit(place, schema, wanted, role, f"{columns}"))
        return wanted
    usual = _list_usual(schema, role.usual)
    if twice := [one for one in usual if schema.names.count(one) > 1]:
        raise UserError(
            f"{place} has {schema.names.count(twice[0])} columns called {twice[0]!r}. Rename them. {columns}"
        )
    fit = [one for one in usual if role.fits(schema.field(one).type)]
    declared = _list_declared(schema, role)
    if usual and usual[0] not in fit:
        raise UserError(_explain_unfit(place, schema, usual[0], role, f"{mend} {columns}"))
    found = [one for one in fit if one in declared] or fit or declared
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{place} has several columns that may be of {name}s: {format_names(found)}. {mend} {columns}")
    if role is _LABEL and shows_masks(schema):
        mend += f" For masks, write {spelling},num_classes=NUMBER."
    names = ", ".join(role.usual[:-1])
    raise UserError(
        f"{place} has no column of {name}s by its name, such as {names} or {role.usual[-1]}, with {role.kind}. "
        f"{mend} {columns}"
    )


def _explain_unfit(place: str, schema: pa.Schema, column: str, role: _Role, mend: str) -> str:
    import pyarrow as pa

    kind = schema.field(column).type
    said = f"The column {column!r} of {place} holds {_shorten(str(kind))}, but {role.name}s are {role.kind}."
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    if role is _LABEL and (pa.types.is_string(values) or pa.types.is_large_string(values)):
        said += " Number the classes from 0."
    elif role is _LABEL and _holds_images(kind):
        said += f" If they are masks, write mask={column} and num_classes=NUMBER."
    elif role is not _LABEL and pa.types.is_string(kind):
        said += " Write the content of the files into the table, not their paths."
    return f"{said} {mend}"


def _list_usual(schema: pa.Schema, usual: Sequence[str]) -> list[str]:
    """Columns with these names, in any case, in the order of ``usual``."""
    return [column for name in usual for column in schema.names if column.lower() == name]


def _list_declared(schema: pa.Schema, role: _Role) -> list[str]:
    """Columns that the metadata give this role, save those whose names say that they are something else."""
    return [
        field.name
        for field in schema
        if role.fits(field.type)
        and _read_feature(schema, field.name).get("_type") == role.feature
        and not _NEVER.search(field.name.lower())
    ]


def _read_feature(schema: pa.Schema, column: str) -> dict[str, Any]:
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return feature if isinstance(feature, dict) else {}


def _list_columns(schema: pa.Schema) -> str:
    return ", ".join(f"{format_names([field.name])} ({_shorten(str(field.type))})" for field in schema)


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
