"""The network whose tokens are looked at, where it is from, and what it wants done to images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from vtbench.datasets.statistics import IMAGENET, ChannelStatistics
from vtbench.models import MODELS, create_model
from vtbench.profiling.inputs import parse_image_size
from vtbench.records.tokens import PreparationRecord
from vtbench.training.network import initialize_by_name
from vtbench.training.trained import load_run
from vtbench.variants import canonical_spelling, split_variant


@dataclass(frozen=True)
class Subject:
    """A network in evaluation mode. ``weights_sha256`` is None without training, ``own_data`` without a run."""

    model: nn.Module
    variant: str
    weights: str
    weights_sha256: str | None
    seed: int
    preparation: PreparationRecord
    default_folder: Path
    own_data: str | None

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.preparation.image_size


def open_run(folder: Path, image_size: str | None) -> Subject:
    """The network of a finished run; images are normalised as those that it was trained on."""
    run = load_run(folder)
    size = parse_image_size(image_size) if image_size else run.data.image_size
    return Subject(
        run.model,
        run.record.variant,
        str(folder),
        run.record.weights_sha256,
        run.record.seed,
        _prepare(size, ChannelStatistics(run.data.mean, run.data.std), f"the run's training images, {run.data.name}"),
        folder / "tokens",
        run.data.name,
    )


def open_model(name: str, image_size: str | None, *, seed: int) -> Subject:
    """A model with the weights that training starts from; images are normalised by ImageNet's statistics."""
    variant = canonical_spelling(name)
    size = parse_image_size(image_size) if image_size else MODELS[split_variant(variant)[0]].image_size
    model = create_model(variant, image_size=size)
    initialize_by_name(model, seed)
    return Subject(
        model.eval(),
        variant,
        "untrained",
        None,
        seed,
        _prepare(size, IMAGENET, "ImageNet"),
        Path("runs") / f"tokens-{variant.replace(':', '-').replace(',', '-').replace('=', '-')}",
        None,
    )


def _prepare(size: tuple[int, int], colour: ChannelStatistics, owner: str) -> PreparationRecord:
    return PreparationRecord(
        image_size=size,
        resizing="scaled bilinearly so that the shorter side fits, then cut at the centre",
        mean=colour.mean,
        std=colour.std,
        normalization=f"channel means and deviations of {owner}",
    )
