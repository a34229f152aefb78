"""What a task is to training, evaluation and studies, none of which knows more of it than this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from vtbench.configuration import Recipe
from vtbench.datasets.augmentation import AugmentationDraws
from vtbench.datasets.dataset import ImageDataset
from vtbench.registry import Registry
from vtbench.variants import MODELS, split_variant

# Dimensions: B images of a batch, C channels, H height, W width, K classes. Targets are (B,) or (B, H, W), scores
# (B, K) or (B, K, H, W), as the task has them. Items are what a loss is a mean over: images, or pixels that count.

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(images_BCHW, scores, targets) -> the loss of a batch in training, a scalar, the mean over its items."""


class Task(Protocol):
    """Holds no state of its own; processes that make batches get a copy."""

    name: str

    def name_classes(self, data: ImageDataset) -> tuple[str, ...]:
        """One name for each class that a network tells apart. Raises ``UserError`` for data that do not fit."""

    def read_targets(self, data: ImageDataset, indices_B: NDArray[np.int64]) -> NDArray[Any]:
        """The targets of the images ``indices_B``, as they stand in the data."""

    def transform_targets(self, targets: NDArray[Any], draws: AugmentationDraws) -> NDArray[Any]:
        """Do to targets what ``draws`` do to their images."""

    def count_items(self, targets: Tensor) -> int:
        """How many items the batch has; ``targets`` lie in main memory."""

    def make_objective(self, recipe: Recipe, teacher: nn.Module | None) -> Objective:
        """The loss that training by ``recipe`` minimises."""

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
    return TASKS[MODELS[split_variant(variant)[0]].task]
