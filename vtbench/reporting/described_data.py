"""What data runs saw, in words: which set, at what size, how many images, and what kind of images they are."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from vtbench.records import CostRecord, RunRecord
from vtbench.reporting.outline import name_arm
from vtbench.units import format_items

Part = tuple[str, str, int]
"""A limited part of a split: ``training`` or ``validation``, of which data, and of how many images."""


def list_drawn(records: Sequence[RunRecord]) -> frozenset[Part]:
    """The parts of splits that each seed of an arm draws anew."""
    seen: dict[tuple[Part, str], set[str]] = {}
    for record in records:
        if record.certificate is not None:
            images = {"training": record.certificate.train_data, "validation": record.certificate.val_data}
            for part in _list_parts(record):
                seen.setdefault((part, name_arm(record)), set()).add(images[part[0]])
    return frozenset(part for (part, _), images in seen.items() if len(images) > 1)


def _list_parts(record: RunRecord) -> list[Part]:
    data = record.config.data
    limits = {"training": data.limit_train, "validation": data.limit_val}
    return [(split, data.spec, limit) for split, limit in limits.items() if limit is not None]


def describe_data(record: RunRecord, every_drawn: Collection[Part] = ()) -> str:
    """``scenes, 32 x 32 px: 4,000 training and 1,000 validation images, 10 classes``, and which of it is drawn."""
    drawn = [part[0] for part in _list_parts(record) if part in every_drawn]
    return (
        f"{record.config.data.spec}{_tell_size(record)}: {record.num_train:,} training and "
        f"{format_items(record.num_val, 'validation image')}, {format_items(record.num_classes, 'class', 'classes')}"
        + (f"; each seed draws its {' and '.join(drawn)} images anew from the split" if drawn else "")
    )


def find_size(record: RunRecord) -> tuple[int, int] | None:
    """Height and width of the images in pixels, as they were set, or as the network was counted at; None: unknown."""
    if (side := record.config.data.image_size) is not None:
        return side, side
    return record.costs.input_shape[1:] if isinstance(record.costs, CostRecord) else None


@cache
def describe_source(spec: str) -> str:
    """The first line of what the source of vtbench's own data says of it; empty for data in files of the user.

    >>> describe_source("scenes:clutter=8").partition(".")[0]
    'Scenes: find the two shapes that count'
    """
    kind, _, rest = spec.partition(":")
    package = find_spec("vtbench")
    if package is None or not package.submodule_search_locations or not kind.isidentifier():
        return ""
    file = Path(package.submodule_search_locations[0]) / "datasets" / "sources" / f"{kind}.py"
    lies_in_files = rest and "=" not in rest.partition(",")[0]
    if lies_in_files or not file.is_file():
        return ""
    return (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n")[0]


def _tell_size(record: RunRecord) -> str:
    size = find_size(record)
    return "" if size is None else f", {size[0]} x {size[1]} px"
