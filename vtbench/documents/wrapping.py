"""Text that has too little room: words broken where a reader would break them, names cut in their middle."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Sequence

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

from vtbench.documents.table import escape_controls

_PLACES = tuple(re.compile(rf"(?<=[{marks}])(?=.)") for marks in (",;", "/\\\\:", "=+|&", "-_."))
"""After what a word is broken: where that does not do, after the next kind; at last anywhere."""
_CUT = "…"
_WORD_END = re.compile("[-_.,;:=+/ ]")
_FEWEST_TOLD_APART = 7
"""Columns in which there is room for a difference between two marks of what is left out."""
_LONGEST_NAME = 80


class _Fitted:
    """Text that is fitted to the columns it is given, in a style of rich's."""

    def __init__(self, text: str, style: str = "") -> None:
        self.text, self.style = text, style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.text, self.style) if options.no_wrap else self.fit(options.max_width)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Text(self.text).__rich_measure__(console, options)

    def fit(self, width: int) -> Text:
        """The text with no word wider than ``width``."""
        raise NotImplementedError


class WrappedText(_Fitted):
    """Text whose words are broken after a comma or the like where one is wider than its line."""

    def fit(self, width: int) -> Text:
        """Long words in pieces."""
        lines = (" ".join(_break_word(word, width) for word in line.split(" ")) for line in self.text.split("\n"))
        return Text("\n".join(lines), self.style)

    def find_least_width(self, *, at_spaces: bool = False) -> int:
        """The columns that the longest piece takes which a reader would not break; of numbers it ends ``at_spaces``."""
        pieces = self.text.split()
        for place in () if at_spaces else _PLACES:
            pieces = [part for piece in pieces for part in place.split(piece)]
        return max(map(cell_len, pieces), default=1)


class NameText(_Fitted):
    """Text on one line; of one that is too long the middle goes, or what it shares with ``others`` that end alike."""

    def __init__(self, text: str, style: str = "", others: Collection[str] = ()) -> None:
        super().__init__(text, style)
        self._others = others

    def fit(self, width: int) -> Text:
        """The one line."""
        return Text(shorten_among(self.text, self._others, width), self.style, no_wrap=True)


def shorten(text: str, most: int) -> str:
    """At most so many columns, the middle left out.

    >>> shorten("vt_resnet20-scenes-small-seed0", 16)
    'vt_resne…l-seed0'
    """
    if cell_len(text) <= most:
        return text
    kept = max(most - 1, 0)
    head = chop_cells(text, kept - kept // 2)[0] if kept else ""
    tail = chop_cells(text[::-1], kept // 2)[0][::-1] if kept > 1 else ""
    return f"{head}{_CUT}{tail}"


def shorten_among(text: str, others: Collection[str], most: int) -> str:
    """At most so many columns, in which ``text`` is told from ``others`` that are shortened so, where there is room.

    >>> shorten_among("resnet-epochs-2-limit-train-9-seed0", ["resnet-epochs-20-limit-train-9-seed0"], 24)
    'resnet-epochs-2…9-seed0'
    """
    short = shorten(text, most)
    alike = [other for other in others if other != text and shorten(other, most) == short]
    if not alike or most < _FEWEST_TOLD_APART:
        return short
    group = [text, *alike]
    first = _count_alike(group)
    last = _count_alike([name[first:][::-1] for name in group])
    own, *rest = (name[first : len(name) - last] for name in group)
    part = shorten_among(own, rest, most - 2)
    before, after = text[:first], text[len(text) - last :]
    spare = most - 2 - cell_len(part)
    word = next(piece for piece in _list_endings(before) if cell_len(piece) <= spare // 2)
    before, spare = before[: len(before) - len(word)], spare - cell_len(word)
    head = before if cell_len(before) <= spare - spare // 2 + 1 else f"{before[: spare - spare // 2]}{_CUT}"
    tail = after if cell_len(after) <= spare // 2 + 1 else f"{_CUT}{after[len(after) - spare // 2 :]}"
    return shorten(f"{head}{word}{part}{tail}", most)


def _count_alike(texts: Sequence[str]) -> int:
    """With how many letters all begin alike."""
    pairs = zip(min(texts), max(texts), strict=False)  # Whatever these two share, those between them do.
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _list_endings(text: str) -> Iterator[str]:
    """The last words of ``text``, the most of them first; at last none."""
    yield from (text[match.end() :] for match in _WORD_END.finditer(text))
    yield ""


def spell_name(name: str) -> str:
    r"""A name from others' records as a figure has room for it: controls are spelled out, the middle may be left out.

    >>> spell_name("a\x1bb")
    'a\\x1bb'
    """
    return shorten(escape_controls(name), _LONGEST_NAME)


def _break_word(word: str, width: int) -> str:
    return "\n".join(_list_pieces(word, width, _PLACES))


def _list_pieces(word: str, width: int, places: Sequence[re.Pattern[str]]) -> list[str]:
    """The word in pieces of ``width`` columns at most, broken at the first kind of place that does."""
    if cell_len(word) <= width:
        return [word]
    if not places:
        return chop_cells(word, width)
    lines: list[str] = []
    for part in places[0].split(word):
        for piece in _list_pieces(part, width, places[1:]):
            if lines and cell_len(lines[-1] + piece) <= width:
                lines[-1] += piece
            else:
                lines.append(piece)
    return lines
