"""Costs of networks that others have derived by hand."""

from __future__ import annotations

import pytest
import torch
import torchvision

from vtbench.profiling import count_costs

RESNETS = {
    "resnet18": (1_814_073_344, 11_689_512),
    "resnet34": (3_663_761_408, 21_797_672),
    "resnet50": (4_089_184_256, 25_557_032),
    "resnet101": (7_801_405_440, 44_549_160),
}


@pytest.mark.parametrize(("name", "expected"), RESNETS.items())
def test_residual_networks_cost_what_their_layers_add_up_to(name: str, expected: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = torchvision.models.get_model(name)
    costs = count_costs(model, (3, 224, 224), 1000)
    assert (costs.macs, costs.params) == expected
