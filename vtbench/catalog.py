"""The catalogue of registered models: what each is, lets one choose and costs. Golden data, read without torch.

``make golden`` writes the file, see `vtbench.models.golden`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtbench.errors import UserError

CATALOG = Path(__file__).with_suffix(".json")
"""Where the golden data lie."""


@dataclass(frozen=True)
class Look:
    """How the members of one family are drawn; ``title`` is the family's name in a legend."""

    title: str
    color: str
    marker: str


@dataclass(frozen=True)
class OptionEntry:
    """One option: its default, and its allowed values, None where they are not a list."""

    name: str
    default: Any
    allowed: tuple[Any, ...] | None
    type: str
    description: str


@dataclass(frozen=True)
class CatalogEntry:
    """One preset, and what it costs per image at its own setting. ``image_size`` is (height, width) in pixels.

    ``look`` is that of its family, None if it states none. Of a library's model, which is not counted to be listed,
    ``params`` and ``macs`` are None, and ``num_classes`` where it does not classify. ``implied`` says what other
    options stand at with a value of one, by its spelling.
    """

    name: str
    family: str
    task: str
    twin: str | None
    image_size: tuple[int, int]
    num_classes: int | None
    params: int | None
    macs: int | None
    source: str
    look: Look | None
    options: tuple[OptionEntry, ...]
    implied: dict[str, dict[str, str]] = field(default_factory=dict)


def load_catalog() -> tuple[CatalogEntry, ...]:
    """Every preset, in the order of family and name. Raises ``UserError`` if the file cannot be read."""
    entries = []
    for entry in read_golden(CATALOG):
        options = tuple(
            OptionEntry(**{**option, "allowed": option["allowed"] and tuple(option["allowed"])})
            for option in entry.pop("options")
        )
        look = entry.pop("look")
        entries.append(CatalogEntry(**entry, look=look and Look(**look), options=options))
    return tuple(entries)


def read_golden(path: Path) -> list[dict[str, Any]]:
    """The entries of a file of golden costs, lists as tuples. Raises ``UserError`` if it cannot be read."""
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read the golden costs in {path.name}: {error}. Install vtbench anew.") from error
    return [{key: tuple(value) if isinstance(value, list) else value for key, value in one.items()} for one in entries]
