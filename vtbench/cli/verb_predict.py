"""``vtbench predict``: what the network of a finished run says of images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vtbench.cli.commands import ManyValuesCommand
from vtbench.cli.loudness import open_progress, say, tell
from vtbench.cli.options import Device, Json, Judging, check_folder, choose_format

if TYPE_CHECKING:
    import torch

    from vtbench.datasets.named_images import NamedImage
    from vtbench.records.predictions import ImagePredictionRecord, PredictionsRecord
    from vtbench.training.prediction import Predictor
    from vtbench.training.trained import TrainedRun

COMMAND = ManyValuesCommand
_MOST_SHOWN = 5


def run_predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    image: Annotated[list[Path] | None, typer.Option(help="Image files or folders of them, one or more.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write to.", callback=check_folder)] = None,
    top: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Classes that are shown of each image.  [default: 5]")
    ] = None,
    white: Annotated[
        float | None,
        typer.Option(min=1, max=2**32, help="Value of white in images of more than 8 bits; else the run's."),
    ] = None,
    settings: Judging = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace predictions that are there.")] = False,
    device: Device = "auto",
    format: Annotated[
        Literal["table", "markdown", "csv", "json"], typer.Option(help="What to print; files are the same.")
    ] = "table",
    as_json: Json = False,
) -> None:
    """What a trained network sees in images: their classes, or masks.

    Images are read as validation images of the run, whose data need not be there. Classification gives the most
    probable classes; with --out they are written as CSV and JSON, too. Segmentation writes into RUN/predictions or
    --out: for each image a PNG of its own size in masks/, with values and palette of the data set, and one of colours
    over the image in overlays/, with a key.
    """
    from vtbench.cli.commands import quick_import
    from vtbench.cli.waiting import tell_waiting
    from vtbench.datasets.named_images import find_images
    from vtbench.errors import UserError
    from vtbench.settings import parse_judging
    from vtbench.training.folder import find_finished

    format = choose_format(format, as_json)
    changes = parse_judging(settings or (), ("recipe.window", "recipe.stride"), "predict")
    if not image:
        raise UserError("Which images? Give --image FILE..., or --image FOLDER for all that it holds.")
    find_finished(run)
    found, left_out = find_images(image)
    with tell_waiting("loading torch and the models"), quick_import():
        import vtbench.models  # noqa: F401 - fills the registry of models.
        from vtbench.documents.terminal import lay_out, open_console
        from vtbench.environment import resolve_device
        from vtbench.files import place_within
        from vtbench.reporting.prediction_report import render_predictions, tabulate_predictions
        from vtbench.tasks import TASKS
        from vtbench.training.trained import ask_otherwise, load_run
        from vtbench.units import format_items

    opened = ask_otherwise(load_run(run), changes)
    masks = TASKS[opened.record.task].answers_with_masks
    folder = out or (place_within(run, "predictions") if masks else None)
    if masks and top is not None:
        raise UserError("--top is of classes of images, and this network gives masks. Leave it out.")
    if overwrite and folder is None:
        raise UserError("--overwrite replaces files, and this call writes none. Name a folder with --out.")
    most = top or _MOST_SHOWN
    if folder is not None:
        _refuse_overwriting(folder, found, masks=masks, overwrite=overwrite)
    record = _predict(opened, found, folder, resolve_device(device), top=most, white=white, settings=changes)
    if format == "table":
        open_console().print(lay_out(tabulate_predictions(record, most), whole=("class",)))
    else:
        typer.echo(render_predictions(record, format, most), nl=False)
    for path in left_out:
        say(f"Left out, because its name is not that of an image: {path}")
    if folder is not None:
        pictures = f"{format_items(len(found), 'PNG')} each in masks/ and overlays/, " if masks else ""
        tell(f"Predictions: {folder} ({pictures}predictions.csv, predictions.json)")


def _refuse_overwriting(folder: Path, images: "list[NamedImage]", *, masks: bool, overwrite: bool) -> None:
    from vtbench.errors import UserError
    from vtbench.reporting.prediction_report import list_files
    from vtbench.units import format_items

    there = [name for name in list_files([image.name for image in images], masks=masks) if (folder / name).exists()]
    if there and not overwrite:
        raise UserError(
            f"{folder} holds predictions already: {format_items(len(there), 'file')} would be replaced, "
            f"the first {there[0]}. "
            "Give another folder with --out, or --overwrite."
        )


def _predict(
    run: "TrainedRun",
    images: "list[NamedImage]",
    folder: Path | None,
    device: "torch.device",
    *,
    top: int,
    white: float | None,
    settings: dict[str, Any],
) -> "PredictionsRecord":
    """Ask the network; whatever is written comes to its place when all is there."""
    from contextlib import nullcontext

    from vtbench.cli.progress import open_bar
    from vtbench.files import publish_set
    from vtbench.records.predictions import PredictionsRecord
    from vtbench.reporting.prediction_report import write_tables
    from vtbench.settings import read_settings
    from vtbench.training.prediction import Predictor

    predictor = Predictor(run, device, white)
    predictor.check_range((image.read(), str(image.path)) for image in images)
    with publish_set(folder) if folder is not None else nullcontext() as staged, open_bar(open_progress()) as bar:
        record = PredictionsRecord(
            task=run.record.task,
            variant=run.record.variant,
            run=str(run.folder),
            weights_sha256=run.record.weights_sha256,
            settings=read_settings(run.record.config.data, run.record.config.recipe, settings),
            images=tuple(
                _ask(predictor, image, run, staged, top) for image in bar.track(images, description="Predicting")
            ),
        )
        if staged is not None:
            write_tables(record, staged)
    return record


def _ask(
    predictor: "Predictor", image: "NamedImage", run: "TrainedRun", staged: Path | None, top: int
) -> "ImagePredictionRecord":
    from vtbench.reporting.prediction_report import describe_probabilities, write_classes

    said, names = predictor(image.read(), str(image.path)), run.note.class_names
    if said.classes is None or staged is None:
        assert said.probabilities is not None, "what has no classes of pixels has probabilities"
        size = (said.picture.shape[0], said.picture.shape[1])
        return describe_probabilities(str(image.path), size, said.probabilities, names, top)
    meaning = names, run.note.mask_values or range(len(names)), run.record.palette
    return write_classes(str(image.path), image.name, (said.picture, said.classes), meaning, staged)
