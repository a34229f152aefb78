"""The sheets of ``vtbench data --out``: images of both splits as the network sees them, and augmented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtbench.configuration import AugmentationConfig
from vtbench.datasets import LoadedDataset, Split
from vtbench.datasets.contact_sheet import Sample, show_augmented, show_samples
from vtbench.datasets.masked import MaskedSplit
from vtbench.palettes import VOID_COLOUR, Colour, find_palette
from vtbench.reporting.contact_figure import Row, Sheet, overlay_mask, paint_mask
from vtbench.settings import spell_setting
from vtbench.tasks import TASKS
from vtbench.training import load_recipe

_NUM_GROUPS, _NUM_IMAGES, _NUM_AUGMENTED = 12, 8, 6


def make_sheets(
    data: Mapping[Split, LoadedDataset], recipe: str | None, settings: Mapping[str, Any], *, seed: int, num_draws: int
) -> dict[str, Sheet]:
    """One sheet a split, and one of augmentation; masks, where there are some, beside or below their images."""
    train = data["train"]
    palette = _choose_palette(train)
    names = train.mask_class_names if train.has_masks else ()
    legend = (*zip(names, palette, strict=True), ("void", VOID_COLOUR)) if names else ()
    sheets: dict[str, Sheet] = {str(split): _show_split(one, split, palette, legend) for split, one in data.items()}
    return {**sheets, "augmentation": _show_augmentation(train, recipe, settings, seed, num_draws, palette, legend)}


def _choose_palette(train: LoadedDataset) -> Sequence[Colour]:
    if not train.has_masks:
        return ()
    own = train.split.convention.palette if isinstance(train.split, MaskedSplit) else ()
    return own or find_palette(train.mask_class_names, train.name)


def _show_split(
    data: LoadedDataset, split: Split, palette: Sequence[Colour], legend: tuple[tuple[str, Colour], ...]
) -> Sheet:
    height, width = data.image_size
    groups = show_samples(data, _NUM_GROUPS, _NUM_IMAGES // 2 if data.has_masks else _NUM_IMAGES)
    of_classes = f" {len(groups)} of {len(data.split.class_names)} classes." if data.split.class_names else ""
    return Sheet(
        f"{data.name}: {split}",
        f"As the network is given them: {height}x{width} pixels, normalised, and brought back to be seen.{of_classes}",
        tuple(
            Row(name, tuple(picture for sample in samples for picture in _place(sample, palette)))
            for name, samples in groups
            if samples
        ),
        legend=legend,
    )


def _place(sample: Sample, palette: Sequence[Colour]) -> list[NDArray[np.uint8]]:
    """The image, and beside it its mask over it."""
    return [sample.image] if sample.mask is None else [sample.image, overlay_mask(sample.image, sample.mask, palette)]


def _show_augmentation(
    train: LoadedDataset,
    recipe: str | None,
    settings: Mapping[str, Any],
    seed: int,
    num_draws: int,
    palette: Sequence[Colour],
    legend: tuple[tuple[str, Colour], ...],
) -> Sheet:
    name, augmentation, with_masks = _choose_augmentation(train, recipe, settings)
    shown = show_augmented(
        train, augmentation, seed=seed, num_images=_NUM_AUGMENTED, num_draws=num_draws, with_masks=with_masks
    )
    changed = "".join(f", {key.rpartition('.')[2]}={spell_setting(value)}" for key, value in settings.items())
    mixed = " Here each is mixed with the one above it, the first with the last." if augmentation.mixes else ""
    rows: list[Row] = []
    for number, samples in shown:
        rows.append(Row(f"image {number}", tuple(sample.image for sample in samples)))
        masks = tuple(paint_mask(sample.mask, palette) for sample in samples if sample.mask is not None)
        rows += [Row("its mask", masks)] if masks else []
    return Sheet(
        f"{train.name}: augmentation",
        f"Recipe {name}{changed}, seed {seed}: each image as it stands, and as training is given it in each epoch."
        f"{mixed}",
        tuple(rows),
        heads=("as it stands", *(f"epoch {epoch + 1}" for epoch in range(num_draws))),
        legend=legend if with_masks else (),
    )


def _choose_augmentation(
    train: LoadedDataset, recipe: str | None, settings: Mapping[str, Any]
) -> tuple[str, AugmentationConfig, bool]:
    """The recipe's name, its augmentation as ``train`` settles it, and whether masks follow it."""
    labelled = bool(train.split.class_names)
    name = recipe or ("default" if labelled else "segmentation_small")
    found = load_recipe(name, teacher="none", settings=settings)
    with_masks = train.has_masks and not (labelled and found.augmentation.unfit_for_masks)
    if with_masks:
        found = TASKS["segmentation"].settle_recipe(found.model_copy(update={"class_weights": None}), train)
    return found.name, found.augmentation, with_masks
