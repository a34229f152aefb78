"""vtbench: what does an architectural choice cost, and what does it buy?

The package root imports nothing heavy: each name loads what it needs when it is first used.

>>> import vtbench
>>> [name for name in dir(vtbench) if not name.startswith("_")]
['RunFailed', 'UserError', 'create_model', 'load_run', 'load_runs', 'profile', 'report', 'run_study', 'train']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtbench.api.costs import profile
    from vtbench.api.reports import report
    from vtbench.api.runs import RunFailed, load_run, train
    from vtbench.api.studies import run_study
    from vtbench.api.tables import load_runs
    from vtbench.errors import UserError
    from vtbench.models import create_model

__version__ = "0.1.0"
__all__ = [
    "RunFailed",
    "UserError",
    "__version__",
    "create_model",
    "load_run",
    "load_runs",
    "profile",
    "report",
    "run_study",
    "train",
]


_ROOMS = {
    "RunFailed": "vtbench.api.runs",
    "UserError": "vtbench.errors",
    "create_model": "vtbench.models",
    "load_run": "vtbench.api.runs",
    "load_runs": "vtbench.api.tables",
    "profile": "vtbench.api.costs",
    "report": "vtbench.api.reports",
    "run_study": "vtbench.api.studies",
    "train": "vtbench.api.runs",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'vtbench' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
