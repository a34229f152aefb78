"""What training minimises: cross entropy with label smoothing, and distillation when a teacher is given."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtbench.configuration import Recipe

# Dimensions: B images of a batch, C channels, H height, W width, K classes.


class Objective:
    """The loss of a recipe, a mean over the batch.

    Without a teacher: cross entropy against the smoothed labels (Szegedy et al. 2016, section 7). With one, and
    temperature t: weight * t^2 * KL(teacher / t || student / t) + (1 - weight) * cross entropy (Hinton et al. 2015).
    """

    def __init__(self, recipe: Recipe, teacher: nn.Module | None) -> None:
        self.label_smoothing = recipe.label_smoothing
        self.distillation = recipe.distillation
        self.teacher = teacher

    def __call__(self, images_BCHW: Tensor, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """The loss of one batch, a scalar."""
        loss = F.cross_entropy(logits_BK, labels_B, label_smoothing=self.label_smoothing)
        if self.distillation is None or self.teacher is None:
            return loss
        with torch.no_grad():
            teacher_BK = self.teacher(images_BCHW)
        temperature, weight = self.distillation.temperature, self.distillation.weight
        divergence = F.kl_div(
            F.log_softmax(logits_BK / temperature, dim=1),
            F.log_softmax(teacher_BK / temperature, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        return weight * temperature**2 * divergence + (1 - weight) * loss
