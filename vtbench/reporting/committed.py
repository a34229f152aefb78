"""Render everything under ``reports/`` again from its records, and the README after it.

``python -m vtbench.reporting.committed`` works on the checkout in the current folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vtbench.reporting.archive import list_archives
from vtbench.reporting.published_report import write_published_report
from vtbench.reporting.readme import rewrite_readme
from vtbench.reporting.report import ReportPaths, write_report

PUBLISHED = "published"
"""The folder under ``reports/`` that is rendered from the literature's data instead of from records."""


def render_committed(reports: Path) -> list[ReportPaths]:
    """Render the archives beneath ``reports``, and the literature's report if it is there."""
    rendered = [write_report(archive) for archive in list_archives(reports)]
    if (reports / PUBLISHED).is_dir():
        rendered.append(write_published_report(reports / PUBLISHED))
    return rendered


if __name__ == "__main__":
    for _paths in render_committed(Path("reports")):
        sys.stdout.write(f"{_paths.markdown}\n")
    sys.stdout.write("README.md rewritten\n" if rewrite_readme(Path()) else "README.md is up to date\n")
