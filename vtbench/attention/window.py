"""Attention over a k x k window around every cell, without k x k copies of what is attended to.

`window_dot` compares a query with the keys of its window; `window_sum` averages the values of a window with given
weights, by the operators of `vtbench.layers.window_operators`.

The maps are laid out with the batch last: neighbouring numbers in memory belong to one cell of many images, so that a
shift moves no data and every loop runs over long rows. `split_channels` and `join_channels` convert.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
    from vtbench.layers.window_operators import dot_windows

    logits: Tensor = dot_windows(query_GDHWB, key_GDPQB.to(query_GDHWB.dtype), kernel_size, stride, shift_KD)
    return logits


def window_sum(weights_GKHWB: Tensor, value_GDPQB: Tensor, kernel_size: int, stride: int = 1) -> Tensor:
    """A map (G, D, H, W, B): ``out[g, d, i] = sum_o weights[g, o, i] * value[g, d, stride * i + o]``.

    Cost: G D K H W B MACs. The weights are brought to the type of the values (a softmax under autocast gives float32).
    """
    from vtbench.layers.window_operators import sum_windows

    total: Tensor = sum_windows(weights_GKHWB.to(value_GDPQB.dtype), value_GDPQB, kernel_size, stride)
    return total
