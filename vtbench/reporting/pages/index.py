"""The page over every archived study."""

from __future__ import annotations

from pathlib import Path

from vtbench.files import publish_text
from vtbench.reporting.archive import list_archives
from vtbench.reporting.pages.page import PAGES, Page
from vtbench.reporting.report import INDEX_FILE
from vtbench.reporting.web.index_page import render_index


def write_index(reports: Path) -> list[Path]:
    """Write ``index.html`` beside the studies, if there are any; it is no Markdown."""
    if list_archives(reports):
        publish_text(reports / INDEX_FILE, render_index(reports))
    return []


PAGES.add("index", Page(order=9, write=write_index))
