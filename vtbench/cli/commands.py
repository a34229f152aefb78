"""What verbs share: a flag for each field of a `Configuration`, lists of values, quick imports of large packages."""

from __future__ import annotations

import gc
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from vtbench.cli.completion import find_completion
from vtbench.cli.mistyped import USAGE_ERROR, check_together, explain_usage, spell_parameter
from vtbench.cli.options import BATCH_SIZE
from vtbench.errors import UserError

if TYPE_CHECKING:
    from vtbench.written import Configuration


_OTHER_NAMES = {"batch_size": BATCH_SIZE[1:], "learning_rate": ("--lr",), "weight_decay": ("--wd",)}
"""What people type besides the name of a field."""


def derive_options(verb: Callable[..., None]) -> Callable[..., None]:
    """``verb`` as typer reads it: each parameter that is a configuration is spread out into a flag a field.

    ``Annotated[ExecutionConfig, ("threads",)]`` leaves the field ``threads`` out. Names that only type checkers import
    are looked up in `vtbench.configuration` and `vtbench.run_options`.
    """
    from vtbench import configuration, run_options
    from vtbench.written import Configuration, validate_configuration

    hints: dict[str, Any] = inspect.get_annotations(
        verb, globals={**vars(configuration), **vars(run_options), **verb.__globals__}, eval_str=True
    )
    parameters: list[inspect.Parameter] = []
    spread: dict[str, tuple[type[Configuration], list[str]]] = {}
    for name, parameter in inspect.signature(verb).parameters.items():
        kind, left_out = get_args(hints[name])[:2] if get_origin(hints[name]) is Annotated else (hints[name], ())
        if isinstance(kind, type) and issubclass(kind, Configuration):
            flags = list(_make_flags(kind, left_out))
            spread[name] = (kind, [flag.name for flag in flags])
            parameters += flags
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))

    def call(**given: Any) -> None:
        for name, (kind, flags) in spread.items():
            values = {flag: given.pop(flag) for flag in flags}
            given[name] = validate_configuration(kind, values, source="", spell=_spell_flag)
        verb(**given)

    call.__doc__ = verb.__doc__
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


def _make_flags(kind: type[Configuration], left_out: Iterable[str]) -> Iterable[inspect.Parameter]:
    """A flag a field; words of a few and numbers are read as any text, so that the configuration answers a mistake."""
    for name, field in kind.model_fields.items():
        if name not in left_out:
            others = _OTHER_NAMES.get(name, ())
            names = (_spell_flag(name), *others) if others or field.default is False else ()
            complete = find_completion(name, field.annotation)
            number = next(
                (_VALUES[part] for part in (field.annotation, *get_args(field.annotation)) if part in _NUMBERS), None
            )
            option = typer.Option(
                field.default, *names, help=field.description, autocompletion=complete, metavar=number
            )
            annotation = str if number or get_origin(field.annotation) is Literal else field.annotation
            yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotation)


def _spell_flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"


_NUMBERS = (int, float)
_VALUES = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


def name_values(parameter: Any) -> None:
    """Let help say what a parameter takes in plain words: ``--seed N``, ``--format table|json``, ``MODELS``."""
    if parameter.param_type_name == "argument":
        parameter.metavar = parameter.metavar or parameter.name.upper()
        parameter.display_type_rich = lambda ctx: None
        return
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    for part in (annotation, *get_args(annotation)):
        if get_origin(part) is Literal:
            parameter.metavar = "|".join(map(str, get_args(part)))
        elif part in _VALUES and not parameter.is_flag:
            parameter.metavar = parameter.metavar or _VALUES[part]
    parameter._get_number_range_help_str = lambda: None  # A value out of range is answered with the range.


