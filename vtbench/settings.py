"""Dotted keys of the settings of a run, such as ``recipe.optimizer.learning_rate``, and changes of settings by key.

The keys are those of the fields of `DataConfig` and `Recipe`: what is added there has one.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args

from pydantic_core import to_jsonable_python

from vtbench.configuration import DataConfig, Recipe, RunConfig
from vtbench.errors import ABBREVIATIONS, UserError, did_you_mean, format_value
from vtbench.written import Configuration, validate_configuration

_NAMES = frozenset(
    {"recipe.name", *(f"recipe.{note}" for note in Recipe.NOTES), *(f"data.{note}" for note in DataConfig.NOTES)}
)
"""What a recipe is called, where it came from and what was changed about it or the data: no settings."""
ROOTS = ("recipe", "data")
"""How every key begins."""
_TEACHER = "recipe.distillation.teacher"
"""Without one there is no distillation."""


class Settings(Configuration):
    """The data and the recipe of a run: where all dotted keys begin."""

    data: DataConfig
    recipe: Recipe


@cache
def list_settings() -> tuple[str, ...]:
    """Every key that can be set or varied, in the order of the fields."""
    return tuple(key for key in _walk(Settings, "") if key not in _NAMES)


def check_key(key: str) -> None:
    """Raise ``ValueError`` that names the nearest where there is no setting ``key``."""
    if key in list_settings():
        return
    last = key.rpartition(".")[2]
    last = ABBREVIATIONS.get(last, last)
    named = {known: known.rpartition(".")[2] for known in list_settings()}
    near = [known for known, name in named.items() if name == last]
    near = near or [known for known, name in named.items() if name in get_close_matches(last, named.values(), n=1)]
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else did_you_mean(key, list_settings())
    raise ValueError(
        f"there is no setting {key!r}. {hint} Settings begin with recipe. or data.; an option of a model is a part of "
        "its name, NAME:option=value"
    )


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """What ``--set KEY=VALUE`` says, each key once; values stay text, save lists. Raises ``UserError``.

    >>> parse_settings(["recipe.epochs=20", "recipe.augmentation.scale=[0.8, 1.0]"])
    {'recipe.epochs': '20', 'recipe.augmentation.scale': [0.8, 1.0]}
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise UserError(
                f"--set was given {text!r}. Write KEY=VALUE, for example recipe.optimizer.learning_rate=0.05."
            )
        try:
            check_key(key)
        except ValueError as error:
            raise UserError(f"--set: {error}.") from None
        if key in values:
            raise UserError(f"--set names {key} twice. Keep one of them.")
        values[key] = _parse_list(text, value) if value.startswith("[") else value
    return values


def parse_judging(texts: Iterable[str], allowed: Iterable[str], verb: str) -> dict[str, Any]:
    """What ``--set`` changes about how a trained network is asked. Raises ``UserError`` for what only training uses.

    >>> parse_judging(["recipe.window=[64, 64]"], ("recipe.window",), "predict")
    {'recipe.window': [64, 64]}
    """
    values = parse_settings(texts)
    for key in values:
        if key not in allowed:
            raise UserError(
                f"--set {key} changes nothing about a network that is trained. vtbench {verb} takes: "
                f"{', '.join(allowed)}."
            )
    return values


def flatten_keys(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Tables within tables, as TOML reads ``recipe.epochs = 3``, by dotted keys.

    >>> flatten_keys({"recipe": {"epochs": 3}, "data.limit_train": 10})
    {'recipe.epochs': 3, 'data.limit_train': 10}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten_keys(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def change_settings(
    data: DataConfig, recipe: Recipe, values: Mapping[str, Any], *, source: str
) -> tuple[DataConfig, Recipe]:
    """``data`` and ``recipe`` with ``values``, by key, in them; ``none`` sets what may be left out to nothing.

    Raises ``UserError`` that begins with ``source`` for a value that is not allowed.
    """
    if not values:
        return data, recipe
    plain: dict[str, Any] = {"data": data.model_dump(), "recipe": recipe.model_dump()}
    for key, value in values.items():
        *path, last = key.split(".")
        part = plain
        for name in path:
            part[name] = part.get(name) or {}
            part = part[name]
        part[last] = None if value == "none" else value
    if values.get(_TEACHER, "") in (None, "none"):
        plain["recipe"]["distillation"] = None
    changed = validate_configuration(Settings, plain, source=source, noun="setting")
    return changed.data, changed.recipe


def read_settings(data: DataConfig, recipe: Recipe, keys: Iterable[str]) -> dict[str, Any]:
    """The values that stand under ``keys``, as JSON has them; None below a table that is left out."""
    root = Settings(data=data, recipe=recipe)
    return {key: _read(root, key) for key in keys}


def spell_setting(value: Any) -> str:
    """A value as ``--set`` takes it.

    >>> [spell_setting(value) for value in (None, True, 0.05, 1e12, [0.8, 1.0], "adamw")]
    ['none', 'on', '0.05', '1e12', '[0.8, 1.0]', 'adamw']
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return json.dumps(value) if isinstance(value, list | tuple) else format_value(value)


def undo_treatment(config: RunConfig) -> RunConfig:
    """The run without what is declared of its arm: with the settings that the whole study has."""
    if not config.declared:
        return config
    data, recipe = change_settings(config.data, config.recipe, config.declared, source="The declared treatment")
    return config.model_copy(update={"data": data, "recipe": recipe, "declared": {}})


def read_treatment(config: RunConfig) -> dict[str, Any]:
    """What is declared of the run's arm: its own values by key."""
    return read_settings(config.data, config.recipe, config.declared)


def _walk(kind: type[Configuration], prefix: str) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        choices = (field.annotation, *get_args(field.annotation))
        parts = [one for one in choices if isinstance(one, type) and issubclass(one, Configuration)]
        if parts:
            yield from _walk(parts[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _read(root: Configuration, key: str) -> Any:
    value: Any = root
    for name in key.split("."):
        value = None if value is None else getattr(value, name)
    return to_jsonable_python(value)


def _parse_list(text: str, value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        start = text if len(text) <= 80 else f"{text[:80]}..."
        raise UserError(f"--set was given {start!r}, whose value is no list. Write for example [0.8, 1.0].") from error
