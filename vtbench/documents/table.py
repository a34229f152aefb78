"""A table of words, the same for every format that readers see."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

NOTHING = "–"
"""What stands in a cell for which there is no number."""


@dataclass(frozen=True)
class Table:
    """Words in rows and columns. ``numeric`` says which columns are set flush right; ``title`` may be empty."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    title: str = ""

    def without(self, *titles: str) -> Table:
        """The table less the columns of these titles."""
        kept = [index for index, title in enumerate(self.header) if title not in titles]
        return Table(
            tuple(self.header[index] for index in kept),
            tuple(tuple(row[index] for index in kept) for row in self.rows),
            tuple(self.numeric[index] for index in kept),
            self.title,
        )


def make_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Collection[str] = (), title: str = ""
) -> Table:
    """A table whose columns of the titles ``numbers`` are set flush right."""
    return Table(tuple(header), tuple(tuple(row) for row in rows), tuple(column in numbers for column in header), title)
