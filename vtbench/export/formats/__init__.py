"""What networks are exported as, one file a format; a format is found by being here."""

from vtbench.export.formats.export_format import FORMATS, ExportFormat
from vtbench.registry import import_files

import_files(__name__, __path__)

__all__ = ["FORMATS", "ExportFormat"]
