"""Loss and metrics of a network on a split."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from vtbench.datasets.batches import EvalBatches
from vtbench.tasks import Tally, Task
from vtbench.training.world import ALONE, World


def evaluate(
    model: nn.Module,
    batches: EvalBatches,
    *,
    task: Task,
    to_device: Callable[[Tensor], Tensor],
    autocast: Callable[[], AbstractContextManager[object]],
    after_batch: Callable[[], None] = lambda: None,
    world: World = ALONE,
) -> dict[str, float]:
    """The mean ``loss`` and the task's metrics of ``model`` in evaluation mode; it is put back into the mode it was in.

    ``batches`` are this process's share of the split, the numbers those of the whole. ``after_batch`` may raise to
    leave early. One wait for the device at the end, none in between.
    """
    was_training = model.training
    model.eval()
    tally = Tally(task, len(batches))
    try:
        with torch.inference_mode():
            for batch, (images_BCHW, targets) in enumerate(batches):
                targets_there = to_device(targets)
                with autocast():
                    scores = model(to_device(images_BCHW))
                tally.add_loss(batch, task.sum_losses(scores, targets_there), task.count_items(targets))
                tally.count(scores, targets_there)
                after_batch()
    finally:
        model.train(was_training)
    return tally.read(world.all_sum)
