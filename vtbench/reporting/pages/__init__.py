"""The pages under ``reports/``, one file a page: a new file here that registers itself in `PAGES` is rendered."""

import importlib
import pkgutil

from vtbench.reporting.pages.page import PAGES, Page

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"vtbench.reporting.pages.{_module.name}")

__all__ = ["PAGES", "Page"]
