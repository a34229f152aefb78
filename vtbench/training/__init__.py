"""How a network is trained: recipe, loop, checkpoint, evaluation.

`train_run` trains one variant into one folder and can be killed at any moment. Importing this package does not load
torch; `train_run` does when it is first used. Models are found in `vtbench.variants.MODELS`, so whoever calls
`train_run` imports ``vtbench.models`` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vtbench.training.progress import (
    SILENT,
    BatchProgress,
    ListenerGroup,
    ProgressListener,
    RunStart,
    RunStopped,
    StopRequest,
)
from vtbench.training.recipe import list_recipes, load_recipe

if TYPE_CHECKING:
    from vtbench.training.run import train_run

__all__ = [
    "SILENT",
    "BatchProgress",
    "ListenerGroup",
    "ProgressListener",
    "RunStart",
    "RunStopped",
    "StopRequest",
    "list_recipes",
    "load_recipe",
    "train_run",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name == "train_run":
        from vtbench.training.run import train_run

        return train_run
    raise AttributeError(f"module 'vtbench.training' has no attribute {name!r}")
