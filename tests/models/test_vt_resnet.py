import pytest
import torch
from torch import nn

from vtbench.models import create_model
from vtbench.profiling import count_costs

# The structure of the paper with every option of its tables 2 to 7: M MACs and M parameters, derived from the printed
# figures. Parameters leave out the normalisation in the tokens' stage, which the paper does not name.
ROWS = {
    "vt_resnet18": (1578.95, 11.643),
    "vt_resnet18:tokenizer=pooling": (1549.69, 11.033),
    "vt_resnet18:tokenizer=static": (1564.14, 11.095),
    "vt_resnet18:relations=none": (1527.83, 8.498),
    "vt_resnet18:relations=graph_conv": (1528.36, 8.498),
    "vt_resnet18:num_tokens=32": (1710.97, 11.648),
    "vt_resnet18:num_tokens=64": (1979.74, 11.656),
    "vt_resnet18:projector=off": (1497.23, 9.333),
    "vt_resnet34": (3299.01, 21.848),
    "vt_resnet34:tokenizer=pooling": (3245.30, 20.648),
    "vt_resnet34:tokenizer=static": (3269.39, 20.750),
    "vt_resnet34:relations=none": (3222.33, 17.129),
    "vt_resnet34:relations=graph_conv": (3223.12, 17.130),
    "vt_resnet34:num_tokens=32": (3514.13, 21.852),
    "vt_resnet34:num_tokens=64": (3951.45, 21.860),
    "vt_resnet34:projector=off": (3158.04, 17.342),
    "vt_resnet50": (3416.6, 22.42),
    "vt_resnet101": (7128.9, 41.41),
    "vt_resnet50:reading=full,num_tokens=16": (3595.1, 22.10),
    "vt_resnet101:reading=full,num_tokens=16": (7307.3, 41.09),
}

# What the normalisation of the tokens' stage adds.
NORMALIZATION_PARAMS = {
    "vt_resnet18": 20992,
    "vt_resnet34": 32256,
    "vt_resnet50": 31744,
    "vt_resnet101": 31744,
}


def build_on_meta(variant: str) -> nn.Module:
    with torch.device("meta"):
        return create_model(variant)


def count_normalization(stage: nn.Module) -> int:
    kinds = (nn.BatchNorm2d, nn.LayerNorm)
    norms = [module for module in stage.modules() if isinstance(module, kinds)]
    return sum(parameter.numel() for module in norms for parameter in module.parameters())


@pytest.mark.parametrize("variant", ROWS)
def test_every_row_of_the_papers_tables_comes_out(variant):
    macs_m, params_m = ROWS[variant]
    model = build_on_meta(variant)
    costs = count_costs(variant, (224, 224), 1000)
    assert costs.macs / 1e6 == pytest.approx(macs_m, abs=0.1)
    assert (costs.params - count_normalization(model.get_submodule("layer4"))) / 1e6 == pytest.approx(
        params_m, abs=0.01
    )


@pytest.mark.parametrize("variant", NORMALIZATION_PARAMS)
def test_what_normalisation_adds_is_known(variant):
    assert count_normalization(build_on_meta(variant).get_submodule("layer4")) == NORMALIZATION_PARAMS[variant]


def test_clustering_costs_the_printed_macs_of_resnet18():
    # Table 3 prints 1580 M: the filters' MACs and one more pass of the map over the centroids.
    costs = count_costs("vt_resnet18:tokenizer=clustering", (224, 224), 1000)
    assert costs.macs == 1578950656 + 196 * 16 * 256
    assert round(costs.macs / 1e6) == 1580


@pytest.mark.parametrize("depth", [20, 32, 56])
def test_small_visual_transformers_cost_less_than_their_twins(depth):
    twin, tokens = (count_costs(name, (32, 32), 10) for name in (f"resnet{depth}", f"vt_resnet{depth}"))
    assert tokens.macs < 0.8 * twin.macs
    assert tokens.params < twin.params


def test_at_32_pixels_eight_tokens_are_cheaper_than_the_convolutions_and_sixteen_are_not():
    twin, eight, sixteen = (
        count_costs(f"{name}stem=small,width=16{tokens}", (32, 32), 10).macs
        for name, tokens in (("resnet18:", ""), ("vt_resnet18:", ",num_tokens=8"), ("vt_resnet18:", ""))
    )
    assert eight < 0.95 * twin
    assert sixteen > 0.95 * twin
