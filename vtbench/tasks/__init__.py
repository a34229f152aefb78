"""What networks are trained for, one file a task: a new file here that registers itself in `TASKS` is a new task.

Its metrics stand in `vtbench.metrics`, where reports find them without torch.
"""

import importlib
import pkgutil

from vtbench.tasks.tally import Tally
from vtbench.tasks.task import TASKS, Objective, Task, find_task

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"vtbench.tasks.{_module.name}")

__all__ = ["TASKS", "Objective", "Tally", "Task", "find_task"]
