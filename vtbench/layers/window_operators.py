"""Operators of attention over windows (``torch.ops.vtbench``), without k x k copies of what is attended to.

They go over the k x k offsets one by one and read a shifted view of the padded map, so that beside inputs and output
they need one map of memory, forward and backward. A tracer sees one operator with a shape and not 49 products, and
finds its cost in `OPERATOR_MACS`. `vtbench.attention.window` is the way to use them; to register them takes a while, so
that it is left to the first use.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vtbench.layers.plain_forms import PLAIN_FORMS
from vtbench.layers.stated_cost import OPERATOR_MACS

# B images, H height, W width of the output map; P, Q height and width of the padded map that windows are cut from; G
# groups of channels that share their weights (heads), D channels of a group; K = k * k offsets of a window, row by row.


@torch.library.custom_op("vtbench::window_dot", mutates_args=())
def dot_windows(query: Tensor, key: Tensor, kernel_size: int, stride: int, shift: Tensor | None) -> Tensor:
    num_groups, _, height, width, batch = query.shape
    logits = query.new_empty(num_groups, kernel_size**2, height, width, batch)
    query = _widen(query)
    products = torch.empty_like(query)
    for offset in range(kernel_size**2):
        seen = _widen(_shift(key, offset, kernel_size, stride, height, width))
        if shift is None:
            torch.mul(query, seen, out=products)
        else:
            torch.add(seen, _widen(shift[offset]).view(-1, 1, 1, 1), out=products).mul_(query)
        if logits.dtype == products.dtype:
            torch.sum(products, 1, out=logits[:, offset])
        else:
            logits[:, offset] = products.sum(1)
    return logits


@torch.library.custom_op("vtbench::window_sum", mutates_args=())
def sum_windows(weights: Tensor, value: Tensor, kernel_size: int, stride: int) -> Tensor:
    height, width, batch = weights.shape[2:]
    total = _widen(value).new_zeros(*value.shape[:2], height, width, batch)
    for offset in range(kernel_size**2):
        seen = _shift(value, offset, kernel_size, stride, height, width)
        total.addcmul_(_widen(weights[:, offset, None]), _widen(seen))
    return total.to(value.dtype)


@torch.library.custom_op("vtbench::window_scatter", mutates_args=())
def scatter_windows(weights: Tensor, source: Tensor, height: int, width: int, kernel_size: int, stride: int) -> Tensor:
    """The transpose of `window_sum`: spread a map (G, D, H, W, B) over the windows of a padded one."""
    total = _widen(source).new_zeros(*source.shape[:2], height, width, source.shape[4])
    source_wide = _widen(source)
    for offset in range(kernel_size**2):
        target = _shift(total, offset, kernel_size, stride, *source.shape[2:4])
        target.addcmul_(_widen(weights[:, offset, None]), source_wide)
    return total.to(source.dtype)


@dot_windows.register_fake
def _(query: Tensor, key: Tensor, kernel_size: int, stride: int, shift: Tensor | None) -> Tensor:
    return query.new_empty(query.shape[0], kernel_size**2, *query.shape[2:])


@sum_windows.register_fake
def _(weights: Tensor, value: Tensor, kernel_size: int, stride: int) -> Tensor:
    return value.new_empty(*value.shape[:2], *weights.shape[2:])


@scatter_windows.register_fake
def _(weights: Tensor, source: Tensor, height: int, width: int, kernel_size: int, stride: int) -> Tensor:
    return source.new_empty(*source.shape[:2], height, width, source.shape[4])


def _save_dot(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    query, key, ctx.kernel_size, ctx.stride, shift = inputs
    ctx.save_for_backward(query, key, shift)


def _save_sum(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    weights, value, ctx.kernel_size, ctx.stride = inputs
    ctx.save_for_backward(weights, value)


def _backward_dot(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    query, key, shift = ctx.saved_tensors
    grad = grad.contiguous()
    grad_query = sum_windows(grad, key, ctx.kernel_size, ctx.stride)
    grad_key = scatter_windows(grad, query, *key.shape[2:4], ctx.kernel_size, ctx.stride)
    if shift is None:
        return grad_query, grad_key, None, None, None
    grad_GKL = grad.flatten(2)
    grad_query += (shift.T.to(grad.dtype) @ grad_GKL).reshape(query.shape)
    grad_shift = (grad_GKL @ query.flatten(2).transpose(1, 2)).sum(0).to(shift.dtype)
    return grad_query, grad_key, None, None, grad_shift


def _backward_sum(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    weights, value = ctx.saved_tensors
    grad = grad.contiguous()
    grad_weights = dot_windows(grad, value, ctx.kernel_size, ctx.stride, None)
    if not ctx.needs_input_grad[1]:  # The pixels that a stem averages: the scatter is the dearest part.
        return grad_weights, None, None, None
    return grad_weights, scatter_windows(weights, grad, *value.shape[2:4], ctx.kernel_size, ctx.stride), None, None


dot_windows.register_autograd(_backward_dot, setup_context=_save_dot)
sum_windows.register_autograd(_backward_sum, setup_context=_save_sum)


def _count_dot(query: Tensor, key: Tensor, kernel_size: int, *rest: Any) -> int:
    return query.numel() * kernel_size**2


def _count_sum(weights: Tensor, value: Tensor, *rest: Any) -> int:
    return weights.numel() * value.shape[1]


def _dot_plainly(query: Tensor, key: Tensor, kernel_size: int, stride: int, shift: Tensor | None = None) -> Tensor:
    seen = _copy_windows(key, kernel_size, stride, query.shape[2], query.shape[3])
    if shift is not None:
        seen = seen + shift.T[:, :, None, None, None]
    return (query[:, :, None] * seen).sum(1)


def _sum_plainly(weights: Tensor, value: Tensor, kernel_size: int, stride: int) -> Tensor:
    return (weights[:, None] * _copy_windows(value, kernel_size, stride, weights.shape[2], weights.shape[3])).sum(2)


PLAIN_FORMS[torch.ops.vtbench.window_dot.default] = _dot_plainly
PLAIN_FORMS[torch.ops.vtbench.window_sum.default] = _sum_plainly

OPERATOR_MACS["vtbench::window_dot"] = _count_dot
OPERATOR_MACS["vtbench::window_sum"] = OPERATOR_MACS["vtbench::window_scatter"] = _count_sum


def _shift(padded: Tensor, offset: int, kernel_size: int, stride: int, height: int, width: int) -> Tensor:
    """A view (G, D, H, W, B) of the cells that lie at this offset of each window."""
    row, column = divmod(offset, kernel_size)
    rows = slice(row, row + stride * (height - 1) + 1, stride)
    columns = slice(column, column + stride * (width - 1) + 1, stride)
    return padded[:, :, rows, columns]


def _copy_windows(padded: Tensor, kernel_size: int, stride: int, height: int, width: int) -> Tensor:
    """The windows of a padded map side by side: (G, D, P, Q, B) -> (G, D, K, H, W, B)."""
    windows = padded.unfold(2, kernel_size, stride).unfold(3, kernel_size, stride)[:, :, :height, :width]
    return windows.permute(0, 1, 5, 6, 2, 3, 4).flatten(2, 3)


def _widen(tensor: Tensor) -> Tensor:
    """Sums of many terms are formed in float32 even where the maps are kept in 16 bits."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
