"""Loss and metrics of a network on a split; scores of whole images or of windows that slide over them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vtbench.configuration import Recipe
from vtbench.datasets.batches import EvalBatches
from vtbench.tasks import Tally, Task
from vtbench.training.world import ALONE, World


def predict_whole(model: nn.Module, images_BCHW: Tensor) -> Tensor:
    """The scores of whole images."""
    scores: Tensor = model(images_BCHW)
    return scores


@dataclass(frozen=True)
class SlidingWindow:
    """Scores of images of any size by windows of (height, width) ``window``, every ``stride`` pixels.

    A pixel's scores are the mean of the scores (logits) that the windows over it give it. The last window of a row or
    column ends where the image does, so that all are of one size; along an axis on which the image is no larger than
    ``window`` there is one, as large as the image. One window over the whole image gives the network's own scores.
    """

    window: tuple[int, int]
    stride: tuple[int, int]

    @classmethod
    def of(cls, recipe: Recipe) -> Callable[[nn.Module, Tensor], Tensor]:
        """How ``recipe`` predicts."""
        if recipe.window is None:
            return predict_whole
        height, width = recipe.window
        return cls(recipe.window, recipe.stride or (max(1, height * 2 // 3), max(1, width * 2 // 3)))

    def __call__(self, model: nn.Module, images_BCHW: Tensor) -> Tensor:
        """Scores of shape (B, K, H, W) of the images (B, C, H, W)."""
        height, width = images_BCHW.shape[2:]
        size = min(self.window[0], height), min(self.window[1], width)
        total, num_windows_HW = None, images_BCHW.new_zeros((height, width))
        for top, left in itertools.product(
            _list_starts(height, size[0], self.stride[0]), _list_starts(width, size[1], self.stride[1])
        ):
            place = (..., slice(top, top + size[0]), slice(left, left + size[1]))
            scores = model(images_BCHW[place])
            if total is None:
                total = scores.new_zeros((*scores.shape[:2], height, width), dtype=torch.float32)
            total[place] += scores
            num_windows_HW[place] += 1
        assert total is not None
        mean: Tensor = total / num_windows_HW
        return mean


def _list_starts(side: int, window: int, stride: int) -> list[int]:
    last = side - window
    return [*range(0, last, stride), last]


def evaluate(
    model: nn.Module,
    batches: EvalBatches,
    *,
    task: Task,
    to_device: Callable[[Tensor], Tensor],
    autocast: Callable[[], AbstractContextManager[object]],
    predict: Callable[[nn.Module, Tensor], Tensor] = predict_whole,
    after_batch: Callable[[], None] = lambda: None,
    world: World = ALONE,
) -> dict[str, float]:
    """The mean ``loss`` and the task's metrics of ``model`` in evaluation mode; it is put back into the mode it was in.

    ``batches`` are this process's share of the split, the numbers those of the whole. ``after_batch`` may raise to
    leave early. ``predict`` makes scores of images, whole ones by default.
    """
    was_training = model.training
    model.eval()
    tally = Tally(task, len(batches))
    try:
        with torch.inference_mode():
            for batch, (images_BCHW, truth) in enumerate(batches):
                with autocast():
                    scores = predict(model, to_device(images_BCHW))
                losses = []
                for part, its_truth in task.align(scores, truth):
                    truth_there = to_device(its_truth)
                    losses.append(task.sum_losses(part, truth_there))
                    tally.count(part, truth_there)
                tally.add_loss(batch, torch.stack(losses).sum(), task.count_items(truth))
                after_batch()
    finally:
        model.train(was_training)
    return tally.read(world.all_sum)
