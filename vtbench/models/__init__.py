"""The registered models: parts assembled into named presets. Importing this package registers all of them.

One file of this package is one family; it enters its presets in `MODELS` when imported, and is found by being there.
"""

from __future__ import annotations

import importlib
import pkgutil

from vtbench.models.creation import create_model
from vtbench.variants import MODELS

# The catalogue describes what the others register; it is run as a module, which must not be imported already.
_NOT_A_FAMILY = "catalog"

for _module in pkgutil.iter_modules(__path__):
    if _module.name != _NOT_A_FAMILY:
        importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["MODELS", "create_model"]
