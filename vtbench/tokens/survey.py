"""From images to records: where the tokens of a network look in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from vtbench.datasets.batches import Normalizer
from vtbench.environment import describe_environment
from vtbench.records.tokens import ImageTokensRecord, TokensRecord
from vtbench.stats.attention_maps import MappedImage, describe_maps, split_classes
from vtbench.tokens.maps import observe_tokens
from vtbench.tokens.subject import Subject

if TYPE_CHECKING:  # Its readers load pyarrow and PIL.
    from vtbench.datasets.shown_images import ShownImage


@dataclass(frozen=True)
class Survey:
    """The numbers of all images, and the images with their maps, in the order of the record."""

    record: TokensRecord
    images: tuple[MappedImage, ...]


def survey_tokens(
    subject: Subject,
    images: Sequence[ShownImage],
    *,
    only: Sequence[int] = (),
    foreground: Sequence[int] = (),
    left_out: Sequence[int] = (),
) -> Survey:
    """Normalise the images, which have one size, as training does, run the network on them, and measure its maps.

    ``only`` names modules, all by default; ``foreground`` and ``left_out`` are class ids: see `split_classes`.
    Raises ``UserError`` as `observe_tokens` does.
    """
    prepared = subject.preparation
    normalize = Normalizer(prepared.mean, prepared.std, prepared.image_size[1])
    pixels_BHWC = torch.from_numpy(np.stack([image.pixels for image in images]))
    observed = observe_tokens(subject.model, normalize(pixels_BHWC), only=only)
    mapped, records = [], []
    for image, maps in zip(images, observed.images, strict=True):
        mask = None if image.classes is None else split_classes(image.classes, foreground, left_out)
        modules = tuple(describe_maps(one, mask) for one in maps)
        records.append(ImageTokensRecord(name=image.name, original_size=image.original_size, modules=modules))
        mapped.append(MappedImage(image.picture, maps, mask))
    record = TokensRecord(
        variant=subject.variant,
        weights=subject.weights,
        weights_sha256=subject.weights_sha256,
        seed=subject.seed,
        environment=describe_environment(torch.device("cpu")),
        preparation=prepared,
        skipped=observed.skipped,
        images=tuple(records),
    )
    return Survey(record, tuple(mapped))
