"""Every option of every verb, with values of every wrong kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from calling import call, check_answer, check_nothing_left
from good_inputs import TINY_DATA, TINY_MODEL

from vtbench.cli.main import build_command, list_verbs

OUT = "out/deeper"
GOOD = {
    "list": [],
    "data": [TINY_DATA],
    "profile": ["resnet20:width=2"],
    "train": ["resnet20:width=2", "--data", TINY_DATA, "--device", "cpu", "--recipe", "small", "--out", OUT],
    "ablate": ["study.toml", "--device", "cpu", "--out", OUT],
    "report": ["{study}", "--out", OUT],
    "audit": [],
    "predict": ["{run}", "--image", "a.png", "--device", "cpu"],
    "tokens": ["--model", TINY_MODEL, "--image-size", "16", "--image", "a.png", "--module", "0", "--out", OUT],
    "evaluate": ["{run}", "--device", "cpu", "--out", OUT],
    "watch": ["{study}", "--once"],
}
"""A call of each verb that is taken; others get a finished run for each argument that they must have."""
ONE_IN = 5
"""The others are slow; it shares no factor with how many values there are of any kind."""
HUGE = "9" * 30
NUMBERS = ("x", "-1", "0", "1.5", "nan", "inf", "-inf", "1e400", HUGE, "0x10", "\u0663", "1_0", " 1", "True")
TEXTS = (
    "nonsense",
    "../..",
    "x" * 5000,
    "\x1b[31mred",
    "\udcff",
    "a:b=c,d=,=e",
    ":",
    "{}",
    "%s",
    "*",
    "none",
    "-",
    "é",
)
KINDS_OF_PATH = ("missing", "empty", "binary", "pipe", "loop", "dangling", "folder")
PATHS = (
    *[f"{kind}{suffix}" for kind in KINDS_OF_PATH for suffix in ("", ".png", ".toml")],
    *("x" * 300, "empty/below", "\udcff", "/proc/nothing/here", "/dev/null", "~nobody-here/x"),
)


def list_values(option: Any) -> tuple[str, ...]:
    """Wrong values for what the option takes, as far as its type says it."""
    kind = str(option.type_descriptor.annotation if hasattr(option, "type_descriptor") else option.type)
    if getattr(option, "is_flag", False):
        return ()
    if re.search("Literal|Choice", kind):
        return ("nonsense", "TABLE", "0")
    if re.search(r"\bint\b|float|INT|FLOAT", kind):
        return NUMBERS
    if "Path" in kind:
        return PATHS
    return (*TEXTS, *NUMBERS[:4], *[path for path in PATHS if "." in path][:14])


def find_good(verb: str, run: Path, study: Path) -> list[str]:
    """The words of a good call of ``verb``."""
    arguments = [one for one in build_command(verb).params if one.param_type_name == "argument" and one.required]
    return [word.format(run=run, study=study) for word in GOOD.get(verb, ["{run}"] * len(arguments))]


@pytest.mark.parametrize("verb", list_verbs())
def test_the_good_call_of_every_verb_is_taken(verb: str, place: Path, finished_run: Path, finished_study: Path) -> None:
    check_answer(call([verb, *find_good(verb, finished_run, finished_study)]), refused=False)


def list_cases() -> Iterator[Any]:
    number = 0
    for verb in list_verbs():
        for option in build_command(verb).params:
            name = option.opts[-1] if option.param_type_name == "option" else ""
            for value in list_values(option):
                marks = () if number % ONE_IN == 0 else (pytest.mark.slow,)
                yield pytest.param(verb, name, value, id=f"{verb} {name} {ascii(value)[:40]}", marks=marks)
                number += 1


@pytest.mark.parametrize(("verb", "option", "value"), list(list_cases()))
def test_a_wrong_value_is_one_message_and_leaves_nothing(
    verb: str, option: str, value: str, place: Path, finished_run: Path, finished_study: Path
) -> None:
    good = find_good(verb, finished_run, finished_study)
    if option:
        arguments = [*without(good, option), option, value]
    else:
        arguments = [value, *(good[1:] if good and not good[0].startswith("-") else good)]
    answer = call([verb, *arguments])
    check_answer(answer)
    check_nothing_left(place / "out", answer)


def without(words: list[str], option: str) -> list[str]:
    """``words`` without the option and its value."""
    if option not in words:
        return words
    at = words.index(option)
    return words[:at] + words[at + 2 :]


@pytest.mark.parametrize("verb", list_verbs())
@pytest.mark.parametrize(
    "words", [["--nonsense"], ["--help", "--nonsense"], ["--", "--x"], ["a", "b", "c", "d"], ["-"]]
)
def test_words_that_no_verb_knows_are_one_message(verb: str, words: list[str], place: Path) -> None:
    check_answer(call([verb, *words]))


SIZES = ("4", "17000", "17000x17000", "99999999", "0", "-1", "16x", "x16", "16x16x16", "1e3", "nan", HUGE)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("images", [["--image", "a.png"], ["--index", "0", "--data", TINY_DATA]], ids=["file", "data"])
def test_a_size_that_no_image_has_is_one_message(images: list[str], size: str, place: Path) -> None:
    answer = call(["tokens", "--model", TINY_MODEL, *images, "--module", "0", "--image-size", size, "--out", OUT])
    check_answer(answer, refused=True if size != "4" or "--index" in images else None)
    check_nothing_left(place / "out", answer)


@pytest.mark.parametrize(
    "words", [["--recipe", "nonsense"], ["--draws", "99"], ["--seed", HUGE], ["--image-size", "7"]]
)
def test_nothing_is_drawn_of_data_for_a_wrong_option(words: list[str], place: Path) -> None:
    answer = call(["data", TINY_DATA, "--out", OUT, *words])
    check_answer(answer, refused=True)
    check_nothing_left(place / "out", answer)
