"""From a network and images to records: where its tokens look in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

import vtbench.models  # noqa: F401 - fills the registry of models.
from vtbench.configuration import LARGEST_SIDE, Recipe
from vtbench.datasets.batches import Normalizer
from vtbench.datasets.source import find_white
from vtbench.datasets.statistics import IMAGENET, ChannelStatistics
from vtbench.environment import describe_environment
from vtbench.errors import UserError
from vtbench.input_shapes import parse_image_size
from vtbench.records.tokens import ImageTokensRecord, PreparationRecord, TokensRecord
from vtbench.stats.attention_maps import MappedImage, describe_maps, split_classes
from vtbench.tasks import TASKS, find_task
from vtbench.tokens.attention import Wish, observe_attention
from vtbench.training.network import build_initialized_network
from vtbench.training.token_maps import Observed, has_tokens, observe_tokens
from vtbench.training.trained import WeightsNote, load_run
from vtbench.variants import canonical_spelling, find_model, leave_folder_out, split_variant

if TYPE_CHECKING:  # Its readers load pyarrow and PIL.
    from vtbench.datasets.shown_images import ShownImage


@dataclass(frozen=True)
class Subject:
    """A network in evaluation mode, where it is from, and what it wants done to images.

    ``weights_sha256`` is None without training, ``own_data`` without a run. ``sees_whole``: images are scaled to fit
    whole, not cut.
    """

    model: nn.Module
    variant: str
    weights: str
    weights_sha256: str | None
    seed: int
    preparation: PreparationRecord
    sees_whole: bool
    default_folder: Path
    own_data: str | None

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.preparation.image_size

    @property
    def white(self) -> float | None:
        """The value of white in images of more than 8 bits, as it was in training."""
        return None if self.own_data is None else find_white(self.own_data)


def open_run(folder: Path, image_size: str | None) -> Subject:
    """The network of a finished run; images are normalised as those that it was trained on."""
    run = load_run(folder)
    size = _parse_size(image_size) if image_size else run.note.image_size
    whole = TASKS[run.record.task].answers_with_masks
    return Subject(
        run.model,
        run.record.variant,
        str(folder),
        run.record.weights_sha256,
        run.record.seed,
        _prepare(size, run.note, f"the run's training images, {run.note.data}", whole=whole),
        whole,
        folder / "tokens",
        run.note.data,
    )


def open_model(name: str, image_size: str | None, *, seed: int) -> Subject:
    """A model with the weights that training starts from; images are normalised by ImageNet's statistics."""
    variant = canonical_spelling(name)
    spec = find_model(split_variant(variant)[0])
    size, whole = _parse_size(image_size) if image_size else spec.image_size, find_task(variant).answers_with_masks
    model = build_initialized_network(
        variant, Recipe(name="untrained"), seed=seed, num_classes=spec.num_classes, image_size=size
    )
    variant = leave_folder_out(variant)
    return Subject(
        model.eval(),
        variant,
        "untrained",
        None,
        seed,
        _prepare(size, IMAGENET, "ImageNet", whole=whole),
        whole,
        Path("runs") / f"tokens-{variant.replace(':', '-').replace(',', '-').replace('=', '-')}",
        None,
    )


def _parse_size(text: str) -> tuple[int, int]:
    """As `parse_image_size`, for images that are really made: up to the largest side that training takes."""
    size = parse_image_size(text)
    if max(size) > LARGEST_SIDE:
        raise UserError(f"--image-size was given {text!r}: a side of an image may have up to {LARGEST_SIDE} pixels.")
    return size


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
    wish: Wish = Wish(),  # noqa: B008 - it is frozen.
    foreground: Sequence[int] = (),
    left_out: Sequence[int] = (),
    device: torch.device = torch.device("cpu"),  # noqa: B008 - it is not changed.
) -> Survey:
    """Normalise the images, which have one size, as training does, run the network on them, and measure its maps.

    ``only`` names modules, all by default; ``wish`` is of networks without visual tokens, whose attention is looked at
    instead; ``foreground`` and ``left_out`` are class ids: see `split_classes`.
    Raises ``UserError`` as `observe_tokens` and `observe_attention` do.
    """
    prepared = subject.preparation
    normalize = Normalizer(prepared.mean, prepared.std, prepared.image_size[1])
    pixels_BHWC = torch.from_numpy(np.stack([image.pixels for image in images]))
    subject.model.to(device)
    observed = _observe(subject, normalize(pixels_BHWC).to(device), only, wish)
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
        environment=describe_environment(device),
        preparation=prepared,
        skipped=observed.skipped,
        images=tuple(records),
    )
    return Survey(record, tuple(mapped))


def _observe(subject: Subject, images_BCHW: Tensor, only: Sequence[int], wish: Wish) -> Observed:
    if not has_tokens(subject.model):
        return observe_attention(subject.model, images_BCHW, wish, only=only)
    if wish != Wish():
        raise UserError(
            f"--head and --look are of networks without visual tokens, and {subject.variant} has some. Leave them out."
        )
    return observe_tokens(subject.model, images_BCHW, only=only)


def _prepare(
    size: tuple[int, int], colour: ChannelStatistics | WeightsNote, owner: str, *, whole: bool
) -> PreparationRecord:
    return PreparationRecord(
        image_size=size,
        resizing="scaled bilinearly to fit whole, at the upper left of a margin in its mean colour"
        if whole
        else "scaled bilinearly so that the shorter side fits, then cut at the centre",
        mean=colour.mean,
        std=colour.std,
        normalization=f"channel means and deviations of {owner}",
    )
