"""The quick answers about shapes are those that torch gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from vtbench.profiling.shortcuts import NOT_PLAIN, SHORTCUTS, Shortcuts, take_shortcut

aten = torch.ops.aten


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def permuted(*shape: int) -> Tensor:
    return meta(*shape).permute(*range(1, len(shape)), 0)


CASES: list[tuple[Any, tuple[Any, ...]]] = [
    *((getattr(aten, name).default, (meta(2, 3, 4),)) for name in ("relu", "silu", "gelu", "sigmoid", "hardswish")),
    (aten.relu.default, (permuted(2, 3, 4),)),
    (aten.neg.default, (meta(2, 3, 8).permute(2, 0, 1)[::2, 1:],)),
    (aten.neg.default, (meta(2, 6, 3, 4).transpose(1, 2)[..., :2],)),
    (aten.clamp.default, (meta(2, 3), None, 4.0)),
    (aten.clamp_min.default, (meta(2, 3), 1e-12)),
    (aten.mul.Scalar, (permuted(2, 3, 1), 0.5)),
    (aten._softmax.default, (meta(2, 3, 4), 1, False)),
    (aten._safe_softmax.default, (meta(2, 3, 4), -1)),
    (aten.add.Tensor, (meta(2, 3, 4), meta(2, 3, 4))),
    (aten.add.Tensor, (meta(2, 3, 4), meta(3, 1))),
    (aten.mul.Tensor, (meta(5, 1, 4), meta(2, 1, 3, 1))),
    (aten.sub.Tensor, (permuted(2, 3, 4), meta(3, 4, 2))),
    (aten.sub.Tensor, (meta(3, 4, 2), permuted(2, 3, 4))),
    (aten.mul.Tensor, (meta(2, 3, 4, 5).permute(0, 2, 3, 1), meta(3))),
    (aten.mul.Tensor, (meta(2, 3, 4, 5).transpose(1, 2), meta(5, 4, 1, 1).transpose(0, 1)[:, 0])),
    (aten.div.Tensor, (meta(2, 3), 4.0)),
    (aten.exp.default, (permuted(2, 3, 4),)),
    (aten.pow.Tensor_Scalar, (meta(2, 3, 4).transpose(0, 1), 2)),
    (aten.add.Tensor, (meta(2, 3), 1)),
    (aten.native_batch_norm.default, (meta(2, 3, 4, 5), meta(3), meta(3), meta(3), meta(3), True, 0.1, 1e-5)),
    (aten.native_batch_norm.default, (meta(2, 3, 4, 5), None, None, meta(3), meta(3), False, 0.1, 1e-5)),
    (aten.native_layer_norm.default, (meta(2, 3, 4, 5), [4, 5], meta(4, 5), meta(4, 5), 1e-5)),
    (aten.native_group_norm.default, (meta(2, 6, 4, 5), meta(6), meta(6), 2, 6, 20, 3, 1e-5)),
    (aten.native_group_norm.default, (meta(2, 6, 4), None, None, 2, 6, 4, 1, 1e-5)),
    (aten.linalg_vector_norm.default, (meta(2, 3, 4), 2.0, [-1], True)),
    (aten.linalg_vector_norm.default, (meta(2, 3, 4), 2.0, [0, 1])),
    (aten.upsample_bilinear2d.default, (meta(2, 3, 4, 5), [8, 10], False, 2.0, 2.0)),
    (aten.upsample_bilinear2d.default, (meta(2, 4, 5, 3).permute(0, 3, 1, 2), [7, 3], True)),
    (aten.upsample_bicubic2d.default, (meta(2, 3, 4, 5), [2, 3], False)),
    (aten._adaptive_avg_pool2d.default, (meta(2, 3, 7, 5), [2, 4])),
    (aten._adaptive_avg_pool2d.default, (meta(2, 4, 5, 3).permute(0, 3, 1, 2), [3, 3])),
    (aten.mm.default, (meta(2, 3), meta(4, 3).t())),
    (aten.bmm.default, (meta(5, 2, 3), meta(5, 3, 4))),
    (aten.addmm.default, (meta(4), meta(2, 3), meta(3, 4))),
    (aten.mean.dim, (meta(2, 3, 4, 5), [2, 3])),
    (aten.mean.dim, (meta(2, 3, 4, 5), [-1, -2], True)),
    (aten.mean.dim, (meta(2, 3, 4, 5).permute(0, 2, 3, 1), [1, 2], True)),
    (aten.linalg_vector_norm.default, (meta(2, 3, 4, 5).transpose(1, 2), 2.0, [-1], True)),
    (aten.cat.default, ([meta(2, 3, 4, 5).transpose(1, 2), meta(2, 4, 3, 5)], 3)),
    (aten.cat.default, ([meta(2, 3, 4, 5).transpose(2, 3)] * 2, 1)),
    (aten.stack.default, ([meta(2, 3), meta(2, 3)], -1)),
    (aten.stack.default, ([meta(2, 3, 4)] * 3,)),
    (aten.cat.default, ([meta(2, 3), meta(2, 5)], 1)),
    (aten.cat.default, ([meta(2, 3), meta(4, 3)],)),
    (aten.cat.default, ([meta(2, 3, 4), permuted(5, 2, 3)], -1)),
    *(
        (aten.convolution.default, (meta(2, 6, *sides), meta(8, 6 // groups, *kernel), bias, *how, False, [0], groups))
        for sides, kernel, bias, how, groups in (
            ((16, 15), (3, 3), meta(8), ([1, 1], [0, 0], [1, 1]), 1),
            ((16, 15), (3, 5), None, ([2, 1], [1, 2], [1, 2]), 2),
            ((16,), (4,), meta(8), ([3], [1], [1]), 1),
            ((7, 7, 7), (2, 2, 2), None, ([2, 2, 2], [0, 0, 0], [1, 1, 1]), 1),
        )
    ),
    (aten.avg_pool2d.default, (meta(2, 4, 5, 3).permute(0, 3, 1, 2), [1, 1], [2, 2])),
    (aten.avg_pool2d.default, (meta(2, 3, 8, 9), [3, 2])),
    (aten.avg_pool2d.default, (meta(2, 3, 8, 9), [3, 3], [2, 2], [1, 1], True, False)),
    *(
        (aten.max_pool2d_with_indices.default, (meta(2, 3, height, width), *how))
        for height in (7, 8, 14)
        for width in (9, 12)
        for how in (
            ([2, 2],),
            ([3, 3], [2, 2], [1, 1]),
            ([3, 2], [2, 2], [1, 0], [1, 1], True),
            ([2, 2], [2, 2], [0, 0], [1, 1], True),
            ([3, 3], [2, 2], [1, 1], [1, 1], True),
        )
    ),
]


@pytest.mark.parametrize(("operator", "args"), CASES)
def test_a_shortcut_answers_as_torch_does_with_values(operator: Any, args: tuple[Any, ...]) -> None:
    real = tree_map(
        lambda value: torch.empty_like(value, device="cpu").zero_() if isinstance(value, Tensor) else value, args
    )
    quick, slow = take_shortcut(SHORTCUTS[operator], args, {}), operator(*real)
    assert quick is not NOT_PLAIN
    quick, slow = (value if isinstance(value, tuple) else (value,) for value in (quick, slow))
    assert [(tuple(x.shape), x.dtype) for x in quick] == [(tuple(x.shape), x.dtype) for x in slow]
    assert all(x.is_meta for x in quick)
    assert quick[0].stride() == slow[0].stride()


def test_operators_in_place_return_their_target() -> None:
    target = meta(2, 3)
    assert take_shortcut(SHORTCUTS[aten.add_.Tensor], (target, meta(3)), {}) is target
    assert take_shortcut(SHORTCUTS[aten.mul_.Tensor], (target, 2.0), {}) is target
    assert take_shortcut(SHORTCUTS[aten.clamp_.default], (target, -2.0, 2.0), {}) is target
    for name in ("sigmoid_", "tanh_", "leaky_relu_", "silu_"):
        part = meta(2, 12)[:, 3:6]
        assert take_shortcut(SHORTCUTS[getattr(aten, name).default], (part,), {}) is part
    assert take_shortcut(SHORTCUTS[aten.normal_.default], (target, 0.0, 1.0), {"generator": None}) is target


LEFT_TO_TORCH: list[tuple[Any, tuple[Any, ...]]] = [
    (aten.relu.default, (meta(2, 3, dtype=torch.int64),)),
    (aten.relu.default, (torch.zeros(2, 3),)),
    (aten.relu.default, (meta(4, 1).expand(4, 6),)),
    (aten.clamp_.default, (meta(2, 3, dtype=torch.int64), 0.5, None)),
    (aten.native_group_norm.default, (meta(2, 6, 4), meta(5), None, 2, 6, 4, 3, 1e-5)),
    (aten.native_group_norm.default, (meta(2, 6, 4), None, None, 2, 6, 4, 4, 1e-5)),
    (aten.linalg_vector_norm.default, (meta(2, 3),)),
    (aten.upsample_bilinear2d.default, (meta(2, 4, 5, 6).permute(0, 3, 1, 2)[:, 1:], [7, 3], True)),
    (aten.add.Tensor, (meta(2, 3), meta(2, 4))),
    (aten.add.Tensor, (meta(2, 3), meta(2, 3, dtype=torch.float64))),
    (aten.add_.Tensor, (meta(3), meta(2, 3))),
    (aten.mm.default, (meta(2, 3), meta(4, 5))),
    (aten.mm.default, (meta(2, 3), torch.zeros(3, 4))),
    (aten.addmm.default, (meta(5), meta(2, 3), meta(3, 4))),
    (aten.cat.default, ([meta(2, 3), meta(3, 4)], 0)),
    (aten.cat.default, ([meta(2, 4, 5, 3).permute(0, 3, 1, 2)] * 2, 1)),
    (aten.stack.default, ([meta(2, 3), meta(3, 2)], 0)),
    (aten.stack.default, ([meta(2, 3), meta(2, 3)], 3)),
    (aten.exp.default, (meta(2, 3, dtype=torch.int64),)),
    (aten.mul.Tensor, (meta(1, 3), meta(3, 2).t())),
    (aten.convolution.default, (meta(1, 4, 8, 8), meta(6, 3, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
    (aten.convolution.default, (meta(1, 3, 2, 2), meta(6, 3, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
    (aten.convolution.default, (meta(1, 3, 8, 8), meta(3, 6, 3, 3), None, [1, 1], [0, 0], [1, 1], True, [0, 0], 1)),
    (aten.max_pool2d_with_indices.default, (meta(1, 3, 1, 1), [2, 2])),
    (aten.avg_pool2d.default, (meta(1, 3, 1, 1), [2, 2])),
    (aten.avg_pool2d.default, (meta(1, 3, 4, 4), [2, 2], [2, 2], [2, 2])),
    (aten._adaptive_avg_pool2d.default, (meta(1, 3, 4, 4)[:, :, 1:, 1:], [2, 2])),
    (aten.native_layer_norm.default, (meta(2, 3), [4], meta(4), meta(4), 1e-5)),
    (aten.native_batch_norm.default, (meta(2, 3), meta(4), meta(4), meta(4), meta(4), False, 0.1, 1e-5)),
    (aten._softmax.default, (meta(2, 3, dtype=torch.float16), 1, True)),
]


@pytest.mark.parametrize(("operator", "args"), LEFT_TO_TORCH)
def test_what_is_not_plain_or_does_not_fit_is_left_to_torch(operator: Any, args: tuple[Any, ...]) -> None:
    assert take_shortcut(SHORTCUTS[operator], args, {}) is NOT_PLAIN


def test_a_keyword_that_says_something_is_left_to_torch() -> None:
    args = (meta(2, 3), meta(2, 3))
    assert take_shortcut(SHORTCUTS[aten.add.Tensor], args, {"alpha": 2}) is NOT_PLAIN
    with Shortcuts():
        assert torch.add(*args, alpha=2).shape == (2, 3)


def test_the_kind_of_gelu_changes_no_shape() -> None:
    assert take_shortcut(SHORTCUTS[aten.gelu.default], (meta(2, 3),), {"approximate": "tanh"}) is not NOT_PLAIN


def test_a_mistake_raises_as_without_shortcuts() -> None:
    with Shortcuts(), pytest.raises(RuntimeError, match="broadcast"):
        meta(2, 3) + meta(2, 4)
