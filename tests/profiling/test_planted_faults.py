"""Every way to get a cost wrong that the profiler promises to catch, planted and caught."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vtbench.profiling import profile
from vtbench.profiling.errors import CostMismatchError, RefusedOperatorError, UnknownOperatorError
from vtbench.profiling.execution import execute
from vtbench.profiling.profile import ProfileSettings, profile_subject
from vtbench.profiling.subject import take_subject
from vtbench.profiling.trace import MULTIPLY_AND_SUM
from vtbench.records import NotMeasured
from vtbench.records.profile import TrainingCost

# B images, C channels, H x W cells, L tokens.

SHAPE = (1, 8, 6, 6)


class Tokenizer(nn.Module):
    """L = 4 tokens, each a weighted mean of 36 cells of 8 channels: B HW C L MACs for maps, as many for sums."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(8, 4, 1, bias=False)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        weights_BLN = self.maps(map_BCHW).flatten(2).softmax(dim=2)
        return self.pool(weights_BLN, map_BCHW.flatten(2))

    def pool(self, weights_BLN: Tensor, cells_BCN: Tensor) -> Tensor:
        return torch.einsum("bln,bcn->blc", weights_BLN, cells_BCN)

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        batch, channels, height, width = map_shape
        return 2 * batch * channels * height * width * 4


class UnstatedTokenizer(Tokenizer):
    """The same, without a stated cost."""

    expected_macs = property()  # type: ignore[assignment]


class MultiplyAndSumTokenizer(Tokenizer):
    """The same sum, written with a product that no counter sees."""

    def pool(self, weights_BLN: Tensor, cells_BCN: Tensor) -> Tensor:
        return (weights_BLN[:, :, None] * cells_BCN[:, None]).sum(dim=3)


class UnstatedMultiplyAndSumTokenizer(MultiplyAndSumTokenizer):
    expected_macs = property()  # type: ignore[assignment]


def check(model: nn.Module, *, require_coverage: bool = True, **settings: Any) -> Any:
    given = ProfileSettings(require_coverage=require_coverage, **settings)
    return profile_subject(take_subject(model, "planted"), SHAPE, given)


def test_the_healthy_tokenizer_passes() -> None:
    assert check(Tokenizer()).macs == 2 * 8 * 36 * 4


def test_a_hidden_einsum_is_counted_and_found_to_have_no_closed_form() -> None:
    assert check(UnstatedTokenizer(), require_coverage=False).macs == 2 * 8 * 36 * 4
    with pytest.raises(CostMismatchError, match=r"leave out 1,152 of 2,304 MACs: UnstatedTokenizer x1"):
        check(UnstatedTokenizer())


def test_a_hidden_einsum_inside_a_stated_module_is_a_difference() -> None:
    class Hidden(Tokenizer):
        def pool(self, weights_BLN: Tensor, cells_BCN: Tensor) -> Tensor:
            torch.einsum("bcn,bdn->bcd", cells_BCN, cells_BCN)
            return super().pool(weights_BLN, cells_BCN)

    with pytest.raises(CostMismatchError, match=r"traced 4,608, stated 2,304, difference -2,304"):
        check(Hidden())


def test_a_tokenizer_rewritten_as_multiply_and_sum_is_refused() -> None:
    with pytest.raises(RefusedOperatorError, match="multiplies and sums without a matrix product"):
        check(UnstatedMultiplyAndSumTokenizer(), require_coverage=False)


def test_a_tokenizer_rewritten_as_multiply_and_sum_costs_the_same_if_it_states_its_cost() -> None:
    counted = check(MultiplyAndSumTokenizer())
    assert counted.macs == 2 * 8 * 36 * 4
    assert {part.name: part.macs for part in counted.operators if part.macs}[MULTIPLY_AND_SUM] == 8 * 36 * 4


def test_a_multiply_and_sum_is_counted_on_request() -> None:
    counted = check(UnstatedMultiplyAndSumTokenizer(), require_coverage=False, count_contractions=True)
    assert counted.macs == 2 * 8 * 36 * 4


def test_a_wrong_closed_form_is_named_with_both_numbers() -> None:
    class Wrong(Tokenizer):
        def expected_macs(self, map_shape: tuple[int, ...]) -> int:
            return super().expected_macs(map_shape) + 1

    model = nn.Sequential(nn.ReLU(), Wrong())
    with pytest.raises(CostMismatchError, match=r"1 \(Wrong\): traced 2,304, stated 2,305, difference \+1"):
        check(model)


def test_a_closed_form_that_forgets_the_batch_is_caught() -> None:
    class Forgetful(Tokenizer):
        def expected_macs(self, map_shape: tuple[int, ...]) -> int:
            return super().expected_macs((1, *map_shape[1:]))

    check(Forgetful())
    with pytest.raises(CostMismatchError):
        profile(Forgetful(), (2, 8, 6, 6))


def test_a_layer_that_works_more_than_its_class_says_is_caught() -> None:
    class Doubled(nn.Conv2d):
        def _conv_forward(self, *args: Any) -> Tensor:
            super()._conv_forward(*args)
            return super()._conv_forward(*args)

    with pytest.raises(CostMismatchError, match="Doubled"):
        check(Doubled(8, 8, 1))


def test_fused_attention_on_the_cpu_counts_as_on_the_meta_device() -> None:
    class NeedsValues(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, map_BCHW: Tensor) -> Tensor:
            heads = map_BCHW.flatten(2)[:, None] * float(self.scale)
            return functional.scaled_dot_product_attention(heads, heads, heads)

    counted = check(NeedsValues(), require_coverage=False)
    assert counted.traced_on == "cpu"
    assert counted.macs == 2 * 8 * 8 * 36
    assert any("flash_attention_for_cpu" in part.name and part.macs for part in counted.operators)


