"""``vtbench evaluate``: judge the network of a finished run, on its own data or on others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtbench.cli.commands import ManyValuesCommand
from vtbench.cli.completion import complete_datasets
from vtbench.cli.options import BATCH_SIZE, Device, Json, Judging, check_folder
from vtbench.cli.overwriting import Overwrite, refuse_replacing, says

if TYPE_CHECKING:
    import torch

    from vtbench.datasets.loading import LoadedDataset
    from vtbench.records.answers import Answers
    from vtbench.records.evaluation import EvaluationRecord
    from vtbench.training.trained import TrainedRun

COMMAND = ManyValuesCommand
NEEDS = dict.fromkeys(("limit-val", "image-size"), ("data",))
_BATCH_SIZE = "recipe.batch_size"
_JUDGING = ("recipe.window", "recipe.stride", _BATCH_SIZE)


def run_evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Data sets as --data of train takes them, one or more; else the run's own.",
            autocompletion=complete_datasets,
        ),
    ] = None,
    limit_val: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2**31 - 1,
            help="Class-balanced subset of the validation images of --data, drawn by the seed of the run.",
        ),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=8, max=16384, help="Side in pixels of --data; else the run's.")
    ] = None,
    settings: Judging = None,
    batch_size: Annotated[
        int | None, typer.Option(*BATCH_SIZE, min=1, max=1_000_000, help="Images at once; else the recipe's.")
    ] = None,
    device: Device = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder of the evaluations.  [default: RUN/evaluations]", callback=check_folder
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """How good a trained network is, class by class.

    It is judged on its validation images, or on those of --data. Classification: top-1, top-5, accuracy of each class,
    calibration. Segmentation: the metrics of its record, IoU of each class. A folder for each of the data gets these as
    JSON and CSV, the confusion matrix as CSV and figure, and the answer to each image for paired tests. Data must have
    the classes of the run, by name and in any order.
    """
    from vtbench.cli.first_checks import check_data
    from vtbench.cli.loudness import tell
    from vtbench.cli.waiting import tell_waiting
    from vtbench.errors import UserError
    from vtbench.files import check_writable, place_within
    from vtbench.settings import parse_judging
    from vtbench.training.folder import find_finished

    changes = parse_judging(settings or (), _JUDGING, "evaluate")
    if batch_size is not None:
        if _BATCH_SIZE in changes:
            raise UserError(f"{_BATCH_SIZE} is given twice, with --batch-size and with --set. Keep one of them.")
        changes[_BATCH_SIZE] = batch_size
    find_finished(run)
    for spec in data or []:
        check_data(spec, look=True)
    with tell_waiting("loading torch and the models"):
        import vtbench.models  # noqa: F401 - fills the registry of models.
        from vtbench.environment import resolve_device
        from vtbench.evaluation.evaluate import DataWish, open_data
        from vtbench.records import to_json
        from vtbench.records.evaluation import EvaluationRecord
        from vtbench.reporting.evaluation_report import RECORD, name_evaluation, save_evaluation
        from vtbench.settings import read_settings
        from vtbench.training.trained import ask_otherwise, load_run

    opened, place = load_run(run), resolve_device(device)
    folder = out or place_within(run, "evaluations")
    check_writable(folder)
    wishes = [DataWish(spec, limit_val, image_size) for spec in data] if data else [DataWish()]
    with tell_waiting("reading the images"):
        splits = [open_data(opened, wish) for wish in wishes]
    config = ask_otherwise(opened, changes).record.config
    asked = read_settings(config.data, config.recipe, changes)
    ids = [name_evaluation(split.name, split.fingerprint, asked) for split in splits]
    targets = [place_within(folder, name) for name in ids]
    is_same = says(EvaluationRecord, weights_sha256=opened.record.weights_sha256)
    for target in () if overwrite else targets:
        refuse_replacing(target, [RECORD], is_same, of="this run")
    records = []
    for split, target in zip(splits, targets, strict=True):
        record, answers = _judge(opened, split, place, changes)
        names = save_evaluation(record, answers, target)
        records.append(record)
        if not as_json:
            if len(records) > 1:
                typer.echo()
            _print(record, opened)
        tell(f"Evaluation: {target} ({', '.join(names)})")
    if as_json:
        typer.echo(to_json(records), nl=False)


def _judge(
    run: TrainedRun, data: LoadedDataset, device: torch.device, settings: dict[str, Any]
) -> tuple[EvaluationRecord, Answers]:
    from vtbench.cli.loudness import open_progress
    from vtbench.cli.progress import open_bar
    from vtbench.evaluation.evaluate import evaluate_run

    num_batches = -(-len(data) // run.record.config.recipe.batch_size)
    with open_bar(open_progress()) as progress:
        bar = progress.add_task("Evaluating", total=num_batches)
        return evaluate_run(run, data, device, settings=settings, after_batch=lambda: progress.advance(bar))


def _print(record: EvaluationRecord, run: TrainedRun) -> None:
    from vtbench.documents.terminal import lay_out, open_console, print_text
    from vtbench.reporting.evaluation_report import list_class_notes, list_lines, tabulate_classes
    from vtbench.units import format_items

    console = open_console()
    own = ", those of the run" if record.is_own else ""
    print_text(f"{record.variant}, seed {record.seed}, on {record.data}", console, style="bold")
    images = format_items(record.num_images, "validation image")
    print_text(f"{images} in {format_items(len(record.classes), 'class', 'classes')}{own}", console)
    for name, text in list_lines(record, run.record):
        print_text(f"  {name:<13} {text}", console)
    console.print()
    console.print(lay_out(tabulate_classes(record)))
    for note in list_class_notes(record):
        print_text(note, console)
