"""What the blocks state about their cost: against traced operators, and against numbers derived by hand."""

from __future__ import annotations

import pytest
import torch
from registered_blocks import build_registered
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.augmented import AugmentedConv
from vtbench.attention.bottleneck_attention import BottleneckAttention
from vtbench.attention.cbam import ConvolutionalBlockAttention
from vtbench.attention.double_attention import DoubleAttention
from vtbench.attention.glore import GlobalReasoning
from vtbench.attention.local_relation import LocalRelation
from vtbench.attention.non_local import NonLocal
from vtbench.attention.san import PairwiseAttention, PatchwiseAttention
from vtbench.attention.squeeze_excitation import SqueezeExcitation
from vtbench.attention.stand_alone import AttentionStem, StandAloneAttention
from vtbench.layers.stated_cost import ROLES
from vtbench.profiling import profile

# block, channels of its input, MACs at 7x9 cells and parameters, both derived from the docstrings' formulas by hand:
# N = 63 cells, ceil(7/2) * ceil(9/2) = 20 after a stride of 2.
DERIVED: dict[str, tuple[nn.Module, int, int, int]] = {
    "squeeze-and-excitation": (SqueezeExcitation(64, 16), 64, 2 * 64 * 4, 2 * 64 * 4 + 64 + 4),
    "cbam": (ConvolutionalBlockAttention(64, 16), 64, 4 * 64 * 4 + 98 * 63, 2 * 64 * 4 + 64 + 4 + 98 + 2),
    "local relation": (
        LocalRelation(64, 32, kernel_size=7),
        64,
        64 * 8 * 126 + 8 * 49 * 63 + 64 * 49 * 63 + 64 * 32 * 63 + 49 * (2 * 8 + 8 * 8),
        2 * 64 * 8 + 64 * 32 + (2 * 8 + 8 + 8 * 8 + 8),
    ),
    "local relation, uneven groups and stride": (
        LocalRelation(100, 100, kernel_size=3, stride=2),
        100,
        100 * 12 * (63 + 20) + 12 * 9 * 20 + 100 * 9 * 20 + 100 * 100 * 20 + 9 * (2 * 8 + 8 * 12),
        2 * 100 * 12 + 100 * 100 + (2 * 8 + 8 + 8 * 12 + 12),
    ),
    "stand-alone": (
        StandAloneAttention(32, 64, kernel_size=7, stride=2, num_heads=8),
        32,
        3 * 32 * 64 * 63 + 2 * 49 * 64 * 63,
        3 * 32 * 64 + 7 * 8,
    ),
    "attention stem": (
        AttentionStem(3, 64),
        3,
        (2 * 3 * 64 + 16 * 64 + 4 * 8 * 16 * 3 + 4 * 3 * 64) * 63 + 16 * 4 * 8,
        6 * 3 * 64 + (2 * 4 + 4) * 8,
    ),
    "augmented": (
        AugmentedConv(32, 64, map_size=(7, 9), kappa=0.2, upsilon=0.3),
        32,
        # dk = 160 by the least 20 a head, dv = floor(19.2 / 8) * 8 = 16.
        9 * 32 * 48 * 63 + (32 * (320 + 16) + 16**2) * 63 + 63 * 63 * (160 + 16) + 63 * (7 + 9) * 160,
        9 * 32 * 48 + 32 * 336 + 16**2 + (13 + 17) * 20,
    ),
    "augmented, stride 2 and pooled": (
        AugmentedConv(32, 64, map_size=(7, 9), stride=2, num_heads=4, kappa=0.5, min_key_dim=1, largest_map=4),
        32,
        # 4x5 cells out; pooled to 4x5, then projected with stride 2: 2x3. dk = 32, dv = 4.
        9 * 32 * 60 * 20 + (32 * 68 + 16) * 6 + 36 * (32 + 4) + 6 * 5 * 32,
        9 * 32 * 60 + 32 * 68 + 16 + (3 + 5) * 8,
    ),
    "bottleneck attention": (
        BottleneckAttention(32, 64, map_size=(7, 9), num_heads=4),
        32,
        3 * 32 * 64 * 63 + 2 * 63 * 63 * 64 + 63 * 16 * 64,
        3 * 32 * 64 + (13 + 17) * 16,
    ),
    "pairwise": (
        PairwiseAttention(64, 4, 16, 7),
        64,
        63 * (64 * 24 + 49 * (6 * 4 + 4 * 2 + 16)) + 4 * 63,
        64 * 24 + 24 + (4 + 2) + 2 * 6 + 6 * 4 + 2 * 4 + (4 * 2 + 2),
    ),
    "patchwise": (
        PatchwiseAttention(64, 4, 16, 7),
        64,
        63 * (64 * 24 + 4 * 50 * 2 + 49 * 2 * 2 + 49 * 16),
        64 * 24 + 24 + 2 * 200 + 200 * 2 + 2 * 2 + (98 * 2 + 98),
    ),
    "glore": (
        GlobalReasoning(64, 16),
        64,
        63 * (2 * 64 * 32 + 64 * 16 + 2 * 32 * 16) + 32 * 16 * 48,
        2 * 64 * 32 + 64 * 16 + 16**2 + 32**2 + 32 + 2 * 16 + 2 * 64,
    ),
    "double attention": (
        DoubleAttention(64, 16, 8),
        64,
        63 * (2 * 64 * 16 + 2 * 64 * 8 + 2 * 16 * 8),
        2 * 64 * 16 + 2 * 64 * 8 + 16 + 2 * 8 + 64,
    ),
    "non-local": (NonLocal(64, 32), 64, 63 * (4 * 64 * 32 + 2 * 63 * 32), 4 * 64 * 32 + 3 * 32 + 2 * 64),
}


