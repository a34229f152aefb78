"""Attention-augmented convolution: some channels of a 3x3 convolution come from attention over the whole map."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from vtbench.attention.attention_block import register_attention
from vtbench.attention.relative_attention import RelativeAttention
from vtbench.catalog import Look
from vtbench.layers.convolution import Conv2d
from vtbench.variants import ModelOptions

# B images, C channels, H height, W width of a map, h and w of the map attended over; G heads, K = dk key channels and
# V = dv value channels of all heads together.


class ConvolutionBranch(Conv2d):
    """The 3x3 convolution beside the attention; its MACs are booked as convolution."""

    role = "convolution"


class AugmentedOptions(ModelOptions):
    """What a user may change about the convolution."""

    kappa: float = Field(0.2, gt=0, le=1, description="key channels over channels of the layer")
    upsilon: float = Field(0.1, gt=0, lt=1, description="channels that come from attention over channels of the layer")
    num_heads: int = Field(8, ge=1, description="attention heads")
    min_key_dim: int = Field(20, ge=1, description="smallest number of key channels of a head")
    largest_map: int = Field(14, ge=1, description="side of the largest map attended over at its own resolution")


@register_attention(
    "aa",
    place="spatial",
    options=AugmentedOptions(kappa=0.25, upsilon=0.25, num_heads=2, min_key_dim=8, largest_map=16),
    source="Bello et al. 2019, Attention Augmented Convolutional Networks, section 3",
    look=Look("attention-augmented", "#b8860b", "X"),
    where={2: (0,), 3: (0,), 4: (0,)},
)
class AugmentedConv(nn.Module):
    """``[conv3x3(x), W_o attention(x)]``: (B, C, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride)).

    The convolution gives C_out - V channels, attention the last V. Bello et al. 2019 (arXiv 1904.09925), section 3.2:
    V = upsilon C_out and K = kappa C_out, both rounded down to a multiple of G, and K at least ``min_key_dim`` channels
    a head (20 in the paper's experiments). Queries, keys and values are one 1x1 convolution C -> 2 K + V, ``W_o`` is
    one V -> V.

    Where the output exceeds ``largest_map`` cells a side, attention is at half that resolution: 3x3 means with stride 2
    (of the cells inside the map) before, bilinear interpolation after (in the paper, the 28x28 maps of ImageNet).

    Cost per image for M output cells and N = h w attended ones: 9 C (C_out - V) M + (C (2 K + V) + V^2) N MACs and
    those of `RelativeAttention`; 9 C (C_out - V) + C (2 K + V) + V^2 + 2 (h + w - 1) K / G parameters.
    """

    role = "spatial attention"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        map_size: tuple[int, int],
        stride: int = 1,
        kappa: float = 0.2,
        upsilon: float = 0.1,
        num_heads: int = 8,
        min_key_dim: int = 20,
        largest_map: int = 14,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_key = max(min_key_dim, int(kappa * out_channels) // num_heads) * num_heads
        self.num_value = max(1, int(upsilon * out_channels) // num_heads) * num_heads
        if self.num_value >= out_channels:
            raise ValueError(f"{num_heads} heads leave no channel of {out_channels} to the convolution")
        self.conv = ConvolutionBranch(
            in_channels, out_channels - self.num_value, 3, stride=stride, padding=1, bias=False
        )
        self.project = Conv2d(in_channels, 2 * self.num_key + self.num_value, 1, stride=stride, bias=False)
        out_size = (_halve(map_size[0], stride), _halve(map_size[1], stride))
        self.is_pooled = max(out_size) > largest_map
        self.pool = nn.AvgPool2d(3, 2, padding=1, count_include_pad=False) if self.is_pooled else nn.Identity()
        attended_size = (_halve(out_size[0]), _halve(out_size[1])) if self.is_pooled else out_size
        self.attention = RelativeAttention(attended_size, self.num_key // num_heads)
        self.output = Conv2d(self.num_value, self.num_value, 1, bias=False)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Convolve, attend, and join the channels."""
        convolved = self.conv(map_BCHW)
        projected = self.project(self.pool(map_BCHW))
        query, key, value = projected.split([self.num_key, self.num_key, self.num_value], dim=1)
        heads = (part.unflatten(1, (self.num_heads, -1)) for part in (query, key, value))
        attended = self.output(self.attention(*heads).flatten(1, 2))
        if self.is_pooled:
            attended = nn.functional.interpolate(attended, size=convolved.shape[2:], mode="bilinear")
        return torch.cat([convolved, attended], dim=1)

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels, height, width = map_shape
        stride = int(self.conv.stride[0])
        out_cells = _halve(height, stride) * _halve(width, stride)
        if self.is_pooled:
            height, width = _halve(height), _halve(width)
        height, width = _halve(height, stride), _halve(width, stride)
        convolving = 9 * channels * int(self.conv.out_channels) * out_cells
        projecting = (channels * (2 * self.num_key + self.num_value) + self.num_value**2) * height * width
        shape = (batch, self.num_heads, self.num_key // self.num_heads, height, width)
        value_shape = (batch, self.num_heads, self.num_value // self.num_heads, height, width)
        return batch * (convolving + projecting) + self.attention.expected_macs(shape, shape, value_shape)


def _halve(side: int, stride: int = 2) -> int:
    """The side of a map after a step with this stride, rounded up."""
    return -(-side // stride)
