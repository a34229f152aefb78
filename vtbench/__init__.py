"""vtbench: what does an architectural choice cost, and what does it buy?

The package root imports nothing heavy: ``vtbench.profile`` and ``vtbench.create_model`` load torch when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtbench.models import create_model
    from vtbench.profiling import profile

__version__ = "0.1.0"
__all__ = ["__version__", "create_model", "profile"]


_ROOMS = {"create_model": "vtbench.models", "profile": "vtbench.profiling"}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'vtbench' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
