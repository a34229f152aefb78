"""The window operators against plain unfolding, in values, gradients, cost and memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vtbench.attention.local_relation import LocalRelation
from vtbench.attention.window import join_channels, pad_window, softmax_inside, split_channels, window_dot, window_sum
from vtbench.profiling import profile
from vtbench.records.profile import TrainingCost

CASES = [(3, 1), (7, 1), (3, 2), (4, 1), (1, 1)]


def unfold(map_BCHW: Tensor, num_groups: int, kernel_size: int, stride: int) -> Tensor:
    """All windows of a zero-padded map, copied: (B, G, D, K, H, W)."""
    padded = pad_window(map_BCHW, kernel_size)
    windows = padded.unfold(2, kernel_size, stride).unfold(3, kernel_size, stride)
    return windows.flatten(4).unflatten(1, (num_groups, -1)).movedim(-1, 3)


def make_maps(kernel_size: int, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(kernel_size * 10 + stride)
    key = torch.randn(3, 6, 9, 8, generator=generator, dtype=torch.double)
    query = torch.randn(3, 6, 9, 8, generator=generator, dtype=torch.double)[:, :, ::stride, ::stride]
    shift = torch.randn(kernel_size**2, 3, generator=generator, dtype=torch.double)
    return query, key, shift


def test_splitting_into_groups_and_joining_is_the_identity_and_keeps_neighbouring_channels_together() -> None:
    map_BCHW = torch.randn(2, 6, 3, 4)
    split = split_channels(map_BCHW, 2)
    assert torch.equal(split[1, 2, 0, 3], map_BCHW[:, 5, 0, 3])
    assert torch.equal(join_channels(split), map_BCHW)
    assert torch.equal(join_channels(split_channels(map_BCHW.to(memory_format=torch.channels_last), 3)), map_BCHW)


@pytest.mark.parametrize(("kernel_size", "stride"), CASES)
@pytest.mark.parametrize("shifted", [False, True])
def test_logits_equal_those_of_unfolded_keys(kernel_size: int, stride: int, shifted: bool) -> None:
    query, key, shift = make_maps(kernel_size, stride)
    keys = unfold(key, 2, kernel_size, stride) + (shift.T[None, None, :, :, None, None] if shifted else 0)
    expected = torch.einsum("bgdhw,bgdkhw->gkhwb", query.unflatten(1, (2, 3)), keys)
    padded = split_channels(pad_window(key, kernel_size), 2)
    found = window_dot(split_channels(query, 2), padded, kernel_size, stride, shift if shifted else None)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("kernel_size", "stride"), CASES)
def test_weighted_sums_equal_those_of_unfolded_values(kernel_size: int, stride: int) -> None:
    query, value, _ = make_maps(kernel_size, stride)
    weights = torch.randn(2, kernel_size**2, *query.shape[2:], 3, dtype=torch.double)
    expected = torch.einsum("gkhwb,bgdkhw->bgdhw", weights, unfold(value, 2, kernel_size, stride)).flatten(1, 2)
    found = window_sum(weights, split_channels(pad_window(value, kernel_size), 2), kernel_size, stride)
    torch.testing.assert_close(join_channels(found), expected)


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (3, 2), (2, 1)])
def test_gradients_equal_finite_differences(kernel_size: int, stride: int) -> None:
    query, key, shift = (tensor.requires_grad_() for tensor in make_maps(kernel_size, stride))
    query_split = split_channels(query[:2, :, :2, :2], 2).detach().requires_grad_()
    size = kernel_size + stride
    key_split = split_channels(key[:2, :, :size, :size], 2).detach().requires_grad_()
    weights = torch.randn(2, kernel_size**2, 2, 2, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda q, k, s: window_dot(q, k, kernel_size, stride, s), (query_split, key_split, shift)
    )
    assert torch.autograd.gradcheck(lambda q, k: window_dot(q, k, kernel_size, stride), (query_split, key_split))
    assert torch.autograd.gradcheck(lambda w, v: window_sum(w, v, kernel_size, stride), (weights, key_split))


def test_a_value_that_wants_no_gradient_gets_none_and_the_weights_still_do() -> None:
    weights = torch.randn(1, 9, 2, 2, 1, requires_grad=True)
    window_sum(weights, torch.randn(1, 2, 4, 4, 1), 3).sum().backward()
    assert weights.grad is not None
    assert weights.grad.abs().sum() > 0


def test_operators_describe_themselves_rightly_to_the_compiler() -> None:
    query, key, shift = make_maps(3, 2)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    key_split = split_channels(pad_window(key, 3), 2).requires_grad_()
    for arguments in (
        (split_channels(query, 2), key_split, 3, 2, shift),
        (split_channels(query, 2), key_split, 3, 2, None),
    ):
        torch.library.opcheck(torch.ops.vtbench.window_dot.default, arguments, test_utils=checks)
    weights = torch.randn(2, 9, *query.shape[2:], 3, dtype=torch.double, requires_grad=True)
    torch.library.opcheck(torch.ops.vtbench.window_sum.default, (weights, key_split, 3, 2), test_utils=checks)
    scatter_arguments = (weights.detach(), split_channels(query, 2), *key_split.shape[2:4], 3, 2)
    torch.library.opcheck(torch.ops.vtbench.window_scatter.default, scatter_arguments, test_utils=checks)


class BothOperators(nn.Module):
    """`window_dot`, then `window_sum` over the same map."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, query: Tensor, key: Tensor, shift: Tensor) -> Tensor:
        weights = window_dot(query, key, self.kernel_size, self.stride, shift)
        return window_sum(weights, key, self.kernel_size, self.stride)


