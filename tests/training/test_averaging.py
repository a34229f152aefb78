from __future__ import annotations

import pytest
import torch
from torch import nn

from vtbench.training.optimization import WeightAverage


def test_the_average_follows_its_recursion_with_a_warm_start() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = WeightAverage(model, 0.3)
    expected = 1.0
    for step, value in enumerate((2.0, 5.0, -1.0, 4.0)):
        nn.init.constant_(model.weight, value)
        average.update()
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        assert average.model.weight.item() == pytest.approx(expected)


def test_statistics_of_batch_normalisation_are_averaged_and_counters_copied() -> None:
    model = nn.BatchNorm2d(2)
    average = WeightAverage(model, 0.5)
    model.running_mean.fill_(8.0)
    model.num_batches_tracked.fill_(7)
    average.update()
    assert average.model.running_mean.tolist() == pytest.approx([7.2, 7.2])
    assert average.model.num_batches_tracked.item() == 7


def test_the_average_is_evaluated_and_never_trained() -> None:
    average = WeightAverage(nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5)), 0.5)
    assert not average.model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


def test_the_average_keeps_the_memory_layout_of_the_network() -> None:
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    assert WeightAverage(model, 0.5).model.weight.is_contiguous(memory_format=torch.channels_last)
