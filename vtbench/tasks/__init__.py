"""What networks are trained for, one file a task: a new file here that registers itself in `TASKS` is a new task.

Its metrics stand in `vtbench.metrics`, where reports find them without torch.
"""

from vtbench.registry import import_files
from vtbench.tasks.task import TASKS, Objective, Tally, Task, find_task

import_files(__name__, __path__)

__all__ = ["TASKS", "Objective", "Tally", "Task", "find_task"]
