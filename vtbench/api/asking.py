"""Arguments of a function as the options that the command line reads, checked in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from vtbench.configuration import ExecutionConfig
from vtbench.run_options import RunOptions
from vtbench.settings import spell_setting
from vtbench.written import validate_configuration

O = TypeVar("O", bound=RunOptions)  # noqa: E741


def read_options(kind: type[O], given: Mapping[str, Any], function: str) -> O:
    """The arguments in ``given`` that are fields of ``kind``; ``settings`` are spelt as ``--set`` has them."""
    values = {name: given[name] for name in kind.model_fields.keys() & given.keys()}
    for name in ("freeze", "arm"):
        if values.get(name) is not None and not isinstance(values[name], str):
            values[name] = list(values[name])
    settings = given["settings"] or {}
    values["set"] = [f"{key}={spell_setting(value)}" for key, value in settings.items()] or None
    return validate_configuration(kind, values, source=f"vtbench.{function}")


def read_execution(given: Mapping[str, Any], function: str) -> ExecutionConfig:
    """The arguments in ``given`` that say how runs are carried out."""
    values = {name: given[name] for name in ExecutionConfig.model_fields.keys() & given.keys()}
    return validate_configuration(ExecutionConfig, values, source=f"vtbench.{function}")
