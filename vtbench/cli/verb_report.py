"""``vtbench report``: tables and figures from run records, or from the literature."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vtbench.cli.completion import complete_devices
from vtbench.cli.loudness import tell
from vtbench.cli.options import BATCH_SIZE, Json, check_device, check_folder, choose_format
from vtbench.cli.overwriting import Overwrite, refuse_replacing

if TYPE_CHECKING:
    from vtbench.reporting.rendering import ReportPaths

NEEDS = dict.fromkeys(("device", "batch-size", "time-limit"), ("measure",))
EXCLUDES = {"published": ("all-figures",), "archive": ("all-figures",)}
Format = Literal["table", "markdown", "csv", "latex", "json"]


def run_report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="A study, a run, an archived report, or several of them.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the report.  [default: RUNS/report]", callback=check_folder),
    ] = None,
    format: Annotated[Format, typer.Option(help="What to print.")] = "table",
    as_json: Json = False,
    against: Annotated[
        str | None, typer.Option(help="Arm that differences are taken to.  [default: the study's]")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="Copy the records into this folder and render there: a report to commit.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="The literature's accuracy against the MACs counted here.")
    ] = False,
    every_figure: Annotated[
        bool, typer.Option("--all-figures", help="Write every figure, also as PDF, and not the usual ones only.")
    ] = False,
    interim: Annotated[
        bool, typer.Option("--interim", help="Of an unfinished study: say that it is, and what is missing.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also measure latency and memory of the arms, taking turns.")
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            help="For --measure: auto, cpu, cuda, cuda:N or mps.",
            autocompletion=complete_devices,
            callback=check_device,
        ),
    ] = "auto",
    batch_size: Annotated[int, typer.Option(*BATCH_SIZE, min=1, max=65536, help="For --measure: images at once.")] = 1,
    time_limit: Annotated[float, typer.Option(min=0.1, max=86400, help="For --measure: most seconds an arm.")] = 10.0,
    overwrite: Overwrite = False,
) -> None:
    """Tables, figures and a page of runs, or what changed in two."""
    from vtbench.errors import UserError

    format = choose_format(format, as_json)
    if published and (runs or against or archive or measure or interim):
        raise UserError(
            "--published reports the literature and takes no runs. Leave out RUNS and the options of runs, such as "
            "--against, --archive, --measure and --interim."
        )
    if published:
        _report_published(out, format, overwrite=overwrite)
    elif not runs:
        raise UserError(
            "Which runs? Give a folder, such as runs/components, or --published for the literature's table."
        )
    elif archive is not None and out is not None:
        raise UserError("--archive renders in its own folder. Leave out --out.")
    elif archive is not None and interim:
        raise UserError(
            "--archive keeps a result, and --interim shows one that is not there yet. Leave out one of them."
        )
    else:
        if measure:
            from vtbench.cli.measuring import measure_study

            measure_study(runs, base=against, device=device, batch_size=batch_size, time_limit=time_limit)
        report_runs(
            runs, out, format, against, archive, interim=interim, every_figure=every_figure, overwrite=overwrite
        )


def report_runs(
    runs: list[Path],
    out: Path | None,
    format: Format,
    base: str | None,
    archive: Path | None,
    *,
    interim: bool = False,
    every_figure: bool = False,
    overwrite: bool = False,
) -> None:
    """Print the report of ``runs`` and write it, into the folder ``archive`` with its records where one is given."""
    from vtbench.cli.commands import quick_import
    from vtbench.cli.waiting import tell_waiting

    with tell_waiting("reading the records and drawing the report"), quick_import():  # Records live to the end, too.
        from vtbench.documents.terminal import open_console
        from vtbench.reporting.archive import archive_runs
        from vtbench.reporting.rendering import (
            MARKDOWN_FILE,
            default_output,
            is_report_of,
            render_report,
            save_report,
        )
        from vtbench.reporting.report import build_report
        from vtbench.reporting.table_files import list_table_files
        from vtbench.reporting.terminal import print_report
        from vtbench.reporting.web.report_page import PAGE_FILE

        report = build_report(*runs, base=base, interim=interim)
        if archive:
            paths = archive_runs(runs, archive, base=base)
        else:
            if out is not None and not overwrite:
                names = (MARKDOWN_FILE, PAGE_FILE, *list_table_files())
                refuse_replacing(out, names, partial(is_report_of, report), of=report.outline.title)
            paths = save_report(report, out or default_output(*runs), every_figure=every_figure)
    if format == "table":
        print_report(report, open_console())
        tell("")
    else:
        typer.echo(render_report(report, format), nl=False)
    _name_files(paths)


def _report_published(out: Path | None, format: Format, *, overwrite: bool) -> None:
    from vtbench.documents.terminal import open_console
    from vtbench.reporting.pages.published import (
        PUBLISHED_FILES,
        is_published_report,
        load_rows,
        render_published,
        write_published_report,
    )
    from vtbench.reporting.terminal import print_published

    if out is not None and not overwrite:
        refuse_replacing(out, PUBLISHED_FILES, is_published_report, of="the literature")
    paths = write_published_report(out or Path("runs/published"))
    if format == "table":
        print_published(load_rows(), open_console())
        tell("")
    else:
        typer.echo(render_published(load_rows(), format), nl=False)
    _name_files(paths)


def _name_files(paths: "ReportPaths") -> None:
    tell(f"Report: {paths.folder} ({', '.join(paths.list_names())})")
