"""How the blocks start, what they refuse, and that one image never sees another."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from vtbench.attention.augmented import AugmentedConv
from vtbench.attention.bottleneck_attention import BottleneckAttention
from vtbench.attention.cbam import ChannelGate, SpatialGate
from vtbench.attention.double_attention import DoubleAttention
from vtbench.attention.glore import GlobalReasoning
from vtbench.attention.local_relation import LocalRelation
from vtbench.attention.non_local import NonLocal
from vtbench.attention.relative_attention import RelativeAttention
from vtbench.attention.squeeze_excitation import SqueezeExcitation
from vtbench.attention.stand_alone import AttentionStem, StandAloneAttention
from vtbench.errors import UserError
from vtbench.training.network import initialize_by_name


@pytest.mark.parametrize("unit", [GlobalReasoning(8, 4), NonLocal(8, 4), DoubleAttention(8, 4, 4)])
def test_a_unit_between_blocks_starts_as_the_identity(unit: nn.Module) -> None:
    initialize_by_name(unit, 0)
    x = torch.randn(2, 8, 5, 6)
    assert torch.equal(unit.train()(x), x)


def test_gates_keep_one_hidden_channel_where_the_reduction_leaves_none() -> None:
    for gate in (SqueezeExcitation(8, 16), ChannelGate(8, 16)):
        assert gate.num_hidden == 1
        assert gate(torch.randn(2, 8, 3, 3)).shape == (2, 8, 3, 3)


def test_the_channel_gate_of_cbam_starts_without_biases() -> None:
    gate = ChannelGate(8, 4)
    initialize_by_name(gate, 0)
    assert not gate.squeeze.bias.any() and not gate.excite.bias.any()
    assert gate.squeeze.weight.any() and gate.excite.weight.any()


def test_the_last_normalisation_of_global_reasoning_has_the_epsilon_of_the_authors() -> None:
    assert GlobalReasoning(8, 4).norm.eps == 1e-4


def test_the_spatial_gate_of_cbam_starts_half_open_everywhere() -> None:
    gate = SpatialGate()
    initialize_by_name(gate, 0)
    x = torch.randn(2, 8, 5, 6)
    torch.testing.assert_close(gate.train()(x), x / 2)
    assert gate.norm.momentum == 0.01


@pytest.mark.parametrize("kind", [LocalRelation, StandAloneAttention, AttentionStem])
def test_logits_of_normalised_inputs_start_with_a_standard_deviation_of_a_tenth(kind: type[nn.Module]) -> None:
    settings = {} if kind is LocalRelation else {"num_heads": 4}
    block = kind(64, 128, **settings)
    initialize_by_name(block, 0)
    x = torch.randn(1, 64, 40, 40)
    query, key = (part(x)[0].unflatten(0, (8 if kind is LocalRelation else 4, -1)) for part in (block.query, block.key))
    assert (query * key.roll(5, dims=2)).sum(1).std().item() == pytest.approx(0.1, rel=0.15)


def test_tables_of_relative_positions_refuse_a_map_of_another_size_and_say_how_to_mend_it() -> None:
    attention = RelativeAttention((4, 6), 8)
    assert attention.rows.shape == (7, 8)
    assert attention.columns.shape == (11, 8)
    query = torch.randn(1, 2, 8, 6, 4)
    with pytest.raises(UserError, match=r"map of 4x6 cells was given one of 6x4.*image_size"):
        attention(query, query, query)


def test_heads_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="8 channels cannot be split into 3 heads"):
        BottleneckAttention(8, 8, map_size=(4, 4), num_heads=3)
    with pytest.raises(ValueError, match="12 channels cannot be split into 4 heads of an even width"):
        StandAloneAttention(8, 12, num_heads=4)
    with pytest.raises(ValueError, match="8 heads leave no channel of 8"):
        AugmentedConv(8, 8, map_size=(4, 4))


@pytest.mark.parametrize("channels", [64, 100])
def test_every_channel_of_a_local_relation_layer_is_averaged_with_weights_that_sum_to_one(channels: int) -> None:
    layer = LocalRelation(channels, channels, stride=2)
    nn.init.dirac_(layer.transformation.weight)
    constant = torch.arange(1.0, channels + 1)[None, :, None, None].expand(2, -1, 6, 7)
    torch.testing.assert_close(layer(constant), constant[:, :, ::2, :4])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_images_of_a_batch_do_not_see_each_other_in_a_window(memory_format: torch.memory_format) -> None:
    x = torch.randn(3, 16, 6, 7).contiguous(memory_format=memory_format)
    for block in (LocalRelation(16, 16), StandAloneAttention(16, 16, num_heads=2), AttentionStem(16, 16, num_heads=2)):
        torch.testing.assert_close(block(x)[1:2], block(x[1:2]))


def test_window_attention_runs_under_autocast_and_gives_nearly_the_same() -> None:
    torch.manual_seed(0)
    for block in (LocalRelation(16, 16), StandAloneAttention(16, 16, num_heads=2)):
        x = torch.randn(2, 16, 6, 7)
        with torch.autocast("cpu", torch.bfloat16):
            halved = block(x)
        assert halved.dtype == torch.bfloat16
        halved.float().sum().backward()
        assert (halved.float() - block(x)).abs().mean() < 0.02 * block(x).std()


def test_window_attention_compiles_to_one_graph() -> None:
    block = StandAloneAttention(8, 8, kernel_size=3, num_heads=2)
    x = torch.randn(2, 8, 5, 6)
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), block(x))


def test_registering_the_blocks_does_not_import_torchvision_which_takes_as_long_as_torch() -> None:
    code = "import sys, vtbench.attention; print('torchvision' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
