"""The report of every archived study."""

from __future__ import annotations

from pathlib import Path

from vtbench.reporting.archive import list_archives
from vtbench.reporting.pages.page import PAGES, Page
from vtbench.reporting.rendering import write_report


def write_studies(reports: Path) -> list[Path]:
    """Render every archive beneath ``reports`` in its own folder."""
    return [write_report(archive).markdown for archive in list_archives(reports)]


PAGES.add("studies", Page(order=1, write=write_studies))
