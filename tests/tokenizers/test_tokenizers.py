import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vtbench.profiling import profile
from vtbench.registry import UnknownNameError
from vtbench.tokenizers.clustering import ClusteringTokenizer
from vtbench.tokenizers.filter import FilterTokenizer
from vtbench.tokenizers.pooling import PoolingTokenizer, make_grid
from vtbench.tokenizers.position import AttentionPosition
from vtbench.tokenizers.recurrent import RecurrentTokenizer
from vtbench.tokenizers.tokenizer import TOKENIZERS, TokenizerSite
from vtbench.tokenizers.value import PooledValues, ValueRule

FIRST = TokenizerSite(
    in_channels=8, num_tokens=6, token_dim=16, group_width=4, first=True, value=ValueRule("rectified", 8, groups=2)
)
LATER = replace(FIRST, first=False)
VALUES = [
    ValueRule("rectified", 8, groups=2),
    ValueRule("linear", 12, groups=4),
    ValueRule("folded", 12, groups=4),
    ValueRule("none", 8),
]


def make_map(batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 8, 5, 7, generator=torch.Generator().manual_seed(0))


def find_values(tokenizer: torch.nn.Module, map_BCHW: torch.Tensor) -> torch.Tensor:
    values = tokenizer.value.norm(tokenizer.value.conv(map_BCHW)).relu()
    return values.permute(0, 2, 3, 1).reshape(len(map_BCHW), 35, 8)


def test_filter_tokens_follow_equation_1():
    tokenizer, map_BCHW = FilterTokenizer(FIRST).eval(), make_map()
    pooled, attention = tokenizer(map_BCHW)
    pixels = map_BCHW.permute(0, 2, 3, 1).reshape(2, 35, 8)
    weights = (pixels @ tokenizer.filters.weight[:, :, 0, 0].T).softmax(dim=1)
    torch.testing.assert_close(attention.flatten(2).transpose(1, 2), weights)
    torch.testing.assert_close(pooled, weights.transpose(1, 2) @ find_values(tokenizer, map_BCHW))


def standardize(tokens_BLD: torch.Tensor) -> torch.Tensor:
    """Every token with mean 0 and variance 1 over its dimensions."""
    apart = tokens_BLD - tokens_BLD.mean(dim=2, keepdim=True)
    return apart / (apart.square().mean(dim=2, keepdim=True) + 1e-5).sqrt()


def test_what_all_tokens_share_does_not_change_where_the_next_module_looks():
    tokenizer, map_BCHW = RecurrentTokenizer(LATER).eval(), make_map()
    earlier = torch.randn(2, 6, 16)
    _, before = tokenizer(map_BCHW, earlier)
    _, after = tokenizer(map_BCHW, earlier + 100 * torch.randn(2, 1, 16))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def test_recurrent_tokens_follow_equation_2():
    tokenizer, map_BCHW = RecurrentTokenizer(LATER).eval(), make_map()
    earlier = torch.randn(2, 6, 16)
    pooled, _ = tokenizer(map_BCHW, earlier)
    apart = earlier - earlier.mean(dim=1, keepdim=True)
    filters = standardize(apart) @ tokenizer.to_filters.weight.T
    keys = tokenizer.key_norm(tokenizer.key(map_BCHW)).permute(0, 2, 3, 1).reshape(2, 35, 8)
    weights = (keys @ filters.transpose(1, 2) / math.sqrt(8)).softmax(dim=1)
    torch.testing.assert_close(pooled, weights.transpose(1, 2) @ find_values(tokenizer, map_BCHW))


def test_recurrent_tokens_need_earlier_ones():
    with pytest.raises(ValueError, match="needs the tokens of the module before"):
        RecurrentTokenizer(LATER)(make_map())


def test_clusters_are_those_of_lloyds_algorithm():
    map_BCHW = make_map(1)
    tokenizer = ClusteringTokenizer(FIRST).eval()
    _, attention = tokenizer(map_BCHW)
    pixels = F.normalize(map_BCHW[0].flatten(1).T, dim=1)
    centroids = F.normalize(F.adaptive_avg_pool2d(map_BCHW[0], (2, 3)).flatten(1).T, dim=1)
    nearest = [max(range(6), key=lambda k: float(pixel @ centroids[k])) for pixel in pixels]
    for k in set(nearest):
        centroids[k] = F.normalize(pixels[[n == k for n in nearest]].sum(dim=0), dim=0)
    torch.testing.assert_close(attention[0].flatten(1), (centroids @ pixels.T).softmax(dim=1))


