"""Models that were not written for this house: those of timm and torchvision, and of a user's file.

They take the number of classes and the size of the images from the data, and all else from their spelling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vtbench.catalog import CatalogEntry
from vtbench.errors import UserError, did_you_mean
from vtbench.variants import (
    FOREIGN_MODELS,
    IMAGENET,
    ForeignOptions,
    ModelSpec,
    is_pattern,
    select_names,
    spell_variant,
)

if TYPE_CHECKING:
    from torch import nn

_TRAINABLE = ("models", "quantization")
"""The packages of torchvision with networks for classification."""


def list_library_models(pattern: str) -> list[CatalogEntry]:
    """The models of a library that ``pattern`` stands for, such as ``timm:resnet*``, without their costs.

    Behind the colon: a name; else a text that names have, or with ``*``, ``?`` or ``[`` what they are like. Raises
    ``UserError`` where the library is not installed, and where no name fits.
    """
    from vtbench.profiling.wildcards import list_library

    library, _, wanted = pattern.partition(":")
    names = list_library(library)
    found = select_names(wanted, names)
    if not found:
        near, every = wanted.strip("*?"), [f"{library}:{name}" for name in names]
        what = f"fits the pattern {pattern!r}" if is_pattern(wanted) else f"has {wanted!r} in its name"
        raise UserError(f"No model of {library} {what}. {did_you_mean(f'{library}:{near}', every)}")
    return [_list_one(f"{library}:{name}", library) for name in found]


def _list_one(name: str, library: str) -> CatalogEntry:
    from vtbench.profiling.sources import resolve_source

    task = "classification"
    if library == "torchvision":
        from vtbench.profiling.sources_torchvision import find_builder, find_task

        package = find_task(find_builder(name.partition(":")[2]))
        task = task if package in _TRAINABLE else package.replace("_", " ")
    return CatalogEntry(
        name=name,
        family=library,
        task=task,
        twin=None,
        image_size=resolve_source(name).image_size,
        num_classes=IMAGENET["num_classes"] if task == "classification" else None,
        params=None,
        macs=None,
        source=library,
        look=None,
        options=(),
    )


def _describe(name: str, family: str) -> ModelSpec:
    from vtbench.profiling.sources import build_network, resolve_source

    source = resolve_source(name)

    def build(options: ForeignOptions, *, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
        spelling = spell_variant(name, options.model_dump())
        return build_network(resolve_source(spelling, image_size=image_size, num_classes=num_classes))

    setting: dict[str, Any] = {**IMAGENET, "image_size": source.image_size}
    return ModelSpec(name, build, ForeignOptions(), **setting, source=family, family=family, is_foreign=True)


@FOREIGN_MODELS.register("timm")
def describe_timm(name: str) -> ModelSpec:
    """A model of timm. Raises ``UserError`` where there is none of that name."""
    return _describe(name, "timm")


@FOREIGN_MODELS.register("torchvision")
def describe_torchvision(name: str) -> ModelSpec:
    """A classifier of torchvision. Raises ``UserError`` where there is none of that name, and for another task."""
    from vtbench.profiling.sources_torchvision import find_builder, find_task

    task = find_task(find_builder(name.partition(":")[2]))
    if task not in _TRAINABLE:
        raise UserError(
            f"{name} is a model for {task.replace('_', ' ')}, and of torchvision only those for classification can be "
            "trained here. Networks for segmentation are in vtbench list."
        )
    return _describe(name, "torchvision")


@FOREIGN_MODELS.register("file")
def describe_file(name: str) -> ModelSpec:
    """What a callable in a user's file builds; the file is not run yet."""
    return _describe(name, "file")
