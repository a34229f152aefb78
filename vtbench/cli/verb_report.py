"""``vtbench report``: tables and figures from run records, or from the literature."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vtbench.cli.loudness import tell
from vtbench.cli.options import Json, choose_format

if TYPE_CHECKING:
    from vtbench.reporting.rendering import ReportPaths

Format = Literal["table", "markdown", "csv", "latex", "json"]


def run_report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="A study, a run, an archived report, or several of them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the report.  [default: RUNS/report]")
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
) -> None:
    """Tables, figures and a page of finished runs."""
    from vtbench.errors import UserError

    format = choose_format(format, as_json)
    if published and (runs or against or archive):
        raise UserError(
            "--published reports the literature and takes no runs. Leave out RUNS, --against and --archive."
        )
    if published:
        _report_published(out or Path("runs/published"), format)
    elif not runs:
        raise UserError(
            "Which runs? Give a folder, such as runs/components, or --published for the literature's table."
        )
    elif archive is not None and out is not None:
        raise UserError("--archive renders in its own folder. Leave out --out.")
    else:
        report_runs(runs, out, format, against, archive)


def report_runs(runs: list[Path], out: Path | None, format: Format, base: str | None, archive: Path | None) -> None:
    """Print the report of ``runs`` and write it, into the folder ``archive`` with its records where one is given."""
    from vtbench.documents.terminal import open_console
    from vtbench.reporting.archive import archive_runs
    from vtbench.reporting.rendering import default_output, render_report, save_report
    from vtbench.reporting.report import build_report
    from vtbench.reporting.terminal import print_report

    report = build_report(*runs, base=base)
    paths = archive_runs(runs, archive, base=base) if archive else save_report(report, out or default_output(runs[0]))
    if format == "table":
        print_report(report, open_console())
        tell("")
    else:
        typer.echo(render_report(report, format), nl=False)
    _name_files(paths, err=format != "table")


def _report_published(out: Path, format: Format) -> None:
    from vtbench.documents.terminal import open_console
    from vtbench.reporting.pages.published import load_rows, render_published, write_published_report
    from vtbench.reporting.terminal import print_published

    paths = write_published_report(out)
    if format == "table":
        print_published(load_rows(), open_console())
        tell("")
    else:
        typer.echo(render_published(load_rows(), format), nl=False)
    _name_files(paths, err=format != "table")


def _name_files(paths: "ReportPaths", *, err: bool) -> None:
    files = ", ".join(path.name for path in (*paths.texts, *paths.figures))
    tell(f"Report: {paths.folder} ({files})", err=err)
