"""What stands in the way of a verb's files: it replaces what it wrote of the same before, and asks for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vtbench.records import Record

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files of others that are there.")]


def refuse_replacing(folder: Path, names: Sequence[str], is_same: Callable[[Path], bool], *, of: str) -> None:
    """Raise ``UserError`` where ``folder`` has one of ``names``, unless the first of them says that it is of the same.

    ``of`` says of what the new files are.
    """
    from vtbench.errors import UserError

    there = [folder / name for name in names if (folder / name).exists()]
    if there and not (there[0] == folder / names[0] and is_same(there[0])):
        raise UserError(
            f"{there[0]} is there already and is not of {of}: it would be replaced. Give another --out, or --overwrite."
        )


def says(kind: type[Record], **wanted: Any) -> Callable[[Path], bool]:
    """Whether a file is such a record and has these values."""

    def is_same(path: Path) -> bool:
        from vtbench.errors import UserError
        from vtbench.records import load_record

        try:
            record = load_record(path, kind)
        except UserError:
            return False
        return all(getattr(record, name) == value for name, value in wanted.items())

    return is_same
