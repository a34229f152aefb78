"""What ``vtbench tokens`` looks at, how images are prepared for it, and what is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import typer
from rich import box
from rich.table import Table
from torch import nn

from vtbench.cli.console import open_console
from vtbench.datasets.shown_images import ShownImage
from vtbench.environment import describe_environment
from vtbench.layers.initialization import initialize_by_name
from vtbench.models import MODELS, create_model
from vtbench.models.token_survey import Survey
from vtbench.profiling.inputs import parse_image_size
from vtbench.records import NotMeasured, to_json
from vtbench.reporting.token_report import DrawnImage, shorten_name, write_tokens
from vtbench.stats.token_records import ForegroundRecord, ModuleMapsRecord, PreparationRecord, TokensRecord
from vtbench.training.trained import load_run
from vtbench.variants import canonical_spelling, split_variant

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RESIZING = "scaled bilinearly so that the shorter side fits, then cut at the centre"


@dataclass(frozen=True)
class Subject:
    """The network, where it is from, and what it wants done to images."""

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
    said = f"channel means and deviations of the run's training images, {run.data.name}"
    return Subject(
        run.model,
        run.record.variant,
        str(folder),
        run.record.weights_sha256,
        run.record.seed,
        PreparationRecord(
            image_size=size, resizing=_RESIZING, mean=run.data.mean, std=run.data.std, normalization=said
        ),
        folder / "tokens",
        run.data.name,
    )


def open_model(name: str, image_size: str | None, *, seed: int) -> Subject:
    """A model with the weights that training starts from; images are normalised by ImageNet's statistics."""
    variant = canonical_spelling(name)
    spec = MODELS[split_variant(variant)[0]]
    size = parse_image_size(image_size) if image_size else spec.image_size
    model = create_model(variant, image_size=size)
    initialize_by_name(model, seed)
    said = "channel means and deviations of ImageNet"
    return Subject(
        model.eval(),
        variant,
        "untrained",
        None,
        seed,
        PreparationRecord(
            image_size=size, resizing=_RESIZING, mean=_IMAGENET_MEAN, std=_IMAGENET_STD, normalization=said
        ),
        Path("runs") / f"tokens-{variant.replace(':', '-').replace(',', '-').replace('=', '-')}",
        None,
    )


def write_survey(subject: Subject, shown: Sequence[ShownImage], survey: Survey, folder: Path, *, as_json: bool) -> None:
    """Write all files of the survey to ``folder`` and print its numbers."""
    record = TokensRecord(
        variant=subject.variant,
        weights=subject.weights,
        weights_sha256=subject.weights_sha256,
        seed=subject.seed,
        environment=describe_environment(torch.device("cpu")),
        preparation=subject.preparation,
        skipped=survey.skipped,
        images=tuple(image.record for image in survey.images),
    )
    drawn = [
        DrawnImage(image.picture, found.maps, found.mask) for image, found in zip(shown, survey.images, strict=True)
    ]
    written = write_tokens(record, drawn, folder)
    if as_json:
        typer.echo(to_json(record), nl=False)
    else:
        _print_numbers(record)
    num_figures = sum(path.suffix == ".png" for path in written)
    typer.echo(
        f"Tokens: {folder} (tokens.json, tokens.csv, maps.safetensors and {num_figures} figures as PNG and SVG)",
        err=as_json,
    )


def _print_numbers(record: TokensRecord) -> None:
    console = open_console()
    prepared = record.preparation
    height, width = prepared.image_size
    state = f"seed {record.seed}" if record.weights_sha256 else f"untrained, seed {record.seed}"
    console.print(f"{record.variant}, {state}", markup=False)
    console.print(f"Images: {height}x{width}, {prepared.resizing}; {prepared.normalization}.", markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("image", overflow="fold")
    for name in ("module", "entropy", "reach", "uniform", "JSD", "peaks", "front"):
        table.add_column(name, justify="right")
    for image in record.images:
        for module in image.modules:
            table.add_row(shorten_name(image.name), *_list_cells(module))
    console.print(table)
    notes = [
        "entropy, reach: mean of the tokens' maps, before and after mixing, in nats; uniform: the most there can be.",
        "JSD: mean Jensen-Shannon divergence of two tokens' maps, 0 (equal) to 1 bit (disjoint); peaks: different "
        "cells among the tokens' peaks.",
        "front: attention of a foreground pixel over that of a background pixel; – without a mask.",
    ]
    for note in notes:
        console.print(note, markup=False)
    missing = {one.reason for image in record.images for m in image.modules if (one := _find_missing(m)) is not None}
    for reason in sorted(missing):
        console.print(f"No reach: {reason}", markup=False)
    for index, reason in record.skipped.items():
        console.print(f"No maps of module {index}: {reason}", markup=False)


def _find_missing(module: ModuleMapsRecord) -> NotMeasured | None:
    return module.mean_reach_entropy_nats if isinstance(module.mean_reach_entropy_nats, NotMeasured) else None


def _list_cells(module: ModuleMapsRecord) -> list[str]:
    front = module.foreground
    return [
        f"{module.module} {module.tokenizer}",
        _format(module.mean_entropy_nats),
        _format(module.mean_reach_entropy_nats),
        _format(module.uniform_entropy_nats),
        _format(module.mean_jensen_shannon_bits, digits=3),
        f"{module.num_distinct_peaks}/{module.num_tokens}",
        _format(front.ratio) if isinstance(front, ForegroundRecord) else "–",
    ]


def _format(value: float | NotMeasured, *, digits: int = 2) -> str:
    return "–" if isinstance(value, NotMeasured) else f"{value:.{digits}f}"
