"""What a task is to training, evaluation and studies, none of which knows more of it than this."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from vtbench.configuration import Recipe
from vtbench.datasets.batches import Targets
from vtbench.datasets.dataset import ImageDataset
from vtbench.registry import Registry
from vtbench.variants import find_model, split_variant

# Dimensions: B images of a batch, C channels, H height, W width, K classes. Targets are (B,) or (B, H, W), scores
# (B, K) or (B, K, H, W), as the task has them. Items are what a loss is a mean over: images, or pixels that count.
# N batches of an epoch or a split.

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(images_BCHW, scores, targets) -> the loss of a batch in training, a scalar, the mean over its items."""


class Task(Targets, Protocol):
    """Holds no state of its own; processes that make batches get a copy."""

    name: str
    answers_with_masks: bool
    """Whether an answer is a mask. Of these a run keeps a few; image files are scaled to fit whole, else cut."""

    def name_classes(self, data: ImageDataset) -> tuple[str, ...]:
        """One name for each class that a network tells apart. Raises ``UserError`` for data that do not fit."""

    def count_items(self, targets: Tensor) -> int:
        """How many items the batch has; ``targets`` lie in main memory."""

    def settle_recipe(self, recipe: Recipe, train: ImageDataset) -> Recipe:
        """The recipe with whatever it leaves to the data. Raises ``UserError`` for what this task cannot do."""

    def make_objective(self, recipe: Recipe, teacher: nn.Module | None) -> Objective:
        """The loss that training by a settled ``recipe`` minimises."""

    def align(self, scores: Tensor, truth: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Scores and truth of a batch in parts that fit each other; ``truth`` lies in main memory."""

    def sum_losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        """The loss that evaluation reports, whatever the recipe: a scalar, summed over items."""

    def count(self, scores: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """What the metrics need of a batch, as named sums over items; integers, so that their order is nothing."""

    def measure(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """The metrics of `vtbench.metrics` by their keys, from the sums of `count` and the number of ``items``."""


TASKS: Registry[Task] = Registry("task")
"""Every task that can be trained."""


def find_task(variant: str) -> Task:
    """The task of a variant. Raises ``UserError`` for an unknown model or one that cannot be trained."""
    return TASKS[find_model(split_variant(variant)[0]).task]


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
        self.add(self.task.count(scores, targets))

    def add(self, counts: Mapping[str, Tensor]) -> None:
        """Add what the task has counted."""
        for name, value in counts.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def add_loss(self, batch: int, loss: Tensor, num_items: int) -> None:
        """Enter the loss of the batch number ``batch``, summed over its ``num_items``."""
        if "losses" not in self.sums:
            self.sums["losses"] = torch.zeros(self.num_batches, device=loss.device)
            self.sums["items"] = torch.zeros((), dtype=torch.int64, device=loss.device)
        self.sums["losses"][batch] = loss
        self.sums["items"] += num_items

    def read(self, all_sum: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda sums: sums) -> dict[str, float]:
        """The mean ``loss`` and the metrics of all that was added, here or with ``all_sum`` anywhere.

        Waits for the device.
        """
        sums = all_sum(self.sums)
        return {"loss": math.fsum(sums["losses"].tolist()) / max(1, int(sums["items"])), **self.task.measure(sums)}
