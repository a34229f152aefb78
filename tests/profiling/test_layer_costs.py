"""Single layers and operators against their definitions, counted by the trace and by the closed forms."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vtbench.profiling import profile
from vtbench.profiling.errors import RefusedOperatorError


class Function(nn.Module):
    """A function as a module without closed form."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def count(module: nn.Module, *inputs: Any, **settings: Any) -> int:
    counted = profile(module, inputs=inputs, activations=False, **settings)
    assert sum(part.macs for part in counted.operators) == counted.macs
    return counted.macs


def count_covered(module: nn.Module, *inputs: Any) -> int:
    """Also demand that a closed form confirms every MAC."""
    counted = profile(module, inputs=inputs, activations=False)
    assert counted.covered_macs == counted.macs
    return counted.macs


def test_a_depthwise_convolution_costs_one_filter_per_channel() -> None:
    assert count_covered(nn.Conv2d(32, 32, 3, padding=1, groups=32), torch.zeros(2, 32, 10, 12)) == 2 * 120 * 32 * 9


def test_a_grouped_convolution_costs_the_channels_of_a_group() -> None:
    assert count_covered(nn.Conv2d(8, 12, 3, groups=4), torch.zeros(1, 8, 10, 10)) == 64 * 12 * 2 * 9


def test_windows_that_reach_beyond_the_map_cost_as_much_as_whole_ones() -> None:
    """Swin at 10 x 10: four windows of 7 x 7 hold 196 cells, all projected four times and paired with 49 others."""
    from torchvision.models.swin_transformer import ShiftedWindowAttention

    layer = ShiftedWindowAttention(8, window_size=[7, 7], shift_size=[3, 3], num_heads=2)
    assert count_covered(layer, torch.zeros(1, 10, 10, 8)) == 196 * (4 * 8 * 8 + 2 * 49 * 8)


def test_a_dilated_convolution_costs_its_taps_and_not_its_extent() -> None:
    layer = nn.Conv2d(4, 6, 3, dilation=2, padding=2)
    assert count_covered(layer, torch.zeros(1, 4, 9, 9)) == 81 * 6 * 4 * 9


def test_a_strided_convolution_costs_its_outputs() -> None:
    assert count_covered(nn.Conv2d(3, 5, 3, stride=2), torch.zeros(1, 3, 11, 11)) == 25 * 5 * 3 * 9


def test_a_transposed_convolution_costs_its_inputs() -> None:
    """Each of the 7 x 7 inputs is spread with a 3x3 filter to the 3 outputs of its group."""
    layer = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, output_padding=1)
    assert count_covered(layer, torch.zeros(1, 4, 7, 7)) == 49 * 4 * 3 * 9


@pytest.mark.parametrize("dims", [1, 3])
def test_convolutions_of_sequences_and_volumes_cost_their_outputs(dims: int) -> None:
    layer = {1: nn.Conv1d, 3: nn.Conv3d}[dims](2, 4, 3)
    assert count_covered(layer, torch.zeros(1, 2, *(6,) * dims)) == 4**dims * 4 * 2 * 3**dims


def test_a_linear_layer_costs_every_token() -> None:
    assert count_covered(nn.Linear(16, 32), torch.zeros(2, 5, 16)) == 10 * 16 * 32


def test_a_bilinear_layer_costs_both_contractions() -> None:
    layer = nn.Bilinear(3, 4, 5)
    assert count_covered(layer, torch.zeros(7, 3), torch.zeros(7, 4)) == 7 * 5 * (3 * 4 + 4)


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_layers_cost_their_gates_at_every_step(kind: Any, gates: int, directions: int) -> None:
    """11 steps of 2 sequences; the second layer reads the hidden states of all directions."""
    layer = kind(8, 6, num_layers=2, bidirectional=directions == 2)
    per_step = directions * gates * 6 * (8 + 6) + directions * gates * 6 * (6 * directions + 6)
    assert count_covered(layer, torch.zeros(11, 2, 8)) == 11 * 2 * per_step


