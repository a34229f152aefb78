"""What the shell completes: names of models with their options, of studies, recipes, data sets and devices.

Nothing here loads torch, so that the answer is there at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args, get_origin

DEVICES = ("auto", "cpu", "cuda", "mps")


def complete_models(incomplete: str) -> list[str]:
    """Registered models; behind a colon, what may follow: ``vt_resnet20:tokenizer=static``."""
    from vtbench.catalog import load_catalog

    name, colon, chosen = incomplete.partition(":")
    if not colon:
        return [entry.name for entry in load_catalog()]
    before, comma, _ = chosen.rpartition(",")
    return [
        f"{name}:{before}{comma}{option.name}={value}"
        for entry in load_catalog()
        if entry.name == name
        for option in entry.options
        for value in option.allowed or ("",)
    ]


def complete_studies() -> list[tuple[str, str]]:
    """The studies that come with vtbench, and the question of each."""
    from vtbench.studies.study import list_studies, read_study

    return [(name, read_study(path).question) for name, path in list_studies().items()]


def complete_recipes() -> list[str]:
    """The recipes that come with vtbench."""
    from vtbench.training import list_recipes

    return list(list_recipes())


def complete_datasets() -> list[str]:
    """How each data set is spelt, up to the path that the user knows."""
    from vtbench.datasets import list_datasets

    return [f"{kind}{colon}" for kind, colon, _ in (name.partition(":") for name in list_datasets())]


def complete_executors() -> list[str]:
    """What can carry the cells of a study out."""
    import vtbench.studies.executors  # noqa: F401  (fills the registry)
    from vtbench.studies.executor import EXECUTORS

    return list(EXECUTORS)


def complete_trackers() -> list[str]:
    """Every tracker."""
    from vtbench.trackers import TRACKERS

    return list(TRACKERS)


def complete_devices() -> list[str]:
    """The devices without a number."""
    return list(DEVICES)


COMPLETIONS: dict[str, Callable[..., Any]] = {
    "base": complete_models,
    "data": complete_datasets,
    "device": complete_devices,
    "recipe": complete_recipes,
}
"""By the name of a field whose option is derived."""


def find_completion(name: str, annotation: Any) -> Callable[..., Any] | None:
    """What completes the option ``name``: one of `COMPLETIONS`, or the few words that its type allows."""
    if name in COMPLETIONS:
        return COMPLETIONS[name]
    words: Iterable[Any] = get_args(annotation) if get_origin(annotation) is Literal else ()
    return (lambda: list(words)) if words else None