def test_the_backward_pass_of_fused_attention_has_two_gradients_for_each_of_its_two_products() -> None:
    class NeedsValues(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(36))

        def forward(self, map_BCHW: Tensor) -> Tensor:
            heads = map_BCHW.flatten(2)[:, None] * self.scale
            assert not heads.isnan().any()
            return functional.scaled_dot_product_attention(heads, heads, heads)

    counted = check(NeedsValues(), require_coverage=False, backward=True)
    assert counted.traced_on == "cpu"
    assert counted.training == TrainingCost(forward_macs=2 * 8 * 8 * 36, backward_macs=4 * 8 * 8 * 36)


def test_a_backward_pass_with_an_operator_that_nobody_knows_has_no_count() -> None:
    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> Tensor:
            return torch.fft.fft(gradient).real

    class Mysterious(nn.Module):
        def forward(self, map_BCHW: Tensor) -> Tensor:
            return Planted.apply(map_BCHW)

    counted = check(nn.Sequential(nn.Conv2d(8, 8, 1), Mysterious()), backward=True)
    assert isinstance(counted.training, NotMeasured)
    assert "the backward pass runs the operator aten::_fft_r2c on 1x8x6x6" in counted.training.reason


def test_the_fast_path_of_multihead_attention_counts_on_real_tensors() -> None:
    class FastPath(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, map_BCHW: Tensor) -> Tensor:
            tokens = map_BCHW.flatten(2).mT * float(self.attention.in_proj_weight.numel() > 0)
            assert not tokens.isnan().any()  # Needs values.
            tokens = torch._native_multi_head_attention(
                tokens, tokens, tokens, 8, 2,
                self.attention.in_proj_weight, self.attention.in_proj_bias,
                self.attention.out_proj.weight, self.attention.out_proj.bias,
            )[0]  # fmt: skip
            return self.encoder(tokens)

    attending = 4 * 36 * 64 + 2 * 36 * 36 * 8
    counted = check(FastPath(), require_coverage=False)
    assert counted.traced_on == "cpu"
    assert counted.macs == 2 * attending + 2 * 36 * 8 * 16


def test_a_shared_weight_is_counted_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
            self.second.weight = self.first.weight
            self.view = nn.Parameter(self.first.weight.detach().t())

        def forward(self, map_BCHW: Tensor) -> Tensor:
            return self.second(self.first(map_BCHW))

    counted = check(Tied())
    assert counted.params == 36
    assert counted.parameters.bytes_by_dtype == {"float32": 144}
    assert counted.macs == 2 * 48 * 36


def test_a_module_called_twice_costs_twice_and_has_its_parameters_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(8, 8, 3, padding=1)
            self.alias = self.layer

        def forward(self, map_BCHW: Tensor) -> Tensor:
            return self.alias(self.layer(map_BCHW))

    counted = check(Twice())
    assert counted.macs == 2 * 36 * 8 * 8 * 9
    assert counted.params == 8 * 8 * 9 + 8
    assert [(row.path, row.calls) for row in counted.modules] == [("", 1), ("layer", 2)]


def test_an_unknown_operator_is_named_with_its_shapes_and_its_module() -> None:
    @torch.library.custom_op("planted::mystery", mutates_args=())
    def mystery(x: Tensor) -> Tensor:
        return x.clone()

    mystery.register_fake(torch.empty_like)

    class Mysterious(nn.Module):
        def forward(self, map_BCHW: Tensor) -> Tensor:
            return mystery(map_BCHW)

    model = nn.Sequential(nn.Conv2d(8, 8, 1), Mysterious())
    with pytest.raises(UnknownOperatorError, match=r"planted: 1 \(Mysterious\) .*planted::mystery on 1x8x6x6"):
        check(model)

    class Stated(Mysterious):
        def expected_macs(self, map_shape: tuple[int, ...]) -> int:
            return 77

    counted = check(nn.Sequential(nn.Conv2d(8, 8, 1), Stated()))
    assert counted.macs == 36 * 64 + 77
    assert counted.stated_only_macs == 77
    assert any("seen by no operator" in note for note in counted.notes)


def test_what_a_module_states_beyond_its_operators_is_booked_once_with_the_layers_inside_it() -> None:
    class Transformed(nn.Module):
        """A linear layer on 48 rows of 6, then a transform for which 100 MACs are stated."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6, bias=False)

        def forward(self, map_BCHW: Tensor) -> Tensor:
            return torch.fft.rfft(self.layer(map_BCHW)).real

        def expected_macs(self, map_shape: tuple[int, ...]) -> int:
            return 48 * 36 + 100

    counted = check(nn.Sequential(Transformed()))
    assert counted.macs == counted.covered_macs == 48 * 36 + 100
    assert counted.stated_only_macs == 100


def test_an_operator_registered_with_torch_is_counted_by_its_formula() -> None:
    from torch.utils.flop_counter import register_flop_formula

    @torch.library.custom_op("planted::known", mutates_args=())
    def known(x: Tensor) -> Tensor:
        return x.clone()

    known.register_fake(torch.empty_like)
    register_flop_formula(torch.ops.planted.known)(lambda shape, *args, **kwargs: 2 * 5 * shape[1])

    class Known(nn.Module):
        def forward(self, map_BCHW: Tensor) -> Tensor:
            return known(map_BCHW)

    assert check(Known(), require_coverage=False).macs == 5 * 8


def test_the_trace_books_every_mac_on_exactly_one_module_and_operator() -> None:
    run = execute(take_subject(MultiplyAndSumTokenizer(), "planted"), SHAPE, training=False)
    assert sum(run.trace.macs.values()) == run.trace.total_macs == sum(call.own_macs for call in run.trace.calls)
