"""The registered models: parts assembled into named presets. Importing this package registers all of them.

One file of ``families`` is one family; it enters its presets in `MODELS` when imported, and is found by being there.
"""

from __future__ import annotations

import vtbench.models.families
import vtbench.models.foreign  # noqa: F401
from vtbench.variants import MODELS, create_model

__all__ = ["MODELS", "create_model"]