def test_an_lstm_with_projection_costs_it_too() -> None:
    assert count_covered(nn.LSTM(8, 6, proj_size=3), torch.zeros(5, 2, 8)) == 10 * (4 * 6 * (8 + 3) + 3 * 6)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_recurrent_cells_cost_one_step(kind: Any) -> None:
    gates = {nn.LSTMCell: 4, nn.GRUCell: 3, nn.RNNCell: 1}[kind]
    assert count_covered(kind(8, 6), torch.zeros(2, 8)) == 2 * gates * 6 * (8 + 6)


@pytest.mark.parametrize(("batch_first", "weights", "cross"), [*product([False, True], repeat=3)])
@pytest.mark.parametrize("training", [False, True])
def test_multihead_attention_costs_the_same_in_all_spellings(
    batch_first: bool, weights: bool, cross: bool, training: bool
) -> None:
    """L = 5 queries, S = 7 keys, B = 2, E = 16: projections 2 L E^2 + S E (kdim + vdim), products 2 L S E."""

    class Spelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(
                16, 4, batch_first=batch_first, kdim=12 if cross else None, vdim=10 if cross else None
            )

        def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return self.attention(value=value, key=key, query=query, need_weights=weights)[0]

    def tokens(length: int, dim: int) -> Tensor:
        return torch.zeros(2, length, dim) if batch_first else torch.zeros(length, 2, dim)

    sources = tokens(7, 12 if cross else 16), tokens(7, 10 if cross else 16)
    projections = 2 * 5 * 256 + 7 * 16 * (22 if cross else 32)
    expected = 2 * (projections + 2 * 5 * 7 * 16)
    counted = profile(Spelled(), inputs=(tokens(5, 16), *sources), training=training, activations=False)
    assert counted.macs == counted.covered_macs == expected


def test_multihead_attention_attends_to_its_own_bias_and_zero() -> None:
    layer = nn.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True)
    tokens = torch.zeros(5, 1, 8)
    assert count_covered(layer, tokens, tokens, tokens) == 4 * 5 * 64 + 2 * 5 * (5 + 2) * 8


def test_multihead_attention_takes_a_single_sequence() -> None:
    tokens = torch.zeros(5, 8)
    assert count_covered(nn.MultiheadAttention(8, 2), tokens, tokens, tokens) == 4 * 5 * 64 + 2 * 25 * 8


def test_a_transformer_encoder_layer_costs_the_same_in_either_mode() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    expected = 2 * (4 * 5 * 256 + 2 * 25 * 16 + 2 * 5 * 16 * 32)
    assert count_covered(layer, torch.zeros(2, 5, 16)) == expected
    assert count(layer, torch.zeros(2, 5, 16), training=True) == expected


def test_products_of_activations_cost_the_same_however_they_are_written() -> None:
    left, right = torch.zeros(2, 5, 7), torch.zeros(2, 7, 3)
    for spelled in (
        torch.bmm,
        torch.matmul,
        lambda a, b: torch.einsum("bij,bjk->bik", a, b),
        lambda a, b: torch.baddbmm(torch.zeros(2, 5, 3, device=a.device), a, b),
        lambda a, b: torch.stack([torch.mm(a[0], b[0]), torch.addmm(b[0, 0], a[1], b[1])]),
    ):
        assert count(Function(spelled), left, right) == 2 * 5 * 7 * 3


def test_matrix_vector_products_are_counted() -> None:
    matrix, vector = torch.zeros(4, 6), torch.zeros(6)
    assert count(Function(torch.mv), matrix, vector) == 24
    assert count(Function(lambda m, v: torch.addmv(m[:, 0], m, v)), matrix, vector) == 24
    assert count(Function(torch.dot), vector, vector) == 6
    assert count(Function(lambda m, v: torch.addr(m, m[:, 0], v)), matrix, vector) == 24