@pytest.mark.parametrize(("kernel_size", "stride"), CASES)
def test_the_tracer_counts_what_a_plain_product_over_copied_windows_costs(kernel_size: int, stride: int) -> None:
    query, key, shift = make_maps(kernel_size, stride)
    with FlopCounterMode(display=False) as plain:
        keys = unfold(key, 2, kernel_size, stride).permute(0, 1, 4, 5, 3, 2).flatten(0, 3)
        logits = keys @ query.unflatten(1, (2, 3)).permute(0, 1, 3, 4, 2).flatten(0, 3)[..., None]
        keys.transpose(1, 2) @ logits
    inputs = [split_channels(query, 2), split_channels(pad_window(key, kernel_size), 2), shift]
    counted = profile(BothOperators(kernel_size, stride), inputs=inputs)
    assert counted.macs == plain.get_total_flops() // 2 > 0
    assert {operator.name for operator in counted.operators} >= {"vtbench::window_dot", "vtbench::window_sum"}


def test_the_backward_pass_of_window_attention_costs_twice_the_forward_pass() -> None:
    layer = LocalRelation(8, 8, kernel_size=3)
    counted = profile(nn.Sequential(nn.Conv2d(8, 8, 1), layer), (8, 6, 6), backward=True)
    first, constant = 8 * 8 * 36, 9 * 2 * 8  # Neither the image nor the offsets of the prior want a gradient.
    assert isinstance(counted.training, TrainingCost)
    assert counted.training.forward_macs == first + layer.expected_macs((1, 8, 6, 6))
    assert counted.training.backward_macs == 2 * counted.training.forward_macs - first - constant


@pytest.mark.parametrize(("kernel_size", "stride"), CASES)
def test_softmax_ignores_offsets_outside_the_map_in_value_and_gradient(kernel_size: int, stride: int) -> None:
    inside = unfold(torch.ones(1, 1, 5, 4, dtype=torch.double), 1, kernel_size, stride)[0, 0, 0].bool()[None, ..., None]
    logits = torch.randn(2, kernel_size**2, *inside.shape[2:4], 3, dtype=torch.double, requires_grad=True)
    upstream = torch.randn_like(logits)
    expected = torch.where(inside, logits.exp(), 0)
    expected = expected / expected.sum(1, keepdim=True)
    wanted = torch.autograd.grad(expected, logits, upstream)[0]
    found = softmax_inside(logits * 1, (5, 4), kernel_size, stride)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, logits, upstream)[0], wanted)


def test_sums_in_sixteen_bits_are_formed_in_thirty_two() -> None:
    query, value, _ = make_maps(7, 1)
    weights = torch.full((2, 49, 9, 8, 3), 1 / 49)
    split = split_channels(pad_window(value + 4, 7), 2)
    exact = window_sum(weights.double(), split, 7)
    found = window_sum(weights, split.bfloat16(), 7)
    assert found.dtype == torch.bfloat16
    assert (found.double() - exact).abs().max() <= 4 * 2**-7
    logits = window_dot(split_channels(query, 2).bfloat16(), split.bfloat16(), 7)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.double(), window_dot(split_channels(query, 2), split, 7), rtol=0.02, atol=0.2)


def test_what_is_kept_for_the_backward_pass_has_no_copy_of_keys_or_values_for_each_offset() -> None:
    kept: list[int] = []
    query, key, _ = make_maps(7, 1)
    query_split = split_channels(query, 2).requires_grad_()
    key_split = split_channels(pad_window(key, 7), 2).requires_grad_()

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        window_sum(window_dot(query_split, key_split, 7), key_split, 7)
    weights = 49 * query.numel() // 3
    assert sum(kept) == weights + query.numel() + 2 * key_split.numel()
