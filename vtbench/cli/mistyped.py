"""Words that make no call, answered in those words: what came, what is allowed, how to mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

import typer

from vtbench.errors import UserError
from vtbench.mistakes import describe_allowed, show_value

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What click raises for words that it cannot read; typer has no name for it."""
ALL = ("*",)
"""All options in a table of those that have no effect."""
_ALWAYS = frozenset({"json", "quiet", "verbose"})
_MEANT = {
    "amp": "precision",
    "arms": "arm",
    "bs": "batch-size",
    "checkpoint": "init",
    "config": "recipe",
    "dataset": "data",
    "decay": "weight-decay",
    "dtype": "precision",
    "folder": "out",
    "format": "json",
    "gpus": "devices",
    "img-size": "image-size",
    "input": "image",
    "lr-rate": "learning-rate",
    "num-epochs": "epochs",
    "num-seeds": "seeds",
    "num-workers": "workers",
    "output": "out",
    "pretrained": "init",
    "resolution": "image-size",
    "size": "image-size",
    "weights": "init",
}
"""What other programs call an option, where its letters do not lead there."""


def explain_usage(error: Any, command: Any, words: Sequence[str], *, called: str) -> str:
    """What is said of click's usage ``error``: of ``words`` that were given to ``command``, which is ``called`` so."""
    help_of, called = f"See {called} -h.", called.removeprefix("vtbench ")
    name = getattr(error, "option_name", None)
    if name is not None and hasattr(error, "possibilities"):
        return f"{called} has no option {_find_word(name, words)}. {_hint_at_option(name, command, words)}{help_of}"
    if name is not None:
        if "not take" in error.message:
            return f"{name} takes no value: write {name}, or leave it out."
        return f"{name} needs a value. {help_of}"
    parameter = getattr(error, "param", None)
    if parameter is None:
        return _explain_left_over(error.message, command, words, called, help_of)
    if hasattr(error, "param_type"):
        return f"{called} needs {spell_parameter(parameter)}: {_begin_small(parameter.help)} {help_of}"
    problems = error.__cause__.errors() if hasattr(error.__cause__, "errors") else []
    if not problems:
        return f"{spell_parameter(parameter)}: {error.message.rstrip('.')}. {help_of}"
    allowed = _describe_values(parameter) or str(problems[0]["msg"])
    return f"{spell_parameter(parameter)} was given {show_value(problems[0]['input'])}: allowed: {allowed}."


def spell_parameter(parameter: Any) -> str:
    """``--batch-size`` of an option, ``MODEL`` of an argument."""
    is_argument = parameter.param_type_name == "argument"
    return str(parameter.metavar or parameter.name.upper()) if is_argument else max(parameter.opts, key=len)


def check_together(
    given: Mapping[str, str],
    needs: Mapping[str, Sequence[str]],
    excludes: Mapping[str, Sequence[str]],
    answered: Sequence[str] = (),
) -> None:
    """Raise ``UserError`` for an option that changes nothing in this call.

    ``given`` has what was given, by name and as it is spelt. An option in ``needs`` has an effect beside one of its
    options only, and one in ``excludes`` leaves none to those that stand there, or with `ALL` to any but ``--json``.
    What is ``answered`` was told otherwise, as torchrun tells the number of devices.
    """
    for name, spelt in given.items():
        if name in needs and {*given, *answered}.isdisjoint(needs[name]):
            wanted = " or ".join(f"--{other}" for other in needs[name])
            raise UserError(f"{spelt} has no effect without {wanted}. Add that, or leave {spelt} out.")
        others = given.keys() - {name, *_ALWAYS} if excludes.get(name) == ALL else excludes.get(name, ())
        for other in given:
            if other in others:
                raise UserError(f"{given[other]} has no effect beside {spelt}. Leave out one of the two.")


def _begin_small(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:] if sentence[1:2].islower() else sentence


def _find_word(start: str, words: Sequence[str]) -> str:
    """The word as it was typed: of ``-lr`` click names ``-l`` alone."""
    typed = [word.partition("=")[0] for word in words if word.startswith(start)]
    return start if start in typed or not typed else typed[0]


def _hint_at_option(start: str, command: Any, words: Sequence[str]) -> str:
    names = sorted({name for option in command.params for name in option.opts if name.startswith("--")})
    known = {name.removeprefix("--"): name for name in names}
    word = _find_word(start, words).lstrip("-").replace("_", "-")
    word = _MEANT[word] if _MEANT.get(word) in known else word
    near = [word] if word in known else get_close_matches(word, known, n=2, cutoff=0.6)
    return f"Did you mean {' or '.join(known[one] for one in near)}? " if near else ""


def _explain_left_over(message: str, command: Any, words: Sequence[str], called: str, help_of: str) -> str:
    _, bracket, left_over = message.rstrip(")").partition("(s) (")
    if not bracket:
        return f"{message.rstrip('.')}. {help_of}"
    first = left_over.split(" ")[0]
    place = words.index(first) if first in words else 0
    lists = {name: option for option in command.params if getattr(option, "multiple", False) for name in option.opts}
    before = next((word for word in reversed(words[:place]) if word.startswith("-")), "")
    if before in lists:
        return f"{before} takes one value at a time, and {first!r} is left over. Repeat it: {before} {first}."
    arguments = [spell_parameter(one) for one in command.params if one.param_type_name == "argument"]
    takes = f"takes {' and '.join(arguments)} and options" if arguments else "takes options alone"
    return f"{called} {takes}, and {left_over!r} is left over. {help_of}"


def _describe_values(parameter: Any) -> str | None:
    """What a parameter takes, in words; None where its type does not say."""
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    info = getattr(getattr(parameter, "type_descriptor", None), "parameter_info", None)
    limits = {name: getattr(info, bound, None) for name, bound in (("ge", "min"), ("le", "max"))}
    for part in (annotation, *get_args(annotation)):
        if get_origin(part) is Literal:
            *first, last = [repr(value) for value in get_args(part) if value]
            return f"{', '.join(first)} or {last}" if first else last
        if part in (int, float):
            return describe_allowed(part, {name: limit for name, limit in limits.items() if limit is not None})
    return None
