"""The pages under ``reports/``, one file a page: a new file here that registers itself in `PAGES` is rendered."""

from vtbench.registry import import_files
from vtbench.reporting.pages.page import PAGES, Page

import_files(__name__, __path__)

__all__ = ["PAGES", "Page"]
