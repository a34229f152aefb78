"""Attention over a k x k window around every cell, without k x k copies of what is attended to.

`window_dot` compares a query with the keys of its window; `window_sum` averages the values of a window with given
weights. Both go over the k x k offsets one by one and read a shifted view of the padded map, so that beside inputs and
output they need one map of memory, forward and backward. They are operators of their own (``torch.ops.vtbench``): a
tracer sees one operator with a shape and not 49 products, and finds its cost in `OPERATOR_MACS`.

The maps are laid out with the batch last: neighbouring numbers in memory belong to one cell of many images, so that a
shift moves no data and every loop runs over long rows. `split_channels` and `join_channels` convert.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vtbench.layers.stated_cost import OPERATOR_MACS

# B images, H height, W width of the output map; P, Q height and width of the padded map that windows are cut from; G
# groups of channels that share their weights (heads), D channels of a group; K = k * k offsets of a window, row by row.


def split_channels(map_BCHW: Tensor, num_groups: int) -> Tensor:
    """(B, C, H, W) -> (G, D, H, W, B) with D = C / G: channels g * D to (g + 1) * D - 1 form group g."""
    flat_XB = map_BCHW.contiguous().flatten(1).T.contiguous()
    return flat_XB.reshape(num_groups, -1, *map_BCHW.shape[2:], map_BCHW.shape[0])


def join_channels(map_GDHWB: Tensor) -> Tensor:
    """The inverse of `split_channels`: (G, D, H, W, B) -> (B, G * D, H, W)."""
    _, _, height, width, batch = map_GDHWB.shape
    return map_GDHWB.flatten(0, 3).T.contiguous().reshape(batch, -1, height, width)


def pad_window(map_BCHW: Tensor, kernel_size: int, mode: str = "constant") -> Tensor:
    """Pad a map so that every cell has a window; an even window reaches one cell further to the right and down."""
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    return nn.functional.pad(map_BCHW, [before, after, before, after], mode=mode)


def start_logits(query: nn.Conv2d, key: nn.Conv2d, head_dim: int) -> None:
    """Draw both 1x1 convolutions so that ``q . k`` of inputs of unit variance starts with a standard deviation of 0.1.

    A window is then averaged nearly evenly at first. With larger logits, the gradient of the softmax grows with the
    weights that it drives, and training without warm-up diverges at the learning rates of residual networks.
    """
    for convolution in (query, key):
        nn.init.normal_(convolution.weight, std=(0.1 / (convolution.in_channels * head_dim**0.5)) ** 0.5)


def softmax_inside(logits_GKHWB: Tensor, map_size: tuple[int, int], kernel_size: int, stride: int = 1) -> Tensor:
    """Softmax over those offsets of each window that lie on the unpadded map; the others get weight 0.

    Overwrites the logits. That is not told to autograd: the gradient of a weight that is 0 is 0 already.
    """

    def find_inside(side: int) -> Tensor:
        starts = torch.arange(0, side, stride, device=logits_GKHWB.device) - (kernel_size - 1) // 2
        places = starts[None] + torch.arange(kernel_size, device=logits_GKHWB.device)[:, None]
        return (places >= 0) & (places < side)

    rows, columns = find_inside(map_size[0]), find_inside(map_size[1])
    inside_KHW = (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)
    with torch.no_grad():
        logits_GKHWB.masked_fill_(~inside_KHW[None, :, :, :, None], -torch.inf)
    return logits_GKHWB.softmax(dim=1)


def window_dot(
    query_GDHWB: Tensor, key_GDPQB: Tensor, kernel_size: int, stride: int = 1, shift_KD: Tensor | None = None
) -> Tensor:
    """Logits (G, K, H, W, B): ``logit[g, o, i] = sum_d query[g, d, i] * (key[g, d, stride * i + o] + shift[o, d])``.

    Cost: G D K H W B MACs.
    """
    logits: Tensor = _window_dot(query_GDHWB, key_GDPQB.to(query_GDHWB.dtype), kernel_size, stride, shift_KD)
    return logits


def window_sum(weights_GKHWB: Tensor, value_GDPQB: Tensor, kernel_size: int, stride: int = 1) -> Tensor:
    """A map (G, D, H, W, B): ``out[g, d, i] = sum_o weights[g, o, i] * value[g, d, stride * i + o]``.

    Cost: G D K H W B MACs. The weights are brought to the type of the values (a softmax under autocast gives float32).
    """
    total: Tensor = _window_sum(weights_GKHWB.to(value_GDPQB.dtype), value_GDPQB, kernel_size, stride)
    return total


@torch.library.custom_op("vtbench::window_dot", mutates_args=())
def _window_dot(query: Tensor, key: Tensor, kernel_size: int, stride: int, shift: Tensor | None) -> Tensor:
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
def _window_sum(weights: Tensor, value: Tensor, kernel_size: int, stride: int) -> Tensor:
    height, width, batch = weights.shape[2:]
    total = _widen(value).new_zeros(*value.shape[:2], height, width, batch)
    for offset in range(kernel_size**2):
        seen = _shift(value, offset, kernel_size, stride, height, width)
        total.addcmul_(_widen(weights[:, offset, None]), _widen(seen))
    return total.to(value.dtype)


@torch.library.custom_op("vtbench::window_scatter", mutates_args=())
def _window_scatter(weights: Tensor, source: Tensor, height: int, width: int, kernel_size: int, stride: int) -> Tensor:
    """The transpose of `window_sum`: spread a map (G, D, H, W, B) over the windows of a padded one."""
    total = _widen(source).new_zeros(*source.shape[:2], height, width, source.shape[4])
    source_wide = _widen(source)
    for offset in range(kernel_size**2):
        target = _shift(total, offset, kernel_size, stride, *source.shape[2:4])
        target.addcmul_(_widen(weights[:, offset, None]), source_wide)
    return total.to(source.dtype)


@_window_dot.register_fake
def _(query: Tensor, key: Tensor, kernel_size: int, stride: int, shift: Tensor | None) -> Tensor:
    return query.new_empty(query.shape[0], kernel_size**2, *query.shape[2:])


@_window_sum.register_fake
def _(weights: Tensor, value: Tensor, kernel_size: int, stride: int) -> Tensor:
    return value.new_empty(*value.shape[:2], *weights.shape[2:])


@_window_scatter.register_fake
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
    grad_query = _window_sum(grad, key, ctx.kernel_size, ctx.stride)
    grad_key = _window_scatter(grad, query, *key.shape[2:4], ctx.kernel_size, ctx.stride)
    if shift is None:
        return grad_query, grad_key, None, None, None
    grad_GKL = grad.flatten(2)
    grad_query += (shift.T.to(grad.dtype) @ grad_GKL).reshape(query.shape)
    grad_shift = (grad_GKL @ query.flatten(2).transpose(1, 2)).sum(0).to(shift.dtype)
    return grad_query, grad_key, None, None, grad_shift


def _backward_sum(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    weights, value = ctx.saved_tensors
    grad = grad.contiguous()
    grad_weights = _window_dot(grad, value, ctx.kernel_size, ctx.stride, None)
    if not ctx.needs_input_grad[1]:  # The pixels that a stem averages: the scatter is the dearest part.
        return grad_weights, None, None, None
    return grad_weights, _window_scatter(weights, grad, *value.shape[2:4], ctx.kernel_size, ctx.stride), None, None


_window_dot.register_autograd(_backward_dot, setup_context=_save_dot)
_window_sum.register_autograd(_backward_sum, setup_context=_save_sum)


def _count_dot(query: Tensor, key: Tensor, kernel_size: int, *rest: Any) -> int:
    return query.numel() * kernel_size**2


def _count_sum(weights: Tensor, value: Tensor, *rest: Any) -> int:
    return weights.numel() * value.shape[1]


OPERATOR_MACS["vtbench::window_dot"] = _count_dot
OPERATOR_MACS["vtbench::window_sum"] = OPERATOR_MACS["vtbench::window_scatter"] = _count_sum


def _shift(padded: Tensor, offset: int, kernel_size: int, stride: int, height: int, width: int) -> Tensor:
    """A view (G, D, H, W, B) of the cells that lie at this offset of each window."""
    row, column = divmod(offset, kernel_size)
    rows = slice(row, row + stride * (height - 1) + 1, stride)
    columns = slice(column, column + stride * (width - 1) + 1, stride)
    return padded[:, :, rows, columns]


def _widen(tensor: Tensor) -> Tensor:
    """Sums of many terms are formed in float32 even where the maps are kept in 16 bits."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
