"""A report in the terminal: fits 80 columns, and reads as plain lines when piped."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from vtbench.reporting.published_report import (
    TITLE,
    PublishedRow,
    list_published_notes,
    list_recipes,
    tabulate_published,
)
from vtbench.reporting.rendering import Report, explain_apart
from vtbench.reporting.tables import Table, list_notes, tabulate_seeds, tabulate_summary


def print_report(report: Report, console: Console) -> None:
    """Title, question, the tables of every comparison, the notes, and what was left out."""
    console.print(Text(report.plan.title, style="bold"))
    if report.plan.question:
        console.print(Text(report.plan.question))
    for number, comparison in enumerate(report.comparisons, 1):
        if comparison.apart:
            console.print(Text(f"\nKept apart: comparison {number}", style="bold yellow"))
            console.print(Text(explain_apart(comparison)))
        print_table(tabulate_summary(comparison), console)
        if len(comparison.seeds) > 1:
            print_table(tabulate_seeds(comparison), console)
    console.print()
    for note in list_notes(report.comparisons):
        console.print(Text(f"- {note}"))
    for left in report.left_out:
        console.print(Text(f"- Left out: {left.path}: {left.reason}", style="yellow"))


def print_published(rows: Sequence[PublishedRow], console: Console) -> None:
    """The table of the literature without its recipes, and the notes, which the files have in full."""
    table = tabulate_published(rows)
    keep = [index for index, title in enumerate(table.header) if title != "recipe"]
    narrow = Table(
        tuple(table.header[index] for index in keep),
        tuple(tuple(row[index] for index in keep) for row in table.rows),
        tuple(table.numeric[index] for index in keep),
    )
    console.print(Text(TITLE, style="bold"))
    print_table(narrow, console)
    console.print()
    for note in (*list_published_notes(rows), *list_recipes(rows)):
        console.print(Text(f"- {note}"))


def print_table(table: Table, console: Console) -> None:
    """A table without frames; the words of the first column may wrap, numbers never do."""
    rich_table = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for title, numeric in zip(table.header, table.numeric, strict=True):
        rich_table.add_column(
            title, justify="right" if numeric else "left", no_wrap=False, overflow="fold", header_style="bold"
        )
    for row in table.rows:
        rich_table.add_row(*(Text(cell, no_wrap=numeric) for cell, numeric in zip(row, table.numeric, strict=True)))
    console.print()
    console.print(rich_table)
