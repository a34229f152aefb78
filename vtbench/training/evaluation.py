"""Loss and accuracy of a network on a split."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Dimensions: B images of a batch, C channels, H height, W width, K classes.


class Evaluation(NamedTuple):
    """Mean cross entropy (without label smoothing) and top-1 accuracy in percent over a split."""

    loss: float
    top1_percent: float


def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    to_device: Callable[[Tensor], Tensor],
    autocast: Callable[[], AbstractContextManager[object]],
    after_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Evaluate ``model`` in evaluation mode and put it back into the mode it was in.

    ``batches`` yields (images_BCHW, labels_B); ``after_batch`` may raise to leave early. One wait for the device at the
    end, none in between.
    """
    was_training = model.training
    model.eval()
    losses: list[Tensor] = []
    correct: list[Tensor] = []
    num_images = 0
    try:
        with torch.inference_mode():
            for images_BCHW, labels_B in batches:
                labels = to_device(labels_B)
                with autocast():
                    logits_BK = model(to_device(images_BCHW))
                losses.append(F.cross_entropy(logits_BK.float(), labels, reduction="sum"))
                correct.append((logits_BK.argmax(1) == labels).sum())
                num_images += len(labels_B)
                after_batch()
    finally:
        model.train(was_training)
    loss = math.fsum(torch.stack(losses).tolist()) / num_images
    return Evaluation(loss, 100 * int(torch.stack(correct).sum()) / num_images)
