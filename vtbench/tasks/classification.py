"""Classification: one label an image; cross entropy with label smoothing, or distillation; top-1 accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtbench.configuration import Recipe
from vtbench.datasets.batches import Labels
from vtbench.datasets.dataset import ImageDataset
from vtbench.datasets.mixing import WHOLE
from vtbench.metrics import TOP1
from vtbench.tasks.task import TASKS, Objective

# Dimensions: B images of a batch, C channels, H height, W width, K classes.


class Classification(Labels):
    """Tell which of K classes an image shows: scores of shape (B, K) against labels of shape (B,)."""

    name = "classification"
    answers_with_masks = False

    def name_classes(self, data: ImageDataset) -> tuple[str, ...]:
        """The names of the labels."""
        return data.class_names

    def count_items(self, labels_B: Tensor) -> int:
        """The number of images."""
        return len(labels_B)

    def settle_recipe(self, recipe: Recipe, train: ImageDataset) -> Recipe:
        """The same recipe."""
        return recipe

    def make_objective(self, recipe: Recipe, teacher: nn.Module | None) -> Objective:
        """Cross entropy with the recipe's label smoothing and distillation."""
        return ClassificationObjective(recipe, teacher)

    def align(self, logits_BK: Tensor, labels_B: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Both as they are."""
        yield logits_BK, labels_B

    def sum_losses(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        """Cross entropy without label smoothing."""
        return F.cross_entropy(logits_BK.float(), labels_B, reduction="sum")

    def count(self, logits_BK: Tensor, labels_B: Tensor) -> dict[str, Tensor]:
        """How many images got their largest score for the right class; of a mixture, for the one with more of it."""
        labels_B = labels_B if labels_B.ndim == 1 else labels_B[:, 0]
        return {"correct": (logits_BK.argmax(1) == labels_B).sum()}

    def measure(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """Top-1 accuracy in percent."""
        return {TOP1.key: 100 * int(sums["correct"]) / int(sums["items"])}


class ClassificationObjective:
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
        loss = self._compare(logits_BK, labels_B)
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

    def _compare(self, logits_BK: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy against labels (B,), or against both labels of mixtures by their shares: `mix_labels`."""
        if labels.ndim == 1:
            return F.cross_entropy(logits_BK, labels, label_smoothing=self.label_smoothing)
        share_B = labels[:, 2] / WHOLE
        losses_2B = [
            F.cross_entropy(logits_BK, labels[:, one], label_smoothing=self.label_smoothing, reduction="none")
            for one in (0, 1)
        ]
        return (share_B * losses_2B[0] + (1 - share_B) * losses_2B[1]).mean()


TASKS.add(Classification.name, Classification())
