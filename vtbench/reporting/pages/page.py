"""What a committed page is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vtbench.registry import Registry


@dataclass(frozen=True)
class Page:
    """``write`` renders the page into the folder ``reports/`` and returns the Markdown files; none where its data lack.

    ``block`` is what the README shows of it, between markers of the page's name, from the same folder. Pages are
    written by rising ``order``, and the README after them.
    """

    order: int
    write: Callable[[Path], list[Path]]
    block: Callable[[Path], str] | None = None


PAGES: Registry[Page] = Registry("page")
