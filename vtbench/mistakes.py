"""What is said of a value that a configuration does not take: what came, and what is allowed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vtbench.errors import UserError, did_you_mean, find_nearest, format_value

LARGEST_NUMBER = 2**31 - 1
"""Whole numbers end here, so that none sizes what no machine holds."""
_LONGEST_SHOWN = 80
_DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
_DEVICE = re.compile(r"auto|(cpu|mps)(:0)?|cuda(:(0|[1-9]\d*))?", re.ASCII)
_LIMITS = ("ge", "gt", "le", "lt")
_LIST = "a list, written [first, second]"
_OTHER_KINDS = {
    **dict.fromkeys(("tuple_type", "list_type"), _LIST),
    **dict.fromkeys(("model_type", "dict_type"), "a table"),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    "bool_type": "true or false",
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
}


def explain_problems(
    kind: type[BaseModel], problems: Iterable[Mapping[str, Any]], noun: str, spell: Callable[[str], str] = repr
) -> str:
    """Pydantic's ``problems`` with a ``kind`` as clauses; ``spell`` says how users write a key.

    ``noun`` is what a key is called: "key", "option", "knob".
    """
    clauses: dict[str, list[str]] = {}  # A value that may be of several kinds has a problem with each.
    for problem in problems:
        start, reason = _explain(kind, problem, noun, spell)
        clauses.setdefault(start, []).append(reason)
    return "; ".join(start + " or ".join(dict.fromkeys(reasons)) for start, reasons in clauses.items())


def read_whole(value: object) -> int | None:
    """The whole number that ``value`` is, as those of NumPy are, too; None for anything else, on and off among it."""
    if isinstance(value, bool):
        return None
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def read_count(what: str, value: object) -> int:
    """The whole number from 1 on that the argument ``what`` is. Raises ``UserError`` for another value."""
    number = read_whole(value)
    if number is None or number < 1:
        raise UserError(f"{what} is {show_value(value)}. Give a whole number of 1 or more.")
    return number


def read_path(what: str, value: object) -> Path:
    """The path that the argument ``what`` is. Raises ``UserError`` for what is none."""
    if not isinstance(value, str | os.PathLike):
        raise UserError(f"{what} is {show_value(value)}. Give a path, as text or as a pathlib.Path.")
    return Path(value)


def read_paths(what: str, values: Iterable[object]) -> tuple[Path, ...]:
    """The paths that the arguments ``what`` are; a list or tuple is as many. Raises ``UserError`` for what is none."""
    spread = (part for value in values for part in (value if isinstance(value, list | tuple) else [value]))
    return tuple(read_path(what, part) for part in spread)


def show_value(value: Any) -> str:
    """A value as it came, its end left out where it is long."""
    text = format_value(value) if isinstance(value, float) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def describe_allowed(annotation: Any, limits: Mapping[str, float]) -> str | None:
    """What a field of numbers or of on and off takes, in words; None for a field of another kind.

    ``limits`` has those of ``ge``, ``gt``, ``le`` and ``lt`` that there are.

    >>> describe_allowed(int | None, {"ge": 1, "le": 1024})
    'a whole number from 1 to 1,024'
    >>> [describe_allowed(float, limits) for limits in ({"gt": 0}, {"ge": 0, "lt": 1}, {})]
    ['a number above 0', 'a number from 0 to less than 1', 'a number']
    """
    kinds = set(_list_choices(annotation))
    if bool in kinds:
        return "on or off"
    if kinds.isdisjoint((int, float)):
        return None
    if float in kinds:
        return _describe_range("a number", limits)
    return _describe_range("a whole number", {"le": LARGEST_NUMBER, **limits})


def explain_device(name: str) -> str | None:
    """What is said of a ``name`` that no device of any machine has; None where some machine may have it.

    >>> explain_device("gpu")
    "There is no device named 'gpu'. Did you mean 'cuda'? Allowed: auto, cpu, cuda, cuda:N or mps."
    """
    if _DEVICE.fullmatch(name):
        return None
    near = find_nearest(name, (one for one in _DEVICES if ":" not in one))
    hint = f"Did you mean {near!r}? " if near is not None else ""
    *first, last = _DEVICES
    return f"There is no device named {name!r}. {hint}Allowed: {', '.join(first)} or {last}."


def _describe_range(what: str, limits: Mapping[str, float]) -> str:
    shown = {name: f"{limit:,}" if isinstance(limit, int) else f"{limit:g}" for name, limit in limits.items()}
    words = [what]
    if "ge" in shown:
        words.append(f"from {shown['ge']}")
    elif "gt" in shown:
        words.append(f"above {shown['gt']}")
    if "le" in shown:
        words.append(f"{'to' if 'ge' in shown else 'and up to' if 'gt' in shown else 'up to'} {shown['le']}")
    elif "lt" in shown:
        words.append(f"{'to less' if 'ge' in shown else 'and less' if 'gt' in shown else 'less'} than {shown['lt']}")
    return " ".join(words)


def _explain(
    kind: type[BaseModel], problem: Mapping[str, Any], noun: str, spell: Callable[[str], str]
) -> tuple[str, str]:
    place = _find_place(kind, problem["loc"])
    key = spell(".".join(place.names))
    if problem["type"] == "extra_forbidden":
        return f"unknown {noun} {key}. ", did_you_mean(place.names[-1], place.owner.model_fields).rstrip(".")
    if problem["type"] == "missing" and isinstance(problem["loc"][-1], int):
        return f"{spell('.'.join(place.names[:-1]))} was given {show_value(problem['input'])}: too few values", ""
    if problem["type"] == "missing":
        return f"the {noun} {key} is missing", ""
    if problem["type"] == "value_error":  # The validator wrote the whole reason itself.
        return str(problem["msg"]).removeprefix("Value error, "), ""
    start, context = f"{key} was given {show_value(problem['input'])}: ", problem.get("ctx", {})
    if "expected" in context:
        return f"{start}allowed: ", context["expected"]
    if problem["type"] == "too_long":
        return f"{start}allowed: ", f"{context['max_length']} values"
    limits = {name: context[name] for name in _LIMITS if name in context}
    allowed = (
        (describe_allowed(place.field.annotation, _gather_limits(place.field.metadata)) if place.field else None)
        or (_describe_range("a number", limits) if limits else None)
        or _OTHER_KINDS.get(problem["type"])
    )
    return (f"{start}allowed: ", allowed) if allowed else (start, str(problem["msg"]))


@dataclass(frozen=True)
class _Place:
    """Where a value stands: its keys, the configuration that the last was given to, and its field.

    There is no field for a key that is unknown, for a key of a table and for an element of a list.
    """

    names: tuple[str, ...]
    owner: type[BaseModel]
    field: FieldInfo | None


def _find_place(kind: type[BaseModel], location: Sequence[str | int]) -> _Place:
    names, owner, field = [], kind, None
    inside: type[BaseModel] | None = kind
    takes_keys = False
    for part in location:
        if takes_keys:
            takes_keys, field = False, None
        elif inside is not None:
            owner, field = inside, inside.model_fields.get(str(part))
            choices = _list_choices(field.annotation if field else None)
            takes_keys = any(get_origin(choice) is dict for choice in choices)
            parts = (*choices, *(argument for choice in choices for argument in get_args(choice)))
            inside = next((one for one in parts if isinstance(one, type) and issubclass(one, BaseModel)), None)
        elif isinstance(part, int):
            field = None
        else:
            continue  # Which of its kinds pydantic took the value for.
        names.append(str(part))
    return _Place(tuple(names), owner, field)


def _gather_limits(metadata: Iterable[object]) -> dict[str, float]:
    return {name: getattr(one, name) for one in metadata for name in _LIMITS if hasattr(one, name)}


def _list_choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
