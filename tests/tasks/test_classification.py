from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from vtbench.configuration import DistillationConfig, Recipe
from vtbench.tasks.classification import ClassificationObjective

IMAGES = torch.zeros(3, 3, 2, 2)
LOGITS = torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0], [0.0, 0.0, 3.0]])
TEACHER = torch.tensor([[2.0, 0.0, -2.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
LABELS = torch.tensor([0, 1, 2])


class Oracle(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return TEACHER


def test_without_smoothing_and_teacher_the_loss_is_cross_entropy() -> None:
    loss = ClassificationObjective(Recipe(name="r"), None)(IMAGES, LOGITS, LABELS)
    by_hand = -torch.stack([LOGITS.log_softmax(1)[row, row] for row in range(3)]).mean()
    assert float(loss) == pytest.approx(float(by_hand))


def test_smoothing_gives_every_class_a_share_of_the_label() -> None:
    loss = ClassificationObjective(Recipe(name="r", label_smoothing=0.3), None)(IMAGES, LOGITS, LABELS)
    target = torch.eye(3) * 0.7 + 0.1
    assert float(loss) == pytest.approx(float(-(target * LOGITS.log_softmax(1)).sum(1).mean()))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_weighs_the_teacher_against_the_labels(temperature: float) -> None:
    distillation = DistillationConfig(teacher="t", weight=0.8, temperature=temperature)
    loss = ClassificationObjective(Recipe(name="r", distillation=distillation), Oracle())(IMAGES, LOGITS, LABELS)
    wanted, found = (TEACHER / temperature).softmax(1), (LOGITS / temperature).softmax(1)
    divergence = (wanted * (wanted / found).log()).sum(1).mean()
    by_hand = 0.8 * temperature**2 * divergence + 0.2 * functional.cross_entropy(LOGITS, LABELS)
    assert float(loss) == pytest.approx(float(by_hand), rel=1e-5)
