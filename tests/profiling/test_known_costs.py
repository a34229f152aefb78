"""Whole networks against costs derived from their papers' tables, written out as arithmetic."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torchvision
from torch import nn

from vtbench.profiling import profile

# 1 MAC = 1 multiply-accumulate. N tokens or pixels, C channels; all at 224 x 224 with 1000 classes.

RESNETS = {
    "resnet18": (1_814_073_344, 11_689_512),
    "resnet34": (3_663_761_408, 21_797_672),
    "resnet50": (4_089_184_256, 25_557_032),
    "resnet101": (7_801_405_440, 44_549_160),
}


def build(name: str) -> nn.Module:
    with torch.device("meta"):
        return torchvision.models.get_model(name)


def derive_resnet(block: str, depths: tuple[int, ...]) -> int:
    """Stem 7x7/2, then stages of basic blocks (two 3x3) or bottlenecks (1x1, 3x3 with the stride, 1x1)."""
    total = 112**2 * 64 * 3 * 49
    channels, pixels = 64, 56**2
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        out = width * (4 if block == "bottleneck" else 1)
        for place in range(depth):
            before = pixels
            if stage and not place:
                pixels //= 4
            if block == "bottleneck":
                total += before * channels * width + pixels * width * width * 9 + pixels * width * out
            else:
                total += pixels * channels * out * 9 + pixels * out * out * 9
            if channels != out or (stage and not place):
                total += pixels * channels * out
            channels = out
    return total + channels * 1000


@pytest.mark.parametrize("name", RESNETS)
def test_residual_networks_cost_what_their_layers_add_up_to(name: str) -> None:
    depths = {"resnet18": (2, 2, 2, 2), "resnet101": (3, 4, 23, 3)}.get(name, (3, 4, 6, 3))
    block = "basic" if name in ("resnet18", "resnet34") else "bottleneck"
    costs = profile(build(name), 224, activations=False)
    assert (costs.macs, costs.params) == RESNETS[name]
    assert costs.macs == derive_resnet(block, depths)


def derive_vit_b_16() -> int:
    """196 patches of 768 numbers; 12 blocks on 197 tokens: qkv, projection 4 N C^2, attention 2 N^2 C, MLP 8 N C^2."""
    tokens, width = 197, 768
    block = 4 * tokens * width**2 + 2 * tokens**2 * width + 8 * tokens * width**2
    return 196 * 768 * width + 12 * block + width * 1000


@pytest.mark.parametrize("training", [False, True])
def test_vit_b_16_of_torchvision_costs_17_564_g_in_either_mode(training: bool) -> None:
    counted = profile(build("vit_b_16"), 224, training=training, activations=False)
    assert counted.macs == derive_vit_b_16() == 17_563_828_224
    assert counted.covered_macs == counted.macs


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_vit_b_16_of_timm_costs_the_same_with_and_without_fused_attention(training: bool, fused: bool) -> None:
    import timm
    from timm.layers import set_fused_attn

    set_fused_attn(fused)
    try:
        with torch.device("meta"):
            model = timm.create_model("vit_base_patch16_224")
    finally:
        set_fused_attn(True)
    assert profile(model, 224, training=training, activations=False).macs == derive_vit_b_16()


def test_swin_t_costs_what_its_stages_add_up_to() -> None:
    """Windows of 49 tokens: attention 2 N 49 C; sides 56, 28, 14, 7 are whole windows; merging is 4C -> 2C on N / 4."""
    total, width = 56**2 * 96 * 48, 96
    for stage, (depth, side) in enumerate(zip((2, 2, 6, 2), (56, 28, 14, 7), strict=True)):
        tokens = side**2
        total += depth * (12 * tokens * width**2 + 2 * tokens * 49 * width)
        if stage < 3:
            total += tokens // 4 * 4 * width * 2 * width
            width *= 2
    total += 768 * 1000
    assert profile(build("swin_t"), 224, activations=False).macs == total == 4_490_566_656


def test_convnext_tiny_costs_what_its_stages_add_up_to() -> None:
    """Stem 4x4/4; a block is a depthwise 7x7 and an MLP of ratio 4; 2x2/2 convolutions between the stages."""
    widths, sides = (96, 192, 384, 768), (56, 28, 14, 7)
    total = 56**2 * 96 * 48 + 768 * 1000
    for depth, width, side in zip((3, 3, 9, 3), widths, sides, strict=True):
        total += depth * side**2 * (49 * width + 8 * width**2)
    for (narrow, wide), side in zip(pairwise(widths), sides[1:], strict=True):
        total += side**2 * 4 * narrow * wide
    assert profile(build("convnext_tiny"), 224, activations=False).macs == total


def inverted_residual(pixels_in: int, pixels_out: int, sizes: tuple[int, int, int], kernel: int, squeezed: int) -> int:
    """1x1 expansion (none where it changes nothing), depthwise kernel, squeeze and excitation, 1x1 projection."""
    channels, hidden, out = sizes
    expansion = 0 if hidden == channels else pixels_in * channels * hidden
    return expansion + pixels_out * (hidden * kernel**2 + hidden * out) + 2 * hidden * squeezed


def test_efficientnet_b0_costs_what_its_table_adds_up_to() -> None:
    """Tan and Le 2019, table 1: ratio, kernel, stride, channels, repeats; gates squeeze to a quarter of the input."""
    table = [
        (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    ]  # fmt: skip
    total, channels, side = 112**2 * 32 * 27, 32, 112
    for ratio, kernel, stride, out, repeats in table:
        for place in range(repeats):
            before = side
            side = side // stride if place == 0 else side
            sizes = (channels, ratio * channels, out)
            total += inverted_residual(before**2, side**2, sizes, kernel, channels // 4)
            channels = out
    total += 49 * 320 * 1280 + 1280 * 1000
    assert profile(build("efficientnet_b0"), 224, activations=False).macs == total


def test_mobilenet_v3_large_costs_what_its_table_adds_up_to() -> None:
    """Howard et al. 2019, table 1: kernel, hidden, out, gate, stride; gates squeeze to a quarter, rounded to eights."""
    table = [
        (3, 16, 16, 0, 1), (3, 64, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 24, 2), (5, 120, 40, 32, 1),
        (5, 120, 40, 32, 1), (3, 240, 80, 0, 2), (3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1),
        (3, 480, 112, 120, 1), (3, 672, 112, 168, 1), (5, 672, 160, 168, 2), (5, 960, 160, 240, 1),
        (5, 960, 160, 240, 1),
    ]  # fmt: skip
    total, channels, side = 112**2 * 16 * 27, 16, 112
    for kernel, hidden, out, squeezed, stride in table:
        before, side = side, side // stride
        total += inverted_residual(before**2, side**2, (channels, hidden, out), kernel, squeezed)
        channels = out
    total += 49 * 160 * 960 + 960 * 1280 + 1280 * 1000
    assert profile(build("mobilenet_v3_large"), 224, activations=False).macs == total


def test_botnet_costs_what_its_stages_add_up_to() -> None:
    """BoTNet-S1-59: stages of a ResNet-50 with gates (16 to 1); in the last, at 14 x 14, six blocks attend.

    Attention of 4 heads, 512 wide, on N = 196 cells: queries, keys, values 3 N C^2; logits, relative logits for
    the 14 rows and 14 columns that a query sees, values: N C (N + 14 + 14 + N).
    """
    import vtbench.models  # noqa: F401  # Registers the models.
    from vtbench.profiling import count_costs

    total, channels, side = 112**2 * 64 * 147, 64, 56
    for stage, depth in enumerate((3, 4, 6)):
        width = 64 * 2**stage
        for place in range(depth):
            before = side
            side = side // 2 if stage and not place else side
            total += before**2 * channels * width + side**2 * (9 * width**2 + 4 * width**2)
            total += side**2 * channels * 4 * width if not place else 0
            total += 2 * (4 * width) * (4 * width // 16)
            channels = 4 * width
    for place in range(6):
        cells, width = 196, 512
        total += cells * channels * width + cells * 4 * width**2 + 2 * 2048 * 128
        total += 3 * cells * width**2 + cells * width * (2 * cells + 2 * 14)
        total += cells * channels * 2048 if not place else 0
        channels = 2048
    total += 2048 * 1000
    assert count_costs("botnet_s1_59", (224, 224), 1000).macs == total
