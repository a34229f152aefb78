"""From images to records: where the tokens of a network look in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from vtbench.models.token_maps import normalize_pixels, observe_tokens
from vtbench.stats.attention_maps import Mask, TokenMaps, describe_maps, split_classes
from vtbench.stats.token_records import ImageTokensRecord

if TYPE_CHECKING:  # Its readers load pyarrow and PIL, 33 MiB that counting and training do without.
    from vtbench.datasets.shown_images import ShownImage


@dataclass(frozen=True)
class SurveyedImage:
    """One image: its numbers, the maps that they are of, module by module, and the mask that they were held against."""

    record: ImageTokensRecord
    maps: tuple[TokenMaps, ...]
    mask: Mask | None


@dataclass(frozen=True)
class Survey:
    """All images, and of each module without maps the reason."""

    images: tuple[SurveyedImage, ...]
    skipped: dict[int, str]


def survey_tokens(
    model: nn.Module,
    images: Sequence[ShownImage],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    only: Sequence[int] = (),
    foreground: Sequence[int] = (),
    left_out: Sequence[int] = (),
) -> Survey:
    """Normalise the images, which have one size, run ``model`` on them, and measure its maps.

    ``only`` names modules, all by default; ``foreground`` and ``left_out`` are class ids: see `split_classes`.
    Raises ``UserError`` as `observe_tokens` does.
    """
    pixels_BHWC = np.stack([image.pixels for image in images])
    observed = observe_tokens(model, normalize_pixels(pixels_BHWC, mean, std), only=only)
    surveyed = []
    for image, maps in zip(images, observed.images, strict=True):
        mask = None if image.classes is None else split_classes(image.classes, foreground, left_out)
        modules = tuple(describe_maps(one, mask) for one in maps)
        record = ImageTokensRecord(name=image.name, original_size=image.original_size, modules=modules)
        surveyed.append(SurveyedImage(record, maps, mask))
    return Survey(tuple(surveyed), observed.skipped)
