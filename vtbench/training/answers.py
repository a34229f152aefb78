"""Keep what the network answers to each image of an evaluation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtbench.datasets.batches import EvalBatches
from vtbench.datasets.dataset import ImageDataset
from vtbench.records.answers import Answers
from vtbench.tasks import Task
from vtbench.training.world import World

# B images of a batch, N of a split, K classes.


class AnswerKeeper:
    """Hears every batch of `evaluate`; ``by_image`` is what it takes there, None where classes are kept instead."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.by_image: list[float] | None = [] if task.answers_with_masks else None
        self._truth: list[Tensor] = []
        self._predicted: list[Tensor] = []
        self._num_classes = 0

    def hear(self, scores: Tensor, truth: Tensor) -> None:
        """Keep the classes of a batch. Nothing waits for the device."""
        if self.by_image is None:
            self._truth.append(truth)
            self._predicted.append(scores.argmax(1))
            self._num_classes = scores.shape[1]

    def gather(self, batches: EvalBatches, data: ImageDataset, world: World) -> Answers:
        """The answers to all images of ``data``, in their order, from those of this process's ``batches``."""
        places = torch.from_numpy(batches.list_indices())

        def spread(values: Tensor) -> NDArray[np.float64]:
            own_N = torch.zeros(len(data), dtype=torch.float64)
            own_N[places] = values.to("cpu", torch.float64)
            return np.asarray(world.all_sum({"values": own_N})["values"])

        if self.by_image is not None:
            return Answers(self._task.name, spread(torch.tensor(self.by_image, dtype=torch.float64)), rows=data.rows)
        truth_N, predicted_N = (
            spread(torch.cat(parts) if parts else torch.zeros(0)) for parts in (self._truth, self._predicted)
        )
        return Answers.of_classes(
            self._task.name, truth_N, predicted_N, num_classes=self._num_classes, rows_N=data.rows
        )
