"""A table of words, the same for every format that readers see, and its text as Markdown, LaTeX and CSV.

Equal input gives equal bytes, in JSON of plain numbers too. All escaping stands here.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_TEXT = re.compile(r"[\ud800-\udfff]")
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|\]\(")
"""What begins a tag of HTML or the target of a link, in Markdown."""
_FORMULA = re.compile(r"[=+\-@](?!\d+(\.\d+)?%?$)")
"""What a spreadsheet takes for the beginning of a formula; a number with its sign is none."""
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}
_LATEX |= {"±": r"$\pm$", "–": "--", "→": r"$\to$", "×": r"$\times$", "−": "$-$", "<": "$<$", ">": "$>$"}


def to_markdown(table: Table, *, padded: bool = True) -> str:
    """A GitHub table; its columns are ``padded``, so that the source reads well too, unless a row is very long."""
    rows = [[escape_markdown(cell).replace("|", "\\|") for cell in row] for row in (table.header, *table.rows)]
    columns = list(zip(*rows, strict=True)) if padded else [()] * len(table.header)
    widths = [max((3, *map(len, column))) if padded else 0 for column in columns]
    rule = [
        ("-" * (width - 1) + ":" if width else "---:") if numeric else "-" * (width or 3)
        for width, numeric in zip(widths, table.numeric, strict=True)
    ]

    def align(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, table.numeric, strict=True)
        )
        return f"| {' | '.join(cells)} |\n"

    return "".join(align(row) for row in (rows[0], rule, *rows[1:]))


def to_latex(table: Table) -> str:
    """A ``tabular`` in the style of ``booktabs``; a number below zero has a minus and no hyphen."""
    columns = "".join("r" if numeric else "l" for numeric in table.numeric)
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", _latex_row(table.header), "\\midrule"]
    for row in table.rows:
        lines.append(_latex_row([_set_minus(*cell) for cell in zip(row, table.numeric, strict=True)]))
    lines += ["\\bottomrule", "\\end{tabular}"]
    return "\n".join(lines) + "\n"


def is_latex_table(text: str) -> bool:
    """Whether text is what `to_latex` writes, comments before it aside."""
    lines = [line for line in text.splitlines() if line and not line.startswith("%")]
    return len(lines) > 1 and lines[0].startswith("\\begin{tabular}") and lines[1] == "\\toprule"


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Comma-separated values with a header, which is that of all keys; None is an empty field. No rows, no text.

    Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    listed = list(rows)
    columns = {key: _escape_value(key) for row in listed for key in row}
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(columns), restval="", lineterminator="\n")
    if columns:
        writer.writerow(columns)
    writer.writerows({key: _escape_value(value) for key, value in row.items()} for row in listed)
    return stream.getvalue()


def to_plain_json(plain: Any) -> str:
    """Plain values as JSON text with a newline at the end; a number that is none is an error."""
    return spell_bytes(json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def spell_bytes(text: str) -> str:
    """JSON in which what stands for bytes of a name that are no text is spelled out in letters, to be read again."""
    return _NO_TEXT.sub(lambda match: f"\\\\u{ord(match[0]):04x}", text)


def list_items(items: Iterable[str]) -> str:
    """A list in Markdown, an item a line."""
    return "\n".join(f"- {escape_markdown(item)}" for item in items)


def escape_controls(text: str) -> str:
    """``text`` with control characters other than line ends spelled out: a name cannot steer the terminal.

    So is what stands for bytes of a name that are no text.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def escape_latex(text: str) -> str:
    """``text`` on one line, with every character that LaTeX reads as a command made a letter again."""
    return "".join(_LATEX.get(character, character) for character in _join_lines(text))


def escape_markdown(text: str) -> str:
    """``text`` on one line, without tags of HTML, links or pictures; code and emphasis stay."""
    return _MARKUP.sub(lambda match: "&lt;" if match[0] == "<" else "]\\(", _join_lines(text))


def _escape_value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = escape_controls(value)
    return f"'{text}" if _FORMULA.match(text) else text


def _join_lines(text: str) -> str:
    return escape_controls(" ".join(text.splitlines()))


def _set_minus(cell: str, is_number: bool) -> str:
    return f"−{cell[1:]}" if is_number and re.match(r"-\d", cell) else cell


def _latex_row(cells: Sequence[str]) -> str:
    """A row, led by an empty group where the end of the row above would take its first character for an option."""
    row = " & ".join(escape_latex(cell) for cell in cells) + " \\\\"
    return f"{{}}{row}" if row.startswith(("[", "*")) else row