def test_distances_cost_one_mac_per_difference() -> None:
    assert count(Function(torch.cdist), torch.zeros(2, 5, 3), torch.zeros(2, 7, 3)) == 2 * 5 * 7 * 3


def test_distances_other_than_euclidean_are_refused() -> None:
    with pytest.raises(RefusedOperatorError, match="p = 1"):
        count(Function(lambda a, b: torch.cdist(a, b, p=1.0)), torch.zeros(5, 3), torch.zeros(7, 3))


def test_fourier_transforms_are_refused() -> None:
    with pytest.raises(RefusedOperatorError, match="Fourier"):
        count(Function(torch.fft.rfft2), torch.zeros(1, 3, 8, 8))


def test_complex_products_are_refused() -> None:
    matrix = torch.zeros(4, 4, dtype=torch.complex64)
    with pytest.raises(RefusedOperatorError, match="complex"):
        count(Function(torch.mm), matrix, matrix)


def test_gathers_and_interpolations_are_free() -> None:
    assert count_covered(nn.Embedding(10, 4), torch.zeros(2, 3, dtype=torch.long)) == 0
    assert count_covered(nn.Upsample(scale_factor=2, mode="bilinear"), torch.zeros(1, 3, 8, 8)) == 0
    grid = torch.zeros(1, 5, 5, 2)
    sample = Function(lambda image, where: functional.grid_sample(image, where, align_corners=False))
    assert count(sample, torch.zeros(1, 3, 8, 8), grid) == 0


def test_bags_of_embeddings_cost_only_their_weights() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag = nn.EmbeddingBag(10, 4, mode="sum")

        def forward(self, words: Tensor, weights: Tensor) -> Tensor:
            return self.bag(words, per_sample_weights=weights)

    words = torch.zeros(2, 3, dtype=torch.long)
    assert count(Bag(), words, torch.zeros(2, 3)) == 6 * 4
    assert count(nn.EmbeddingBag(10, 4, mode="sum"), words) == 0


@pytest.mark.parametrize("causal", [False, True])
def test_fused_attention_counts_the_full_square_masked_or_not(causal: bool) -> None:
    query, key, value = torch.zeros(2, 4, 5, 8), torch.zeros(2, 4, 5, 8), torch.zeros(2, 4, 5, 8)
    attend = Function(lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=causal))
    assert count(attend, query, key, value) == 2 * 4 * 5 * 5 * (8 + 8)


def test_attention_of_grouped_queries_counts_every_query_head() -> None:
    query, key = torch.zeros(1, 4, 5, 8), torch.zeros(1, 2, 5, 8)
    attend = Function(lambda q, k: functional.scaled_dot_product_attention(q, k, k, enable_gqa=True))
    assert count(attend, query, key) == 4 * 5 * 5 * 16


def test_an_unfolded_convolution_costs_what_a_convolution_does() -> None:
    def convolve(image: Tensor, weight: Tensor) -> Tensor:
        return weight @ functional.unfold(image, 3, padding=1)

    assert count(Function(convolve), torch.zeros(1, 4, 6, 6), torch.zeros(5, 36)) == 36 * 5 * 36


def test_a_deformable_convolution_costs_a_convolution() -> None:
    from torchvision.ops import DeformConv2d

    layer = DeformConv2d(4, 6, 3, padding=1)
    assert count(layer, torch.zeros(1, 4, 8, 8), torch.zeros(1, 18, 8, 8)) == 64 * 6 * 36


def test_operators_undecomposed_in_inference_mode_are_counted() -> None:
    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 64, 5))

        def forward(self, image: Tensor) -> Tensor:
            with torch.inference_mode():
                return self.layers(image.clone())

    assert count_covered(Inside(), torch.zeros(1, 3, 8, 8)) == 64 * 12 + 4 * 64 * 5
