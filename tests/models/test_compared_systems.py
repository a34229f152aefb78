"""The compared systems against the numbers of parameters and multiply-accumulates that their definitions give."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.local_relation import LocalRelation
from vtbench.attention.stand_alone import StandAloneAttention
from vtbench.errors import UserError
from vtbench.models import MODELS, create_model
from vtbench.profiling import profile
from vtbench.training.network import initialize_by_name, set_regularization

# Parameters and MACs at 224x224 of torchvision's networks, which the gates and units are added to.
RESNET = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160}
OUT_CHANNELS = {18: (64, 128, 256, 512), 50: (256, 512, 1024, 2048)}
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def build(name: str, **settings: Any) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, **settings)


def count_params(name: str) -> int:
    return sum(parameter.numel() for parameter in build(name).parameters())


def sum_over_blocks(depth: int, cost: Any) -> int:
    channels = OUT_CHANNELS[18 if depth < 50 else 50]
    return sum(number * cost(width) for number, width in zip(DEPTHS[depth], channels, strict=True))


@pytest.mark.parametrize("depth", RESNET)
def test_squeeze_and_excitation_adds_two_small_layers_with_bias_to_every_block(depth: int) -> None:
    added = sum_over_blocks(depth, lambda c: 2 * c * (c // 16) + c + c // 16)
    assert count_params(f"se_resnet{depth}") == RESNET[depth] + added


@pytest.mark.parametrize("depth", RESNET)
def test_cbam_adds_the_gate_of_squeeze_and_excitation_and_a_hundred_parameters_a_block(depth: int) -> None:
    added = sum_over_blocks(depth, lambda c: 2 * c * (c // 16) + c + c // 16 + 98 + 2)
    assert count_params(f"cbam_resnet{depth}") == RESNET[depth] + added


# name, millions of parameters and G MACs counted from the definitions by another hand (not by this code), then the
# tolerances: half a percent and one percent, less where the definition leaves nothing open.
COUNTED_ELSEWHERE = [
    ("se_resnet18", 11.779, 1.8142, 1e-4),
    ("se_resnet34", 21.959, 3.6639, 1e-4),
    ("se_resnet50", 28.088, 4.0917, 1e-4),
    ("se_resnet50:stride_in=1x1", 28.088, 3.8605, 1e-4),
    ("se_resnet101", 49.327, 7.8061, 1e-4),
    ("se_resnet101:stride_in=1x1", 49.327, 7.5749, 1e-4),
    ("cbam_resnet18", 11.779, 1.8151, 1e-4),
    ("cbam_resnet34", 21.961, 3.6654, 1e-4),
    ("cbam_resnet50", 28.090, 4.0956, 1e-4),
    ("cbam_resnet50:stride_in=1x1", 28.090, 3.864, 2e-4),
    ("cbam_resnet101", 49.330, 7.8126, 1e-4),
    ("cbam_resnet101:stride_in=1x1", 49.330, 7.581, 2e-4),
    ("lr_resnet26", 14.62, 2.38, 0.005),
    ("lr_resnet50", 23.40, 4.03, 0.005),
    ("lr_resnet101", 40.84, 7.50, 0.005),
    ("sasa_resnet26", 10.33, 2.19, 0.005),
    ("sasa_resnet38", 14.17, 2.79, 0.005),
    ("sasa_resnet50", 18.02, 3.39, 0.005),
    ("sasa_resnet50:stem=attention", 18.01, 3.43, 0.01),
    ("aa_resnet34", 20.75, 3.59, 0.005),
    ("aa_resnet50", 25.81, 4.20, 0.005),
    ("aa_resnet101", 45.39, 8.14, 0.005),
    ("san10:attention=pairwise", 10.532, 2.04, 0.003),
    ("san15:attention=pairwise", 14.065, 2.86, 0.003),
    ("san19:attention=pairwise", 17.596, 3.64, 0.003),
    ("san10", 11.841, 1.79, 0.003),
    ("san15", 16.181, 2.48, 0.003),
    ("san19", 20.518, 3.13, 0.003),
    ("glore_resnet50", 30.48, 5.32, 0.003),
    ("glore_resnet50:stride_in=1x1", 30.48, 5.09, 0.003),
    ("a2_resnet50", 29.23, 5.25, 0.003),
    ("botnet_s1_59", 33.66, 7.25, 0.003),
    ("vit_b_16", 86.568, 17.564, 1e-4),
    ("deit_b_16", 86.568, 17.564, 1e-4),
]


@pytest.mark.parametrize(("name", "mega_params", "giga_macs", "tolerance"), COUNTED_ELSEWHERE)
def test_params_and_macs_agree_with_a_count_from_the_definition(
    name: str, mega_params: float, giga_macs: float, tolerance: float
) -> None:
    counted = profile(build(name), 224, activations=False)  # Raises where its two methods disagree.
    assert counted.params / 1e6 == pytest.approx(mega_params, rel=min(tolerance, 0.005))
    assert counted.macs / 1e9 == pytest.approx(giga_macs, rel=tolerance)
    assert counted.covered_macs == counted.macs


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("aa_resnet34", 20.7),
        ("aa_resnet50", 25.8),
        ("aa_resnet101", 45.4),
        ("lr_resnet50", 23.3),
        ("lr_resnet26", 14.7),
        ("sasa_resnet26", 10.3),
        ("sasa_resnet38", 14.1),
        ("sasa_resnet50", 18.0),
        ("san10", 11.8),
        ("san15", 16.2),
        ("san19", 20.5),
        ("glore_resnet50", 30.5),
        ("botnet_s1_59", 33.5),
    ],
)
def test_params_are_within_half_a_percent_and_the_rounding_of_what_the_papers_print(
    name: str, published: float
) -> None:
    found = count_params(name) / 1e6
    assert abs(found - published) <= 0.05 + 0.005 * published


def test_the_ratios_of_attention_augmentation_give_the_papers_ablation() -> None:
    """Bello et al. 2019 print 24.3, 22.3, 20.7 and 19.4 M for kappa = upsilon = 0.25, 0.5, 0.75 and (nearly) 1."""
    for ratio, printed in ((0.25, 24.3), (0.5, 22.3), (0.75, 20.7)):
        assert count_params(f"aa_resnet50:kappa={ratio},upsilon={ratio}") / 1e6 == pytest.approx(printed, abs=0.06)


def test_five_non_local_blocks_add_what_their_layers_hold() -> None:
    blocks = {512: 2, 1024: 3}
    added = sum(number * (4 * c * (c // 2) + 3 * (c // 2) + 2 * c) for c, number in blocks.items())
    assert count_params("nonlocal_resnet50") == RESNET[50] + added
    cells = {512: 28**2, 1024: 14**2}
    macs = sum(number * cells[c] * (c // 2) * (4 * c + 2 * cells[c]) for c, number in blocks.items())
    assert profile(build("nonlocal_resnet50"), 224).macs - profile(build("resnet50"), 224).macs == macs


def test_an_attention_stem_replaces_the_convolution_and_its_cost_by_its_own() -> None:
    with_stem, without = profile(build("sasa_resnet50:stem=attention"), 224), profile(build("sasa_resnet50"), 224)
    convolution = 112**2 * 64 * 147
    stem = 224**2 * (2 * 3 * 64 + 16 * 64 + 4 * 3 * 8 * 16 + 4 * 3 * 64) + 16 * 4 * 8
    assert with_stem.macs - without.macs == stem - convolution


@pytest.mark.parametrize("name", ["lr_resnet50", "sasa_resnet50"])
def test_no_spatial_convolution_is_left_but_that_of_a_convolutional_stem(name: str) -> None:
    model = build(name)
    sizes = [tuple(m.kernel_size) for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [size for size in sizes if size != (1, 1)] == ([(7, 7)] if name.startswith("sasa") else [])
    kinds = (LocalRelation, StandAloneAttention)
    assert sum(isinstance(m, kinds) for m in model.modules()) == 16 + name.startswith("lr")


def test_units_follow_every_second_block_of_the_stages_that_the_papers_name() -> None:
    places = {
        "glore_resnet50": {"layer3": (0, 2, 4)},
        "a2_resnet50": {"layer2": (0, 2), "layer3": (0, 2, 4)},
        "nonlocal_resnet50": {"layer2": (1, 3), "layer3": (1, 3, 5)},
    }
    for name, blocks_of in places.items():
        found = [path for path, _ in build(name).named_modules() if path.split(".")[-1].startswith("unit")]
        assert found == [f"{layer}.unit{block}" for layer, blocks in blocks_of.items() for block in blocks]


def test_every_attention_block_is_a_model_for_small_images_that_is_compared_with_resnet20() -> None:
    for name in ATTENTION_BLOCKS:
        spec = MODELS[f"{name}_resnet20"]
        assert (spec.twin, spec.image_size, spec.num_classes) == ("resnet20", (32, 32), 10)
        assert type(spec.options) is type(ATTENTION_BLOCKS[name].options)


def test_options_of_a_block_reach_it() -> None:
    assert build("lr_resnet20:kernel_size=5").layer1[0].conv1.kernel_size == 5
    assert build("sasa_resnet50:num_heads=4").layer1[0].conv2.num_heads == 4
    assert build("se_resnet50:reduction=8").layer4[0].gate.num_hidden == 256
    assert build("cbam_resnet18:reduction=8").layer4[0].gate.channel_gate.num_hidden == 64
    assert build("aa_resnet50:num_heads=4,largest_map=28").layer2[0].conv2.is_pooled is False
    assert build("glore_resnet50:normalize=cells,reduction=8").layer3.unit0.normalize is True
    assert build("botnet_s1_59:reduction=8,num_heads=8").layer4[0].conv2.num_heads == 8
    assert build("nonlocal_resnet50:reduction=4").layer3.unit1.theta.out_channels == 256
    assert build("a2_resnet50:reduction=8").layer3.unit0.feature.out_channels == 128


@pytest.mark.parametrize("name", ["aa_resnet20", "botnet_resnet20", "botnet_s1_59"])
def test_tables_of_relative_positions_follow_the_image_size_of_the_model(name: str) -> None:
    model = create_model(name, image_size=(40, 24), num_classes=3).eval()
    assert model(torch.randn(2, 3, 40, 24)).shape == (2, 3)
    with pytest.raises(UserError, match="image_size"):
        model(torch.randn(2, 3, 48, 48))


def test_a_self_attention_network_refuses_images_that_are_smaller_than_its_windows_can_reflect() -> None:
    with pytest.raises(UserError, match="32x32 pixels, which leaves 2 cells a side to windows of 7 cells in stage 4"):
        build("san10", image_size=32)
    assert build("san10", image_size=128) is not None


def test_self_attention_networks_drop_branches_in_training_when_asked() -> None:
    model = create_model("san_small")
    set_regularization(model, stochastic_depth=0.5)
    assert [round(m.drop_branch.p, 3) for m in model.modules() if hasattr(m, "drop_branch")][-1] == 0.5


@pytest.mark.parametrize("name", ["vit_b_16", "deit_b_16"])
def test_vision_transformers_refuse_sizes_that_patches_do_not_fill(name: str) -> None:
    with pytest.raises(UserError, match="patches of 16x16 pixels and was given images of 224x220"):
        build(name, image_size=(224, 220))


def test_the_timm_model_says_how_to_install_timm_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.models", None)
    with pytest.raises(UserError, match=r"pip install 'vtbench\[timm\]'"):
        build("deit_b_16")


@pytest.mark.parametrize("name", ["vit_b_16", "deit_b_16", "san19", "botnet_s1_59", "sasa_resnet50:stem=attention"])
def test_every_module_with_parameters_knows_how_to_start(name: str) -> None:
    initialize_by_name(build(name), 0)  # Raises for one that does not.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_b_16", "deit_b_16"])
def test_vision_transformers_of_the_libraries_start_as_there_from_weights_that_the_seed_fixes(name: str) -> None:
    model = create_model(name, image_size=32)
    initialize_by_name(model, 1)
    first = {path: tensor.clone() for path, tensor in model.state_dict().items()}
    initialize_by_name(model, 1)
    assert all(torch.equal(tensor, first[path]) for path, tensor in model.state_dict().items())
    positions = first["encoder.pos_embedding" if name == "vit_b_16" else "pos_embed"]
    assert positions.std().item() == pytest.approx(0.02, rel=0.1)
    hidden = first["encoder.layers.encoder_layer_3.mlp.0.weight" if name == "vit_b_16" else "blocks.3.mlp.fc1.weight"]
    expected = (2 / (768 + 3072)) ** 0.5 if name == "vit_b_16" else 0.02
    assert hidden.std().item() == pytest.approx(expected, rel=0.05)
