"""Where data sets are registered, and how each is spelt: ``scenes:clutter=8`` or ``parquet:PATH,label=y``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vtbench.datasets.dataset import ImageSplit, Split
from vtbench.errors import UserError
from vtbench.files import expand_home
from vtbench.plugins import PLUGINS
from vtbench.registry import Registry, UnknownNameError
from vtbench.variants import spell_variant, split_options
from vtbench.written import Configuration, validate_configuration


class Knobs(Configuration):
    """Base of what the user may choose of one data set: one field, one knob.

    A data set that lies in the user's files has a field ``path: str``, which is spelt first and without its name; one
    with a title names what can be had from elsewhere.
    """


@dataclass(frozen=True)
class DatasetSource:
    """One registered data set: ``open(knobs, image_size)`` gives both splits; ``image_size`` None takes its own.

    It raises ``UserError`` when something is wrong with either split, before anything is decoded.
    """

    open: Callable[[Any, int | None], dict[Split, ImageSplit]]
    knobs: type[Knobs]


DATASETS: Registry[DatasetSource] = Registry("data set")
"""Every data set that ``--data`` can name. Importing ``vtbench.datasets`` fills it."""


def list_datasets() -> tuple[str, ...]:
    """How ``--data`` names each data set: ``scenes``, or ``folder:PATH`` where it lies in the user's files."""
    paths = {name: DATASETS[name].knobs.model_fields.get("path") for name in DATASETS}
    return tuple(name if path is None else f"{name}:{path.title or 'PATH'}" for name, path in paths.items())


def parse_dataset(text: str) -> tuple[DatasetSource, Knobs, str]:
    """Find the source and its knobs for what ``--data`` was given, and the canonical spelling of both."""
    name, _, tail = text.strip().partition(":")
    try:
        source = DATASETS[name]
    except UnknownNameError as error:
        if not _lies_there(text.strip()):
            raise
        kinds = " or ".join(f"{kind}:{text.strip()}" for kind in _guess_kinds(text.strip()))
        raise UserError(f"{text!r} is a file or folder. Say what kind of data it holds: {kinds}.") from error
    known = source.knobs.model_fields
    path: dict[str, str] = {}
    if "path" in known:
        path["path"], tail = _split_path(name, tail, [knob for knob in known if knob != "path"])
    given = split_options(text, tail, noun="knob", example=_EXAMPLE)
    knobs = validate_configuration(source.knobs, {**given, **path}, source=f"The data set {name!r}", noun="knob")
    return source, knobs, _spell(name, knobs)


def _guess_kinds(path: str) -> tuple[str, ...]:
    return ("webdataset",) if path.lower().endswith(".tar") else ("folder", "parquet")


def _lies_there(text: str) -> bool:
    try:
        return expand_home(text).exists()
    except (OSError, RuntimeError, ValueError):  # A name too long for any file, the home of nobody, a zero byte.
        return False


def may_have_moved(before: str, now: str) -> bool:
    """Whether two spellings could name the same data at two places of the user's files."""
    kinds = {text.strip().partition(":")[0] for text in (before, now)}
    return (
        before != now and len(kinds) == 1 and not {"path", "root"}.isdisjoint(DATASETS[kinds.pop()].knobs.model_fields)
    )


def needs_files(spec: str) -> bool:
    """Whether ``spec`` is of files that the user brings, whose path it says, or of a data set not known here."""
    name = spec.strip().partition(":")[0]
    if name not in DATASETS:
        PLUGINS.load()
    path = DATASETS[name].knobs.model_fields.get("path") if name in DATASETS else None
    return name not in DATASETS or (path is not None and path.title is None)


def find_white(spec: str) -> float | None:
    """The value of white in images of more than 8 bits, if ``spec`` names one: see `deep_pixels`."""
    return getattr(parse_dataset(spec)[1], "white", None)


_EXAMPLE = "scenes:clutter=8,distance=0.6"


def _split_path(name: str, tail: str, knobs: list[str]) -> tuple[str, str]:
    """Take the path off the front; it may hold commas and equals signs, but not a comma, a knob's name and one."""
    parts = tail.split(",")
    first = next((at for at, part in enumerate(parts) if at and part.partition("=")[0].strip() in knobs), len(parts))
    path = ",".join(parts[:first]).strip()
    if not path:
        raise UserError(f"The data set {name!r} needs a path. Write {name}:PATH.")
    return path, ",".join(parts[first:])


def _spell(name: str, knobs: Knobs) -> str:
    fields = type(knobs).model_fields
    changed = {knob: value for knob, value in knobs.model_dump().items() if value != fields[knob].default}
    spelling = spell_variant(name, changed)
    return f"{name}:{spelling.removeprefix(f'{name}:path=')}" if "path" in fields else spelling
