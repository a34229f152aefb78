"""Many models counted in one go, as the command line shows it: progress, the file of rows, the table in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vtbench.cli.commands import quick_import
from vtbench.cli.loudness import tell

if TYPE_CHECKING:
    from vtbench.profiling.zoo import ZooRequest
    from vtbench.records.profile import ZooRow

_SECONDS_BETWEEN_LINES = 10.0


def register_models() -> None:
    """Make the registered models known to a process."""
    with quick_import():
        import vtbench.models  # noqa: F401


def run_zoo(texts: Sequence[str], request: ZooRequest, *, jobs: int, out: Path | None, format: str) -> bool:
    """Count all models that ``texts`` stand for and print them; whether none was refused.

    With ``out`` every row is added there as it is done, and those that it holds are not counted again.
    """
    from vtbench.documents.terminal import open_console
    from vtbench.profiling.wildcards import expand_patterns
    from vtbench.profiling.zoo import count_zoo
    from vtbench.records import append_lines
    from vtbench.records.profile import ZooRow
    from vtbench.reporting.zoo_report import print_zoo, render_zoo
    from vtbench.units import format_items

    register_models()
    names = expand_patterns(texts)
    with ExitStack() as stack:
        known: list[ZooRow] = []
        keep: Callable[[ZooRow], None] | None = None
        if out is not None:
            known, keep = stack.enter_context(append_lines(out, ZooRow))
            _check_settings(known, request, out)
        rows = {row.model: row for row in known}
        asked = [name for name in names if name not in rows]
        show = stack.enter_context(_show_progress(len(names), len(names) - len(asked)))
        for row in count_zoo(asked, request, jobs=jobs, prepare=register_models):
            if keep is not None:
                keep(row)
            rows[row.model] = row
            show(row)
    found = [rows[name] for name in names]
    if format == "table":
        print_zoo(found, open_console())
    else:
        typer.echo(render_zoo(found, format), nl=False)
    if out is not None:
        there = "" if asked else ", all that was asked for stood there already"
        tell(f"Profiles: {out} ({format_items(len(rows), 'row')}{there})")
    return all(row.refused is None for row in found)


def _check_settings(known: Sequence[ZooRow], request: ZooRequest, out: Path) -> None:
    """Rows of other options or versions are not mixed with new ones."""
    from vtbench.errors import UserError
    from vtbench.profiling.zoo import list_packages

    for row in known:
        if (row.asked, row.packages) != (request.spell(), list_packages(row.model)):
            there = {**row.packages, **row.asked}
            here = {**list_packages(row.model), **request.spell()}
            differences = "; ".join(
                f"{key} is {there.get(key, 'not given')} there and {here.get(key, 'not given')} now"
                for key in sorted(there.keys() | here.keys())
                if there.get(key) != here.get(key)
            )
            raise UserError(
                f"{out} holds rows that were counted otherwise ({row.model}: {differences}). Name another file with "
                "--out, or remove this one."
            )


@contextmanager
def _show_progress(total: int, done: int) -> Iterator[Callable[[ZooRow], None]]:
    """A line on the terminal that moves, or now and then a line in a pipe; both go to the error stream."""
    from rich.live import Live

    from vtbench.cli.loudness import open_progress
    from vtbench.documents.wrapping import NameText
    from vtbench.units import format_duration

    console = open_progress()
    start = last = time.monotonic()
    counted = refused = 0

    def describe(model: str) -> str:
        left = (time.monotonic() - start) / max(counted, 1) * (total - done - counted)
        parts = [f"{done + counted}/{total}", f"{refused} refused", f"{format_duration(left)} left", model]
        return "  ".join(parts)

    with (
        Live(console=console, transient=True, refresh_per_second=4)
        if console.is_terminal and not console.quiet
        else ExitStack() as live
    ):

        def show(row: ZooRow) -> None:
            nonlocal counted, refused, last
            counted += 1
            refused += row.refused is not None
            if isinstance(live, Live):
                live.update(NameText(describe(row.model)))
            elif not console.quiet and time.monotonic() - last > _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                typer.echo(describe(row.model), err=True)

        yield show