class VerbCommand(TyperCommand):
    """A command that answers what it cannot read, and options that change nothing, in the words of the call.

    ``needs`` and ``excludes`` are those of `check_together`: the constants ``NEEDS`` and ``EXCLUDES`` of the verb.
    """

    needs: Mapping[str, Sequence[str]] = {}
    excludes: Mapping[str, Sequence[str]] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raises ``UserError`` for any mistake in the words."""
        words = self.spell_out(list(args))
        try:
            rest = super().parse_args(ctx, list(words))
        except USAGE_ERROR as error:
            raise UserError(explain_usage(error, self, words, called=ctx.command_path)) from error
        if not ctx.resilient_parsing:
            given = [one for one in self.params if _is_given(ctx, one.name)]
            spelt = {spell_parameter(one).lstrip("-").lower(): spell_parameter(one) for one in given}
            check_together(spelt, self.needs, self.excludes, ("devices",) if _is_one_of_several() else ())
        return rest

    def spell_out(self, words: list[str]) -> list[str]:
        """The words as click reads them."""
        return words

    def get_help(self, ctx: Any) -> str:
        """The help, in which ``[default: auto]`` and ``--dry-run`` are not broken where they have room on a line."""
        return str(super().get_help(ctx)).translate({ord(mark): sign for sign, mark in _UNBROKEN.items()})

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options, less the breaks that `get_help` is to be without."""
        write = formatter.write_dl
        formatter.write_dl = lambda rows: write(_keep_whole(list(rows), formatter.width))
        super().format_options(ctx, formatter)


_UNBROKEN = {" ": "\xa0", "-": "\u2011"}
"""Where a line may be broken, and what stands there while lines are broken so that they are not."""
_WHOLE = re.compile(r"\[[^\[\]]*\]|--[\w-]+")
_WIDEST_NAME, _SPACING = 30, 2
"""Columns that click gives to names of options, and between these and what is said of them."""


def _keep_whole(rows: list[tuple[str, str]], width: int) -> list[tuple[str, str]]:
    room = width - min(_WIDEST_NAME, max((len(name) for name, _ in rows), default=0)) - 2 * _SPACING

    def join(match: re.Match[str]) -> str:
        return (
            match[0].translate({ord(sign): mark for sign, mark in _UNBROKEN.items()})
            if len(match[0]) <= room
            else match[0]
        )

    return [(name, _WHOLE.sub(join, text)) for name, text in rows]


def _is_one_of_several() -> bool:
    """Whether torchrun has started several processes for the command."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # What every command asks is answered without an import.
        return False
    from vtbench.environment import count_started

    return count_started() > 1


def _is_given(ctx: Any, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


class DerivedCommand(VerbCommand):
    """A command whose help names what is registered: ``{data sets}``, ``{recipes}`` and ``{executors}``."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fill the names in first; they are looked up here, because only help needs them."""
        names = _list_names()
        for parameter in self.params:
            for placeholder, text in names.items():
                if isinstance(parameter, TyperOption | TyperArgument) and parameter.help:
                    parameter.help = parameter.help.replace(placeholder, text)
        super().format_help(ctx, formatter)


def _list_names() -> dict[str, str]:
    import vtbench.studies.executors  # noqa: F401  (fills the registry)
    from vtbench.datasets import list_datasets
    from vtbench.studies.executor import EXECUTORS
    from vtbench.training import list_recipes

    names: dict[str, Iterable[str]] = {"data sets": list_datasets(), "recipes": list_recipes(), "executors": EXECUTORS}
    return {f"{{{kind}}}": ", ".join(known) for kind, known in names.items()}


class ManyValuesCommand(VerbCommand):
    """Reads ``--image a b --out c``, as shells write ``*.png``, as ``--image a --image b --out c``.

    An argument comes before such an option.
    """

    def spell_out(self, words: list[str]) -> list[str]:
        """Repeat the name of a list option before each of its values."""
        lists = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        spelt: list[str] = []
        values_of: str | None = None
        for place, argument in enumerate([*words, "--"]):
            if argument.startswith("-") and not argument[1:2].isdigit():
                if values_of is not None and spelt[-1] == values_of:
                    raise UserError(f"{values_of} needs one value or more.")
                if argument == "--":
                    spelt += words[place:]
                    break
                values_of = argument if argument in lists else None
                spelt.append(argument)
            elif values_of is not None and spelt[-1] != values_of:
                spelt += [values_of, argument]
            else:
                spelt.append(argument)
        return spelt


@contextmanager
def quick_import() -> Iterator[None]:
    """Collect no garbage inside the block, and never again look through what was made in it.

    What an import makes lives to the end; looking through it time and again is a fifth of ``import torch``.
    Triton 3.9.0 is excepted: what is frozen with it is told of as leaked when the process ends.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if "triton" not in sys.modules:
            gc.freeze()
        if was_enabled:
            gc.enable()
