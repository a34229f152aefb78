"""Tables in a terminal: they fit its width, and read as plain lines where the output is piped."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Sequence
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

    Columns that do not fit beside each other however they wrap follow below, the first one repeated. ``gap`` is the
    number of spaces between columns. A ``ruled`` table has a line below its header, a ``framed`` one blank lines and
    spaces around it, too, and a ``plain`` one neither.
    """
    ruled = look != "plain"
    cells = [[WrappedText(escape_controls(cell)) for cell in row] for row in (table.header, *table.rows)]

    def draw(places: Sequence[int]) -> RichTable:
        drawn = RichTable(
            box=_RULED if ruled else None,
            show_edge=look == "framed",
            pad_edge=False,
            padding=(0, gap - ruled, 0, 0),
            header_style="bold",
        )
        for place in places:
            drawn.add_column(
                cells[0][place],
                justify="right" if table.numeric[place] else "left",
                overflow="fold",
                no_wrap=table.header[place] in whole,
            )
        for row in cells[1:]:
            drawn.add_row(*(row[place] for place in places))
        return drawn

    places = range(len(table.header))
    return draw(places) if whole or look == "framed" else _FittedTable(draw, cells, table.numeric, gap)


class _FittedTable:
    """A table whose columns lose what does not fit, the widest first, and none less than its longest piece or number.

    Names in the first column keep a third of the width. Columns for which even so there is no room follow in a table
    below, led by the first column again. Pieces are broken where two columns are too wide.
    """

    def __init__(
        self,
        draw: Callable[[Sequence[int]], RichTable],
        cells: Sequence[Sequence[WrappedText]],
        numeric: Sequence[bool],
        gap: int,
    ) -> None:
        self._draw, self._gap = draw, gap
        self._least = [
            max(title.find_least_width(), *(cell.find_least_width(at_spaces=numbers) for cell in column), 1)
            for numbers, (title, *column) in zip(numeric, zip(*cells, strict=True), strict=True)
        ]
        self._most = [
            max(cell_len(line) for cell in column for line in cell.text.split("\n"))
            for column in zip(*cells, strict=True)
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        names = max(self._least[0], min(self._most[0], width // 3))
        least = [names, *self._least[1:]]
        for number, places in enumerate(self._share_out(least, width)):
            if number:
                yield ""
            yield self._fit(places, least, width)

    def _share_out(self, least: Sequence[int], width: int) -> list[list[int]]:
        """The columns of each table: all if there is room, else the first and as many as fit at their widest."""
        first, *others = range(len(least))
        if sum(least) + self._gap * len(others) <= width:
            return [[first, *others]]
        shares, left = [[first]], width - self._most[first]
        for place in others:
            taken = self._gap + self._most[place]
            if taken > left and len(shares[-1]) > 1:
                shares.append([first])
                left = width - self._most[first]
            shares[-1].append(place)
            left -= taken
        return shares

    def _fit(self, places: Sequence[int], least: Sequence[int], width: int) -> RichTable:
        table, room = self._draw(places), width - self._gap * (len(places) - 1)
        widths = [self._most[place] for place in places]
        if sum(least[place] for place in places) <= room < sum(widths):
            while sum(widths) > room:
                loose = [number for number, own in enumerate(widths) if own > least[places[number]]]
                widths[max(loose, key=widths.__getitem__)] -= 1
            for column, own in zip(table.columns, widths, strict=True):
                column.width = own
        return table


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