def test_an_empty_cluster_keeps_its_centroid():
    flat = torch.ones(1, 8, 4, 4)  # All pixels fall to the first centroid.
    pooled, attention = ClusteringTokenizer(FIRST)(flat)
    assert torch.isfinite(pooled).all()
    torch.testing.assert_close(attention, torch.full((1, 6, 4, 4), 1 / 16))


@pytest.mark.parametrize(
    ("cells", "grid"), [(1, (1, 1)), (6, (2, 3)), (7, (1, 7)), (8, (2, 4)), (16, (4, 4)), (32, (4, 8)), (64, (8, 8))]
)
def test_grids_are_as_square_as_the_number_allows(cells, grid):
    assert make_grid(cells) == grid


def test_pooled_tokens_are_cells_of_the_map_in_reading_order():
    ramp = torch.arange(24.0).reshape(1, 1, 4, 6).expand(1, 8, 4, 6)
    pooled, attention = PoolingTokenizer(FIRST)(ramp)
    assert attention is None
    expected = F.interpolate(ramp, size=(2, 3), mode="bilinear", align_corners=False)
    torch.testing.assert_close(pooled[0, :, 0], expected[0, 0].flatten())
    assert pooled[0, :, 0].tolist() == sorted(pooled[0, :, 0].tolist())


@pytest.mark.parametrize("name", list(TOKENIZERS))
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("value", VALUES, ids=lambda rule: rule.form)
def test_each_tokenizer_states_the_macs_that_are_counted(name, is_first, value):
    tokenizer = TOKENIZERS[name](replace(FIRST, first=is_first, value=value))
    inputs = (make_map(), torch.randn(2, 6, 16))
    counted = profile(tokenizer, inputs=inputs, activations=False)
    assert counted.macs == tokenizer.expected_macs(*(tuple(value.shape) for value in inputs))
    assert tokenizer(*inputs)[0].shape == (2, 6, tokenizer.out_channels)


def write_values(pooling: PooledValues, map_BCHW: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """The equation, one output channel after the other: each reads the inputs of its group only."""
    batch, channels = map_BCHW.shape[:2]
    weight, groups = pooling.conv.weight[:, :, 0, 0], pooling.conv.groups
    ins, outs = channels // groups, len(weight) // groups
    tokens = torch.zeros(batch, attention.shape[1], len(weight))
    for channel in range(len(weight)):
        first = channel // outs * ins
        value = sum(weight[channel, i] * map_BCHW[:, first + i] for i in range(ins))
        tokens[:, :, channel] = (attention * value[:, None]).sum(dim=(2, 3))
    return tokens


@pytest.mark.parametrize("form", ["linear", "folded"])
def test_values_without_normalisation_follow_the_equation_pooled_before_or_after(form):
    pooling, map_BCHW = PooledValues(8, ValueRule(form, 12, groups=4)), make_map()
    attention = torch.rand(2, 6, 5, 7).flatten(2).softmax(dim=2).reshape(2, 6, 5, 7)
    torch.testing.assert_close(pooling(map_BCHW, attention), write_values(pooling, map_BCHW, attention))


def test_without_values_the_map_itself_is_pooled():
    pooling, attention = PooledValues(8, ValueRule("none", 8)), torch.rand(2, 6, 5, 7)
    expected = torch.einsum("blhw,bchw->blc", attention, make_map())
    torch.testing.assert_close(pooling(make_map(), attention), expected)
    assert list(pooling.parameters()) == []


def test_position_is_written_from_where_the_token_looked():
    position = AttentionPosition(16, 4, (2, 2))
    tokens, attention = torch.randn(2, 3, 16), torch.rand(2, 3, 8, 6)
    grid = F.adaptive_avg_pool2d(attention, 2).flatten(2) * 48 - 1
    joined = torch.cat((tokens, grid @ position.to_position.weight.T), dim=2)
    torch.testing.assert_close(position(tokens, attention), standardize(joined @ position.merge.weight.T))


def test_position_starts_as_a_small_addition():
    torch.manual_seed(0)
    position = AttentionPosition(64, 16, (7, 7))
    tokens, attention = torch.randn(1, 16, 64), torch.randn(1, 16, 196).mul(0.1).softmax(dim=2).reshape(1, 16, 14, 14)
    change = position(tokens, attention) - standardize(tokens)
    assert 0 < change.abs().max() < 0.1


def test_a_token_that_looks_everywhere_is_told_nothing():
    position = AttentionPosition(64, 16, (7, 7))
    tokens, uniform = torch.randn(1, 16, 64), torch.full((1, 16, 14, 14), 1 / 196)
    torch.testing.assert_close(position(tokens, uniform), standardize(tokens), rtol=1e-4, atol=1e-4)


def test_an_unknown_tokenizer_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'pooling'"):
        TOKENIZERS["poling"]
