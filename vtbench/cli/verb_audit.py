"""``vtbench audit``: the literature's claims held against what is counted and trained here."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vtbench.cli.options import Json, choose_format


def run_audit(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Folders of runs on ImageNet that may speak to claims about accuracy.")
    ] = None,
    format: Annotated[Literal["table", "markdown", "json"], typer.Option(help="What to print.")] = "table",
    as_json: Json = False,
    table: Annotated[str | None, typer.Option(help="Only the claims of one table, e.g. 4, or abstract.")] = None,
) -> None:
    """Which claims of the literature hold here, and which do not.

    Each is reproduced, contradicted, or not tested by anyone here. Costs are recomputed live. The exit code is 1 if
    something is contradicted that is not marked as known, else 0.
    """
    from vtbench.audit import audit
    from vtbench.audit.counting import Counts, make_counter
    from vtbench.cli.waiting import tell_waiting
    from vtbench.documents.terminal import open_console
    from vtbench.records import NotMeasured, to_json
    from vtbench.reporting import audit_report
    from vtbench.reporting.runs import load_runs
    from vtbench.units import format_items

    format = choose_format(format, as_json)
    records = load_runs(*runs).records if runs else ()
    counted: set[str] = set()

    def count(variant: str, image_size: tuple[int, int], num_classes: int | None) -> Counts | NotMeasured:
        counts = counter(variant, image_size, num_classes)
        counted.add(variant)
        return counts

    counter = make_counter()
    with tell_waiting("counting what the claims speak of", lambda: f"{format_items(len(counted), 'network')} so far"):
        findings = audit.run_audit(count, records, table=table)
    if format == "table":
        audit_report.print_audit(findings, open_console())
    else:
        render = audit_report.render_markdown if format == "markdown" else to_json
        typer.echo(render(findings), nl=False)
    if not audit.is_clean(findings):
        raise typer.Exit(1)
