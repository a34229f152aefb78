"""Loss and metrics of a network on a split; scores of whole images or of windows that slide over them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vtbench.configuration import Recipe
from vtbench.datasets.batches import EvalBatches
from vtbench.metrics import METRICS
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


_PIXELS_AT_ONCE, _LEAST_AT_ONCE = 1 << 16, 8
"""Pixels and images of a batch in evaluation on a CPU: measured by tests/benchmarks/evaluation_batches.py."""


def choose_batch_size(most: int, size: tuple[int, int], device: str, num_ranks: int = 1) -> int:
    """How many images of (height, width) ``size`` are evaluated at once: ``most``, that of the recipe, or fewer.

    What a CPU computes of one layer shall be in its caches when the next begins, so that large images are fastest a few
    at a time. The memory of a GPU is fast, and small batches leave it idle. ``num_ranks`` processes share a batch.

    >>> choose_batch_size(256, (32, 32), "cpu"), choose_batch_size(256, (224, 224), "cpu")
    (64, 8)
    >>> choose_batch_size(64, (32, 32), "cpu"), choose_batch_size(256, (224, 224), "cuda")
    (64, 256)
    """
    height, width = size
    if device != "cpu":
        return most
    return min(most, max(_LEAST_AT_ONCE, round(_PIXELS_AT_ONCE / (height * width))) * num_ranks)


def ignore(scores: Tensor, truth: Tensor) -> None:
    """Nothing: for those who need no batch."""


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
    by_image: list[float] | None = None,
    observe: Callable[[Tensor, Tensor], None] = ignore,
    tally: Tally | None = None,
) -> dict[str, float]:
    """The mean ``loss`` and the task's metrics of ``model`` in evaluation mode; it is put back into the mode it was in.

    ``batches`` are this process's share of the split, the numbers those of the whole. ``after_batch`` may raise to
    leave early. ``predict`` makes scores of images, whole ones by default. ``by_image``, if given, gets the headline
    metric of each image, NaN where nothing in it counts, in the order of the batches; counting image by image takes
    longer and comes to the same. ``observe`` is given the scores and the truth of each batch; ``tally``
    is added up in, where the caller wants its sums.
    """
    was_training = model.training
    model.eval()
    tally = tally or Tally(task, len(batches))
    try:
        with torch.inference_mode():
            for batch, (images_BCHW, truth) in enumerate(batches):
                if not len(truth):  # Of a batch that is smaller than the number of processes.
                    after_batch()
                    continue
                with autocast():
                    scores = predict(model, to_device(images_BCHW))
                observe(scores, truth)
                losses = []
                for part, its_truth in task.align(scores, truth):
                    truth_there = to_device(its_truth)
                    losses.append(task.sum_losses(part, truth_there))
                    if by_image is None:
                        tally.count(part, truth_there)
                    else:
                        by_image.extend(_count_images(tally, part, truth_there, its_truth))
                tally.add_loss(batch, torch.stack(losses).sum(), task.count_items(truth))
                after_batch()
    finally:
        model.train(was_training)
    return tally.read(world.all_sum)


def _count_images(tally: Tally, scores: Tensor, truth_there: Tensor, truth: Tensor) -> Iterator[float]:
    """Add the counts of a batch image by image; the headline metric of each."""
    task = tally.task
    for image in range(len(scores)):
        one = slice(image, image + 1)
        counts = task.count(scores[one], truth_there[one])
        tally.add(counts)
        yield measure_image(task, counts, task.count_items(truth[one]))[METRICS[task.name][0].key]


def measure_image(task: Task, counts: Mapping[str, Tensor], num_items: int) -> dict[str, float]:
    """The metrics of one image from what ``task`` counted of it; NaN where none of its items counts."""
    measured = task.measure({**counts, "items": torch.tensor(num_items)})
    return measured if num_items else dict.fromkeys(measured, math.nan)
