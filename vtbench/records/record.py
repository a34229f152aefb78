"""Base of all records, and their file format: JSON with sorted keys, one object a file or a line."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vtbench.documents.table import spell_bytes
from vtbench.errors import UserError
from vtbench.files import publish_text, read_file
from vtbench.written import Written


class Record(Written):
    """Base of all records. What is no number comes to the writer as such, which refuses it."""

    model_config = ConfigDict(ser_json_inf_nan="constants")


R = TypeVar("R", bound=Written)


class NotMeasured(Record):
    """The place of a number that could not be had."""

    reason: str


def to_json(record: Record | Iterable[Record]) -> str:
    """The record, or a list of records, as JSON text with sorted keys and a newline at the end."""
    plain: Any = (
        record.model_dump(mode="json") if isinstance(record, Record) else [r.model_dump(mode="json") for r in record]
    )
    return spell_bytes(json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)) + "\n"


def save_record(path: Path, record: Record) -> None:
    """Write one record to ``path``, whole or not at all."""
    publish_text(path, to_json(record))


def load_record(path: Path, kind: type[R]) -> R:
    """Read what `save_record` wrote. Raises ``UserError`` naming the file if it is missing, torn or of another kind.

    >>> save_record(Path("latency.json"), NotMeasured(reason="no GPU"))
    >>> load_record(Path("latency.json"), NotMeasured)
    NotMeasured(reason='no GPU')
    """
    try:
        return kind.from_json(read_file(path))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is not a {kind.__name__}: {where}: {first['msg']}.") from error


def load_list(path: Path, kind: type[R]) -> list[R]:
    """Read records that `to_json` wrote as one list. Raises ``UserError`` naming the file if it holds anything else."""
    try:
        return _list_of(kind).validate_json(read_file(path))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except ValidationError as error:
        raise UserError(f"{path} is no list of {kind.__name__}s: {error.errors()[0]['msg']}.") from error


def load_table(path: Path, kind: type[R]) -> tuple[R, ...]:
    """The rows of a CSV file, each a record whose fields are the columns."""
    with path.open(encoding="utf-8", newline="") as stream:
        return tuple(kind.model_validate(row) for row in csv.DictReader(stream))


def save_lines(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON Lines, one object a line, whole or not at all."""
    publish_text(path, "".join(_to_line(record.model_dump(mode="json")) for record in records))


def load_lines(path: Path, kind: type[R]) -> list[R]:
    """Read what `save_lines` wrote. Raises ``UserError`` naming the file, and the line, if it is damaged."""
    try:
        return _parse_lines(read_file(path), path, kind, "Remove it, or put back what it was")
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error


@contextmanager
def append_lines(path: Path, kind: type[R]) -> Iterator[tuple[list[R], Callable[[R], None]]]:
    """The records that ``path`` holds, and a function that adds one to its end and has it on the disk when it returns.

    A last line that was cut short, because the process was killed while it wrote it, is dropped; the file is made if it
    is missing. Raises ``UserError`` naming the line if the file holds anything else, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            stream.seek(0)
            whole, _, torn = stream.read().rpartition(b"\n")
            records = _parse_lines(whole, path, kind, "Name another file")
            if torn:
                _check_torn(torn, path, kind)
                stream.truncate(len(whole) + bool(whole))
            yield records, lambda record: _append(stream, record)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}. Name another file.") from error


def _parse_lines(text: bytes, path: Path, kind: type[R], mend: str) -> list[R]:
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    with suppress(ValidationError):  # All at once takes half the time; what is damaged is looked for line by line.
        read = _list_of(kind).validate_json(b"[" + b",".join(lines) + b"]")
        if len(read) == len(lines) and all(line[:1] == b"{" and line[-1:] == b"}" for line in lines):
            return read
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(kind.from_json(line))
        except ValidationError as error:
            raise UserError(
                f"{path} is no file of {kind.__name__}s: line {number}: {error.errors()[0]['msg']}. {mend}."
            ) from error
    return records


@cache
def _list_of(kind: type[R]) -> TypeAdapter[list[R]]:
    return TypeAdapter(list[kind])  # type: ignore[valid-type]


def _check_torn(torn: bytes, path: Path, kind: type[Written]) -> None:
    """Raise ``UserError`` where the last line was not begun as a record is: then the file is not ours to cut."""
    if not torn.startswith(b'{"'[: len(torn)]):
        raise UserError(f"{path} is no file of {kind.__name__}s: its last line is none. Name another file.")
    try:
        kind.from_json(torn)
    except ValidationError as error:
        if error.errors()[0]["type"] != "json_invalid":
            raise UserError(
                f"{path} is no file of {kind.__name__}s: its last line: {error.errors()[0]['msg']}. Name another file."
            ) from error


def _to_line(plain: Any) -> str:
    return spell_bytes(json.dumps(plain, sort_keys=True, ensure_ascii=False, allow_nan=False)) + "\n"


def _append(stream: IO[bytes], record: Written) -> None:
    stream.write(_to_line(record.model_dump(mode="json", exclude_defaults=True)).encode())
    stream.flush()
    os.fsync(stream.fileno())
