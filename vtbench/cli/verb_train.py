"""``vtbench train``: train one model into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtbench.cli.execution_options import Accumulate, ChannelsLast, Compile, Precision, Workers

if TYPE_CHECKING:
    from vtbench.records import RunRecord


def run_train(
    model: Annotated[str, typer.Argument(help="NAME or NAME:option=value,...; vtbench list shows them.")],
    data: Annotated[
        str, typer.Option(help="scenes, cifar10, cifar100, folder:PATH, parquet:PATH or huggingface:NAME.")
    ] = "scenes",
    recipe: Annotated[str, typer.Option(help="default, small, advanced or a TOML file.")] = "default",
    epochs: Annotated[int | None, typer.Option(help="Epochs; rescales the recipe's schedule.")] = None,
    seed: Annotated[int, typer.Option(help="Fixes weights, order, augmentation and subsets.")] = 0,
    limit_train: Annotated[int | None, typer.Option(help="Class-balanced subset of so many images.")] = None,
    limit_val: Annotated[int | None, typer.Option(help="The same for validation.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels; else the data set's own.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Instead of the recipe's.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="Instead of the recipe's.")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of the gradient, instead of the recipe's.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Distil from a run's folder, VARIANT@FILE, timm:NAME, torchvision:NAME; none.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; else torch's own choice.")] = None,
    workers: Workers = 0,
    precision: Precision = "float32",
    channels_last: ChannelsLast = True,
    compile_model: Compile = False,
    accumulate: Accumulate = 1,
    checkpoint_seconds: Annotated[float, typer.Option(help="Save at least so often.")] = 60.0,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; else runs/<model>-<data>-<recipe>-seed<N>.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON; progress goes to stderr.")] = False,
) -> None:
    """Train MODEL and evaluate it after each epoch.

    The same command again goes on where a run was stopped or killed, to the same bits, and shows a finished one.
    """
    from vtbench.training import load_recipe

    folder_name = _name_run(model, data, Path(recipe).stem, seed)
    values: dict[str, Any] = {
        "variant": model,
        "data": {"spec": data, "image_size": image_size, "limit_train": limit_train, "limit_val": limit_val},
        "recipe": load_recipe(recipe, epochs=epochs, teacher=teacher).model_dump(),
        "seed": seed,
        "execution": {
            "device": device,
            "threads": threads,
            "workers": workers,
            "precision": precision,
            "channels_last": channels_last,
            "compile": compile_model,
            "accumulate": accumulate,
            "checkpoint_seconds": checkpoint_seconds,
        },
    }
    _change(values["recipe"], batch_size=batch_size, label_smoothing=label_smoothing, gradient_clip_norm=clip)
    _change(values["recipe"]["optimizer"], learning_rate=learning_rate)
    _train(values, out or Path("runs") / folder_name, as_json=as_json)


def _change(table: dict[str, Any], **wanted: Any) -> None:
    table.update({key: value for key, value in wanted.items() if value is not None})


def _train(values: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    from rich.console import Console

    from vtbench.cli.progress import LiveDisplay, RunDisplay
    from vtbench.configuration import RunConfig, validate_configuration
    from vtbench.training import RunStopped, StopRequest

    config = validate_configuration(RunConfig, values, source="The command line")

    import vtbench.models  # noqa: F401 - fills the registry of models.
    from vtbench.training import train_run

    console = Console(stderr=as_json, highlight=False)
    try:
        with StopRequest().on_signals() as stop, LiveDisplay(console) as display:
            record = train_run(config, folder, listener=RunDisplay(display), stop=stop)
    except RunStopped as stopped:
        typer.echo(str(stopped), err=True)
        raise typer.Exit(130) from None
    _print_record(record, folder, as_json=as_json)
    if record.status == "failed":
        raise typer.Exit(1)


def _print_record(record: RunRecord, folder: Path, *, as_json: bool) -> None:
    import json

    from vtbench.records import NotMeasured
    from vtbench.units import format_millions, format_percent

    if as_json:
        typer.echo(json.dumps({"folder": str(folder), **record.model_dump(mode="json")}, indent=2, sort_keys=True))
        return
    if record.status == "failed" or isinstance(record.val_top1_percent, NotMeasured):
        typer.echo(f"vtbench: {record.variant}, seed {record.seed}, failed: {record.error} Run: {folder}", err=True)
        return
    weights = " (averaged weights)" if record.config.recipe.ema_decay is not None else ""
    lines = [
        ("top-1", f"{format_percent(record.val_top1_percent)} % of {record.num_val:,} validation images{weights}"),
        ("trained", f"{len(record.epochs)} epochs, recipe {record.config.recipe.name}, {record.config.data.spec}"),
    ]
    if isinstance(record.costs, NotMeasured):
        lines.append(("cost", f"not measured: {record.costs.reason}"))
    else:
        channels, height, width = record.costs.input_shape
        lines.append(("MACs", f"{format_millions(record.costs.macs)} M an image of {channels}x{height}x{width}"))
        lines.append(("parameters", f"{format_millions(record.costs.params, digits=3)} M"))
    lines.append(("run", str(folder)))
    typer.echo(f"{record.variant}, seed {record.seed}")
    for name, text in lines:
        typer.echo(f"  {name:<11} {text}")


def _name_run(model: str, data: str, recipe: str, seed: int) -> str:
    """A folder name that tells runs apart: ``vt_resnet20-tokenizer-static-scenes-small-seed0``."""
    import re

    kind, colon, rest = data.partition(":")
    known = f"{kind}-{Path(rest).name}" if colon else kind
    return re.sub(r"[^\w.]+", "-", f"{model}-{known}-{recipe}-seed{seed}").strip("-")
