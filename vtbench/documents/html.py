"""A table as HTML, as notebooks show it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from vtbench.documents.table import Table, escape_controls


def to_html(table: Table) -> str:
    """A ``<table>`` with its title as caption; numbers stand flush right."""
    rows = "\n".join(f"<tr>{_cells(row, table.numeric, 'td')}</tr>" for row in table.rows)
    caption = f"<caption>{_text(table.title)}</caption>\n" if table.title else ""
    header = f"<thead><tr>{_cells(table.header, table.numeric, 'th')}</tr></thead>\n" if any(table.header) else ""
    return f"<table>\n{caption}{header}<tbody>\n{rows}\n</tbody>\n</table>\n"


def to_html_notes(notes: Iterable[str]) -> str:
    """Paragraphs below a table."""
    return "".join(f"<p>{_text(note)}</p>\n" for note in notes)


def _cells(row: Iterable[str], numeric: Iterable[bool], tag: str) -> str:
    return "".join(
        f'<{tag} style="text-align:{"right" if number else "left"};padding:0.1em 0.6em">{_text(cell)}</{tag}>'
        for cell, number in zip(row, numeric, strict=True)
    )


def _text(text: str) -> str:
    return escape(escape_controls(text))
