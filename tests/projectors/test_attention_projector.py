import math

import pytest
import torch
from torch import nn

from vtbench.profiling import profile
from vtbench.projectors.attention_projector import AttentionProjector


def make_inputs(channels: int, token_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, channels, 5, 3, generator=generator), torch.randn(2, 6, token_dim, generator=generator)


def test_the_projector_follows_equation_5():
    projector = AttentionProjector(8, 16, 32, group_width=4).eval()
    map_BCHW, tokens = make_inputs(8, 32)
    queries = projector.query(map_BCHW).permute(0, 2, 3, 1).reshape(2, 15, 16)
    keys, values = tokens @ projector.key.weight.T, tokens @ projector.value.weight.T
    projected = torch.empty(2, 15, 16)
    for head in range(4):
        own = slice(4 * head, 4 * head + 4)
        weights = (queries[:, :, own] @ keys[:, :, own].transpose(1, 2) / math.sqrt(4)).softmax(dim=2)
        projected[:, :, own] = weights @ values[:, :, own]
    expected = projector.lateral(map_BCHW) + projector.norm(projected.transpose(1, 2).reshape(2, 16, 5, 3))
    torch.testing.assert_close(projector(map_BCHW, tokens), expected.relu())


def test_equal_widths_need_no_lateral_and_no_values():
    projector = AttentionProjector(16, 16, 16, group_width=4)
    assert isinstance(projector.lateral, nn.Identity)
    assert isinstance(projector.value, nn.Identity)


@pytest.mark.parametrize("widths", [(8, 16, 32), (16, 16, 32), (16, 8, 16), (16, 16, 16)])
def test_the_macs_that_the_projector_states_are_counted(widths):
    channels, out_channels, token_dim = widths
    projector = AttentionProjector(channels, out_channels, token_dim, group_width=4)
    inputs = make_inputs(channels, token_dim)
    counted = profile(projector, inputs=inputs, activations=False).macs
    assert counted == projector.expected_macs(*(tuple(value.shape) for value in inputs))


def test_groups_are_counted_on_the_wider_side():
    # 1024 -> 512 in groups of 64 makes 16 groups, which is what the costs of VT-ResNet-50 imply.
    assert AttentionProjector(1024, 512, 1024, group_width=64).query.groups == 16
    assert AttentionProjector(256, 512, 1024, group_width=64).query.groups == 8


def test_the_map_passes_almost_unchanged_at_first():
    torch.manual_seed(0)
    projector = AttentionProjector(16, 16, 32, group_width=4).train()
    map_BCHW, tokens = make_inputs(16, 32)
    change = (projector(map_BCHW, tokens) - map_BCHW).square().mean().sqrt()
    assert 0 < change < 0.15
