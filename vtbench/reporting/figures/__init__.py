"""The figures of a report, one file a figure: a new file here that registers itself in `FIGURES` is drawn and shown."""

import importlib
import pkgutil

from vtbench.reporting.figures.figure import FIGURES, Figure

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"vtbench.reporting.figures.{_module.name}")

__all__ = ["FIGURES", "Figure"]