@pytest.mark.parametrize("name", DERIVED)
def test_stated_traced_and_derived_costs_are_one_number(name: str) -> None:
    block, channels, macs, params = DERIVED[name]
    counted = profile(block, (channels, 7, 9))
    assert (counted.macs, counted.params) == (macs, params)
    assert counted.covered_macs == macs
    assert counted.stated_only_macs == 0


@pytest.mark.parametrize("name", DERIVED)
def test_a_block_states_the_cost_of_the_whole_batch(name: str) -> None:
    block, channels, _, _ = DERIVED[name]
    profile(block, (channels, 7, 9), batch_size=3)  # Raises where trace and statement disagree.


@pytest.mark.parametrize("name", DERIVED)
def test_every_block_says_what_its_macs_are_spent_on(name: str) -> None:
    roles = {getattr(module, "role", None) for module in DERIVED[name][0].modules()} - {None}
    assert roles
    assert roles <= set(ROLES)


def test_relative_logits_cost_what_one_product_with_gathered_tables_costs() -> None:
    """The rows' logits of one head are N products of a query with the H vectors of its own row offsets."""
    block = BottleneckAttention(8, 8, map_size=(3, 5), num_heads=1)
    with FlopCounterMode(display=False) as gathered:
        query = torch.randn(15, 1, 8)
        for side in (3, 5):
            query @ torch.randn(15, 8, side)
    content = 2 * 15 * 15 * 8
    assert block.expected_macs((1, 8, 3, 5)) == 3 * 8 * 8 * 15 + content + gathered.get_total_flops() // 2


def test_every_registered_block_is_given_what_its_place_promises_and_keeps_the_shape() -> None:
    for name in ATTENTION_BLOCKS:
        out = build_registered(name, out_channels=32, stride=2)(torch.randn(2, 16, 7, 9))
        is_spatial = ATTENTION_BLOCKS[name].place == "spatial"
        assert out.shape == ((2, 32, 4, 5) if is_spatial else (2, 16, 7, 9)), name


@pytest.mark.parametrize("name", list(ATTENTION_BLOCKS))
def test_every_registered_block_is_in_the_table(name: str) -> None:
    kind = type(build_registered(name))
    known = {type(row[0]) for row in DERIVED.values()}
    assert kind in known, (
        f"enter {kind.__name__} in DERIVED, above in this file: its MACs at 7x9 cells and parameters, by hand"
    )
