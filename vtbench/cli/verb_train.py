"""``vtbench train``: train one model into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtbench.cli.commands import DerivedCommand
from vtbench.cli.completion import complete_models
from vtbench.cli.exact import EXACT_EXCLUDES, ExactAs, read_choice
from vtbench.cli.loudness import say, warn
from vtbench.cli.options import Json, Track, check_folder

if TYPE_CHECKING:
    from vtbench.configuration import ExecutionConfig, RunConfig
    from vtbench.records import RunRecord
    from vtbench.run_options import TrainOptions

COMMAND = DerivedCommand
NEEDS = {"shard-optimizer": ("devices",)}
EXCLUDES = {"exact-as": EXACT_EXCLUDES}
_FIRST = "reading the data and building the network"


def run_train(
    model: Annotated[
        str,
        typer.Argument(
            help="NAME[:option=value,...] of vtbench list, timm:NAME[,option=value,...], torchvision:NAME[,...] or "
            "FILE.py:CALLABLE[,...], which runs that file's code.",
            autocompletion=complete_models,
        ),
    ],
    options: TrainOptions,
    execution: ExecutionConfig,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The run's folder; else one below runs/ that is named by the options.",
            callback=check_folder,
        ),
    ] = None,
    exact_as: ExactAs = None,
    track: Track = None,
    as_json: Json = False,
) -> None:
    """Train MODEL and evaluate it after each epoch.

    The same command again goes on where a run was stopped or killed, to the same bits, and shows a finished one.
    """
    from vtbench.cli.first_checks import check_data, check_init, check_teacher, check_variants
    from vtbench.locking import refuse_held
    from vtbench.run_folder import RECORD, RUN_LOCK
    from vtbench.run_options import mention_older, name_run
    from vtbench.trackers import check_trackers
    from vtbench.training.folder import refuse_study
    from vtbench.training.request import plan_run
    from vtbench.variants import leave_folder_out

    trackers = check_trackers(track or [])
    if exact_as is not None:
        execution = execution.model_copy(update=read_choice(exact_as))
    check_variants(model, look=False)
    config = plan_run(model, options, execution)
    named = (leave_folder_out(model), options, execution, config.recipe)
    folder = out or Path("runs") / name_run(*named)
    is_new = not (folder / RECORD).exists()  # A finished run is shown, wherever its data are now.
    check_data(config.data.spec, look=is_new)
    if is_new:
        check_variants(model)
        check_teacher(config.recipe.distillation.teacher if config.recipe.distillation else None)
        check_init([options.init])
    refuse_study(folder)
    refuse_held(folder / RUN_LOCK)
    if out is None and (older := mention_older(folder, *named)):
        say(older)
    _train(config, folder, trackers, as_json=as_json)


def _train(config: RunConfig, folder: Path, trackers: tuple[str, ...], *, as_json: bool) -> None:
    from vtbench.cli.waiting import tell_waiting

    with tell_waiting("loading torch and the models"):
        import vtbench.models  # noqa: F401 - fills the registry of models.
        from vtbench.cli.loudness import open_progress, tell
        from vtbench.cli.progress import LiveDisplay, RunDisplay
        from vtbench.trackers.tracking import RunTracking, open_tracking
        from vtbench.training import ListenerGroup, RunStopped, StopRequest, train_run

    try:
        with (
            open_tracking(trackers, folder, folder.absolute().parent.name, warn) as tracking,
            StopRequest().on_signals() as stop,
            LiveDisplay(open_progress()) as display,
            tell_waiting(_FIRST) as begun,
        ):
            shown = RunDisplay(display, begun)
            told = RunTracking(tracking, folder, folder.absolute().name)
            record = train_run(config, folder, listener=ListenerGroup(shown, told), stop=stop)
    except RunStopped as stopped:
        say(str(stopped))
        raise typer.Exit(130) from None
    if (places := tracking.describe_places()) is not None:
        tell(places)
    _print_record(record, folder, shown.epochs_before, as_json=as_json)
    if record.status == "failed":
        raise typer.Exit(1)


def _print_record(record: RunRecord, folder: Path, before: int | None, *, as_json: bool) -> None:
    import json

    from vtbench.records import NotMeasured

    if as_json:
        typer.echo(json.dumps({"folder": str(folder), **record.model_dump(mode="json")}, indent=2, sort_keys=True))
        return
    if record.status == "failed" or isinstance(record.headline, NotMeasured):
        warn(f"{record.variant}, seed {record.seed}, failed: {record.error} Run: {folder}")
        return
    typer.echo(f"{record.variant}, seed {record.seed}")
    for name, text in list_facts(record, folder, len(record.epochs) if before is None else before):
        typer.echo(f"  {name:<11} {text}")


def list_facts(record: RunRecord, folder: Path, before: int = 0) -> list[tuple[str, str]]:
    """What came of a finished run, and what it cost: names and texts.

    ``before`` is how many of its epochs had been done when it was gone on with.
    """
    from vtbench.records import NotMeasured
    from vtbench.units import format_items, format_millions

    assert not isinstance(record.headline, NotMeasured), "a finished run has its metric"
    weights = " (averaged weights)" if record.config.recipe.ema_decay is not None else ""
    metric = record.metric
    length = format_items(len(record.epochs), "epoch")
    if before:
        now = len(record.epochs) - before
        length += f" ({before} before, {now} now)" if now else " before, none now"
    lines = [
        (
            metric.label,
            f"{metric.show(record.headline)} of {format_items(record.num_val, 'validation image')}{weights}",
        ),
        (
            "trained",
            f"{length}, recipe {record.config.recipe.name}, {record.config.data.spec}",
        ),
    ]
    if record.environment.devices > 1:
        rate = record.config.recipe.optimizer.learning_rate
        shared = f"{record.environment.devices} shared each batch of {record.config.recipe.batch_size} images"
        lines.append(("devices", f"{shared}, learning rate {rate:g} for all of it"))
    if isinstance(record.costs, NotMeasured):
        lines.append(("cost", f"not measured: {record.costs.reason}"))
    else:
        channels, height, width = record.costs.input_shape
        lines.append(("MACs", f"{format_millions(record.costs.macs)} M an image of {channels}x{height}x{width}"))
        lines.append(("parameters", f"{format_millions(record.costs.params, digits=3)} M"))
    return [*lines, ("run", str(folder))]
