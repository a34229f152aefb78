"""The sums of an epoch or a split, of any task: they are saved, and added up over processes, by name."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vtbench.tasks.task import Task

# Dimensions: N batches of an epoch or a split.


class Tally:
    """Adds up what ``task`` counts over ``num_batches`` batches; nothing waits for the device until it is read.

    ``sums`` holds the task's counts, the number of ``items``, and ``losses`` of shape (N,): each batch's own sum, so
    that adding them up rounds once. Sums of parts of the same batches add up to the sums of the whole.
    """

    def __init__(self, task: Task, num_batches: int) -> None:
        self.task, self.num_batches = task, num_batches
        self.sums: dict[str, Tensor] = {}

    def count(self, scores: Tensor, targets: Tensor) -> None:
        """Add the counts of a batch, or of a part of one."""
        for name, value in self.task.count(scores, targets).items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def add_loss(self, batch: int, loss: Tensor, num_items: int) -> None:
        """Enter the loss of the batch number ``batch``, summed over its ``num_items``."""
        if "losses" not in self.sums:
            self.sums["losses"] = torch.zeros(self.num_batches, device=loss.device)
            self.sums["items"] = torch.zeros((), dtype=torch.int64, device=loss.device)
        self.sums["losses"][batch] = loss
        self.sums["items"] += num_items

    def list_losses(self) -> list[float]:
        """The loss of each batch, summed over its items; 0 for a batch that is still to come."""
        return self.sums["losses"].tolist()

    def read(self, all_sum: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda sums: sums) -> dict[str, float]:
        """The mean ``loss`` and the metrics of all that was added, here or with ``all_sum`` anywhere.

        Waits for the device.
        """
        sums = all_sum(self.sums)
        return {"loss": math.fsum(sums["losses"].tolist()) / int(sums["items"]), **self.task.measure(sums)}
