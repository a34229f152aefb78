"""``vtbench data``: what vtbench makes of a data set, before any training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vtbench.cli.commands import DerivedCommand
from vtbench.cli.completion import complete_datasets, complete_recipes
from vtbench.cli.loudness import tell
from vtbench.cli.options import Json, check_folder, choose_format
from vtbench.cli.overwriting import Overwrite, refuse_replacing, says

if TYPE_CHECKING:
    from vtbench.datasets import LoadedDataset, Split
    from vtbench.reporting.contact_figure import Sheet

COMMAND = DerivedCommand
NEEDS = dict.fromkeys(("recipe", "set", "draws", "seed"), ("out",))
Format = Literal["table", "markdown", "csv", "json"]


def run_data(
    data: Annotated[
        str,
        typer.Argument(
            help="As --data of train takes it: {data sets}; knobs follow.",
            autocompletion=complete_datasets,
        ),
    ],
    image_size: Annotated[
        int | None, typer.Option(min=8, max=16384, help="Side in pixels; else the data set's own.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the numbers and for sheets of images.", callback=check_folder),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Whose augmentation is shown.  [default: default or segmentation_small]",
            autocompletion=complete_recipes,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="KEY=VALUE: any setting of the recipe, as recipe.augmentation.mixup=0.2; repeatable."
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, max=12, help="Augmented draws of each image.")] = 6,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the draws: draw K is that of epoch K.")] = 0,
    format: Annotated[Format, typer.Option(help="What to print.")] = "table",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Look at a data set as training will read it.

    Shown are its splits, classes, sizes, masks, duplicates and channels.

    With --out: sheets of images as the network sees them, and of what augmentation makes of them.
    """
    from vtbench.cli.commands import quick_import
    from vtbench.cli.waiting import tell_waiting
    from vtbench.configuration import DataConfig
    from vtbench.datasets import load_datasets
    from vtbench.datasets.inspection import survey_data
    from vtbench.datasets.source import parse_dataset
    from vtbench.documents.terminal import open_console
    from vtbench.files import check_writable
    from vtbench.records.data import DataRecord
    from vtbench.reporting.data_report import DATA_FILES, print_data, render_data, write_data
    from vtbench.settings import parse_settings
    from vtbench.written import validate_configuration

    format = choose_format(format, as_json)
    changes = parse_settings(settings or ())
    parse_dataset(data)
    values = {"spec": data, "image_size": image_size}
    config = validate_configuration(DataConfig, values, source="The command line")
    if out is not None:
        check_writable(out)
        if not overwrite:
            refuse_replacing(out, DATA_FILES, says(DataRecord, data=data), of=data)
    with tell_waiting("reading the data"):
        train, val = load_datasets(config, seed=0)
    splits: dict[Split, LoadedDataset] = {"train": train, "val": val}
    sheets: dict[str, Sheet] = {}
    if out is not None:
        with quick_import():
            from vtbench.cli.data_sheets import make_sheets

        sheets = make_sheets(splits, recipe, changes, seed=seed, num_draws=draws)
    with tell_waiting("looking through the images"):
        record = survey_data(splits)
    if format == "table":
        print_data(record, open_console())
    else:
        typer.echo(render_data(record, format), nl=False)
    if out is not None:
        written = write_data(record, sheets, out)
        tell(f"Data: {out} ({', '.join(path.name for path in written)})")
