"""Models of timm derived by hand, layer by layer from their papers: the profiler finds the same, to the last MAC."""

from __future__ import annotations

from math import ceil

import pytest

from vtbench.profiling.profile import ProfileSettings, profile_source
from vtbench.profiling.sources import resolve_source

CLASSES = 1000


def count(name: str, *, fuse: bool = False) -> int:
    return profile_source(resolve_source(f"timm:{name}"), ProfileSettings(activations=False, fuse=fuse)).macs


def test_deit_tiny() -> None:
    """Touvron et al. 2021: patches of 16, 12 blocks of attention (4 D^2 N + 2 N^2 D) and MLP (8 D^2 N)."""
    dim, patches = 192, 14 * 14
    tokens = patches + 1
    blocks = 12 * (12 * tokens * dim * dim + 2 * tokens * tokens * dim)
    assert count("deit_tiny_patch16_224") == patches * 3 * 16 * 16 * dim + blocks + dim * CLASSES


def test_convmixer_1536_20() -> None:
    """Trockman and Kolter 2022: patches of 7, 20 times a 9x9 depthwise and a 1x1 convolution, on a map of 32x32."""
    dim, cells = 1536, 32 * 32
    assert count("convmixer_1536_20") == cells * (3 * 49 * dim + 20 * (81 * dim + dim * dim)) + dim * CLASSES


def test_sequencer_2d_s() -> None:
    """Tatsunami and Taki 2022: per cell two bidirectional LSTMs, 2 x 4 H (D + H) each, their union 4 H -> D, an MLP."""
    total = 32 * 32 * 3 * 49 * 192 + 16 * 16 * (4 * 192 * 384 + 2 * 384 * 384)  # Patches, and what follows stages.
    for dim, hidden, blocks, side in ((192, 48, 4, 32), (384, 96, 3, 16), (384, 96, 8, 16), (384, 96, 3, 16)):
        lstms = 2 * 2 * 4 * hidden * (dim + hidden)
        total += blocks * side * side * (lstms + 4 * hidden * dim + 2 * 3 * dim * dim)
    assert count("sequencer2d_s") == total + 384 * CLASSES


@pytest.mark.parametrize(("fuse", "branches", "scaled"), [(True, 1, 0), (False, 4, 1)])
def test_mobileone_s0(fuse: bool, branches: int, scaled: int) -> None:
    """Vasu et al. 2023: depthwise 3x3 and 1x1; in training four branches of each, and a 1x1 beside every 3x3."""
    total, channels = 112 * 112 * (27 + 3 * scaled) * 48, 48  # The stem has one branch.
    for blocks, outputs, side in ((2, 48, 56), (8, 128, 28), (10, 256, 14), (1, 1024, 7)):
        for _ in range(blocks):
            total += side * side * channels * (9 * branches + scaled + outputs * branches)
            channels = outputs
    assert count("mobileone_s0", fuse=fuse) == total + 1024 * CLASSES


GHOSTNET = (
    # kernel, expanded, outputs, squeeze and excitation, stride
    (3, 16, 16, 0, 1),
    (3, 48, 24, 0, 2),
    (3, 72, 24, 0, 1),
    (5, 72, 40, 1, 2),
    (5, 120, 40, 1, 1),
    (3, 240, 80, 0, 2),
    (3, 200, 80, 0, 1),
    (3, 184, 80, 0, 1),
    (3, 184, 80, 0, 1),
    (3, 480, 112, 1, 1),
    (3, 672, 112, 1, 1),
    (5, 672, 160, 1, 2),
    (5, 960, 160, 0, 1),
    (5, 960, 160, 1, 1),
    (5, 960, 160, 0, 1),
    (5, 960, 160, 1, 1),
)


def ghost_module(inputs: int, outputs: int, side: int) -> int:
    """A 1x1 convolution to half of the channels, the other half by a depthwise 3x3 of them."""
    half = ceil(outputs / 2)
    return side * side * half * (inputs + 9)


def test_ghostnet_v3_deployed() -> None:
    """Liu et al. 2024, on Han et al. 2020: from the third block on a gate at half the size: 1x1, then 1x5 and 5x1."""
    side, channels = 112, 16
    total = side * side * 27 * channels
    for number, (kernel, expanded, outputs, excited, stride) in enumerate(GHOSTNET):
        total += ghost_module(channels, expanded, side)
        if number > 1:
            total += (side // 2) ** 2 * expanded * (channels + 5 + 5)
        side //= stride
        if stride > 1:
            total += side * side * kernel * kernel * expanded
        if excited:
            total += 2 * expanded * (-(-(expanded // 4) // 4) * 4)
        total += ghost_module(expanded, outputs, side)
        if stride > 1 or channels != outputs:
            total += side * side * channels * (kernel * kernel + outputs)
        channels = outputs
    total += 7 * 7 * 160 * 960 + 960 * 1280 + 1280 * CLASSES
    assert count("ghostnetv3_100", fuse=True) == total
