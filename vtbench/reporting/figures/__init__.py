"""The figures of a report, one file a figure: a new file here that registers itself in `FIGURES` is drawn and shown."""

from vtbench.registry import import_files
from vtbench.reporting.figures.figure import FIGURES, Figure

import_files(__name__, __path__)

__all__ = ["FIGURES", "Figure"]
