"""Tables in a terminal: they fit its width, and read as plain lines where the output is piped."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import IO, Literal

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table as RichTable

from vtbench.documents.table import Table, escape_controls
from vtbench.documents.wrapping import NameText, WrappedText

_RULED = Box("    \n    \n ── \n    \n    \n    \n    \n    \n", ascii=True)
"""Without ``ascii`` rich would put a frame of its own in its place; outputs spell what they have no letter for."""
_PIPED_WIDTH = 1000
_NARROWEST = 20


def open_console(stream: IO[str] | None = None) -> Console:
    """A console that wraps at `find_width`."""
    stream = stream or sys.stdout
    return Console(file=stream, width=None if stream.isatty() else find_width(stream), highlight=False)


def find_width(stream: IO[str]) -> int:
    """Columns of the terminal; in a pipe those of the variable ``COLUMNS``, without which no line is broken."""
    if stream.isatty():
        return shutil.get_terminal_size().columns
    wanted = os.environ.get("COLUMNS", "")
    return max(int(wanted), _NARROWEST) if wanted.isascii() and wanted.isdigit() else _PIPED_WIDTH


def print_text(text: str, console: Console, *, style: str = "") -> None:
    """Print one paragraph as it is, in a style of rich's."""
    console.print(WrappedText(escape_controls(text), style=style))


def wrap_words(text: str, stream: IO[str] | None = None) -> str:
    """``text`` with its lines broken between words for the terminal ``stream``, and as it is for a pipe."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    lines = [textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in text.split("\n")]
    return "\n".join("\n".join(wrapped) for wrapped in lines)


def lay_out(
    table: Table, *, gap: int = 2, look: Literal["ruled", "framed", "plain"] = "ruled", whole: Collection[str] = ()
) -> RenderableType:
    """A table without its title: what does not fit wraps, so that nothing is cut, but in columns named in ``whole``.

    ``gap`` is the number of spaces between columns. A ``ruled`` table has a line below its header, a ``framed`` one
    blank lines and spaces around it, too, and a ``plain`` one neither.
    """
    ruled = look != "plain"
    rich_table = RichTable(
        box=_RULED if ruled else None,
        show_edge=look == "framed",
        pad_edge=False,
        padding=(0, gap - ruled, 0, 0),
        header_style="bold",
    )
    for title, numeric in zip(table.header, table.numeric, strict=True):
        rich_table.add_column(
            WrappedText(escape_controls(title)),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=title in whole,
        )
    cells = [[WrappedText(escape_controls(cell)) for cell in row] for row in (table.header, *table.rows)]
    for row in cells[1:]:
        rich_table.add_row(*row)
    return rich_table if whole or look == "framed" else _FittedTable(rich_table, cells, gap)


class _FittedTable:
    """A table whose columns lose what does not fit, the widest first, and none less than its longest piece takes.

    Where even these do not fit, pieces are broken.
    """

    def __init__(self, table: RichTable, cells: Sequence[Sequence[WrappedText]], gap: int) -> None:
        self._table, self._gap = table, gap
        self._least = [max(cell.find_least_width() for cell in column) for column in zip(*cells, strict=True)]
        self._most = [
            max(cell_len(line) for cell in column for line in cell.text.split("\n"))
            for column in zip(*cells, strict=True)
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width - self._gap * (len(self._most) - 1)
        if sum(self._least) <= room < sum(self._most):
            widths = list(self._most)
            while sum(widths) > room:
                loose = [place for place, width in enumerate(widths) if width > self._least[place]]
                widths[max(loose, key=widths.__getitem__)] -= 1
            for column, width in zip(self._table.columns, widths, strict=True):
                column.width = width
        yield self._table


def lay_out_live(header: Sequence[str], rows: Sequence[Sequence[RenderableType]]) -> RenderableType:
    """A table that is drawn again and again, on as many lines as it has rows.

    Names in the first column are shortened, where they must be, so that they are still told apart. A title may have
    two lines; without titles there is no header. Cells may be anything that rich can render, such as the bar of a
    progress.
    """
    rich_table = RichTable(
        box=None, padding=(0, 1), pad_edge=False, show_header=any(header), collapse_padding=not any(header)
    )
    for place, title in enumerate(header):
        rich_table.add_column(
            "\n".join(escape_controls(line) for line in title.split("\n")),
            overflow="ellipsis",
            no_wrap=place > 0,  # What may wrap is narrowed first; its text does not wrap, and is cut.
            justify="right" if place and any(header) else "left",
        )
    names = [escape_controls(row[0]) for row in rows if isinstance(row[0], str)]
    for row in rows:
        cells = [NameText(escape_controls(cell)) if isinstance(cell, str) else cell for cell in row]
        if isinstance(row[0], str):
            cells[0] = NameText(escape_controls(row[0]), others=names)
        rich_table.add_row(*cells)
    return rich_table
