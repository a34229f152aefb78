"""What libraries print of their models, explained from our counts."""

from __future__ import annotations

import pytest

from vtbench.published.model_costs import (
    OTHER_PARAMETERS,
    TIMM,
    TORCHVISION,
    UNEXPLAINED,
    PublishedCost,
    explain_cost,
    load_model_costs,
)
from vtbench.records.profile import ZooEntry

ENTRY = ZooEntry(
    model="timm:some",
    input_size="3x224x224",
    macs=4_000_000_000,
    params=20_000_000,
    fused_attention=500_000_000,
    recurrent=300_000_000,
    norms_and_pools=40_000_000,
    deployed_macs=3_000_000_000,
    deployed_params=18_000_000,
)


@pytest.mark.parametrize(
    ("macs_g", "params_m", "kind"),
    [
        (4.0, 20.0, "the same"),
        (4.04, 20.0, "norms and pooling counted"),
        (3.5, 20.0, "fused attention missed"),
        (3.54, 20.0, "fused attention missed + norms and pooling counted"),
        (3.24, 20.0, "fused attention missed + recurrent layers missed + norms and pooling counted"),
        (3.0, 18.0, "deployed form"),
        (3.0, 20.0, UNEXPLAINED),
        (4.0, 21.0, OTHER_PARAMETERS),
        (9.0, 20.0, UNEXPLAINED),
    ],
)
def test_a_printed_cost_is_explained_by_the_kinds_that_lead_to_it(macs_g: float, params_m: float, kind: str) -> None:
    printed = PublishedCost(model="some", image_size=224, macs_g=macs_g, params_m=params_m, run="torch 2.1.0")
    assert explain_cost(printed, ENTRY) == kind


def test_the_printed_costs_are_those_of_the_sources() -> None:
    timm = load_model_costs(TIMM)
    assert (len(timm), len({cost.model for cost in timm})) == (2148, 1415)
    assert all(cost.macs_g >= 0 and cost.params_m > 0 and cost.image_size > 0 for cost in timm)


def test_the_costs_of_torchvision_are_what_its_weights_state() -> None:
    from torchvision import models

    stated = {
        (name, weights.name): weights.meta["_ops"]
        for name in models.list_models()
        for weights in models.get_model_weights(name)
    }
    for cost in load_model_costs(TORCHVISION):
        assert stated[cost.model, cost.run] == cost.macs_g
