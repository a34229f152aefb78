"""A table as Markdown, LaTeX and CSV text: equal input, equal bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from vtbench.reporting.tables import Table

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}
_LATEX |= {"±": r"$\pm$", "–": "--", "→": r"$\to$", "×": r"$\times$", "−": "$-$"}


def to_markdown(table: Table) -> str:
    """A GitHub table with padded columns, so that the source reads well too."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (table.header, *table.rows)]
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(table.header))]

    def align(row: list[str]) -> str:
        cells = (
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, table.numeric, strict=True)
        )
        return f"| {' | '.join(cells)} |"

    rule = "| " + " | ".join(
        "-" * (width - 1) + ":" if numeric else "-" * width
        for width, numeric in zip(widths, table.numeric, strict=True)
    )
    return "\n".join([align(rows[0]), f"{rule} |", *(align(row) for row in rows[1:])]) + "\n"


def to_latex(table: Table) -> str:
    """A ``tabular`` in the style of ``booktabs``."""
    columns = "".join("r" if numeric else "l" for numeric in table.numeric)
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", _latex_row(table.header), "\\midrule"]
    lines += [*(_latex_row(row) for row in table.rows), "\\bottomrule", "\\end{tabular}"]
    return "\n".join(lines) + "\n"


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Comma-separated values with a header; None is an empty field."""
    listed = list(rows)
    columns = list(dict.fromkeys(key for row in listed for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return stream.getvalue()


def escape_latex(text: str) -> str:
    """``text`` with every character that LaTeX reads as a command made a letter again."""
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_row(cells: tuple[str, ...]) -> str:
    return " & ".join(escape_latex(cell) for cell in cells) + " \\\\"
