"""The convolutional block attention module: a gate over channels, then a gate over places."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from vtbench.attention.attention_block import register_attention
from vtbench.catalog import Look
from vtbench.layers.convolution import Conv2d
from vtbench.variants import ModelOptions

# B images, C channels, R hidden channels, H height, W width of a map.


class ChannelGate(nn.Module):
    """``sigmoid(MLP(mean(x)) + MLP(max(x))) * x`` with one shared MLP C -> R -> C: (B, C, H, W) -> (B, C, H, W).

    Woo et al. 2018 (arXiv 1807.06521), section 3.1, equation 2; ReLU and biases (at first 0) as in the authors' code.
    Cost per image: 4 C R MACs (the MLP runs twice), 2 C R + C + R parameters.
    """

    role = "channel attention"

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.num_hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, self.num_hidden)
        self.relu = nn.ReLU()
        self.excite = nn.Linear(self.num_hidden, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start without biases."""
        nn.init.zeros_(self.squeeze.bias)
        nn.init.zeros_(self.excite.bias)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Scale every channel of every image."""
        pooled_2BC = torch.stack([map_BCHW.mean(dim=(2, 3)), map_BCHW.amax(dim=(2, 3))])
        of_mean, of_max = self.excite(self.relu(self.squeeze(pooled_2BC)))
        return map_BCHW * torch.sigmoid(of_mean + of_max)[:, :, None, None]

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels = map_shape[:2]
        return 4 * batch * channels * self.num_hidden


class SpatialGate(nn.Module):
    """``sigmoid(BN(conv7x7([max_c(x), mean_c(x)]))) * x``: (B, C, H, W) -> (B, C, H, W).

    Woo et al. 2018, section 3.1, equation 3. As in the authors' code the maximum comes first, the convolution has no
    bias, the normalisation has momentum 0.01 and starts at weight 0, so that every place is first scaled by one half.
    Cost per image: 98 H W MACs, 98 + 2 parameters.
    """

    role = "spatial attention"
    kernel_size = 7

    def __init__(self) -> None:
        super().__init__()
        self.conv = Conv2d(2, 1, self.kernel_size, padding=self.kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with the gate half open everywhere."""
        nn.init.zeros_(self.norm.weight)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Scale every place of every image."""
        pooled = torch.cat([map_BCHW.amax(dim=1, keepdim=True), map_BCHW.mean(dim=1, keepdim=True)], dim=1)
        return map_BCHW * torch.sigmoid(self.norm(self.conv(pooled)))

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, _, height, width = map_shape
        return batch * height * width * 2 * self.kernel_size**2


class CbamOptions(ModelOptions):
    """What a user may change about the gates."""

    reduction: int = Field(16, ge=1, description="channels over hidden channels of the channel gate")


@register_attention(
    "cbam",
    place="gate",
    options=CbamOptions(reduction=4),
    source="Woo et al. 2018, CBAM, section 3",
    look=Look("CBAM", "#3f9bd8", "v"),
)
class ConvolutionalBlockAttention(nn.Module):
    """`ChannelGate`, then `SpatialGate`: (B, C, H, W) -> (B, C, H, W).

    Woo et al. 2018, section 3, equation 1. In a residual network it stands after the last normalisation of the branch,
    before the addition (figure 3). Cost: the sum of the two.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.channel_gate = ChannelGate(channels, reduction)
        self.spatial_gate = SpatialGate()

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Apply both gates."""
        return self.spatial_gate(self.channel_gate(map_BCHW))  # type: ignore[no-any-return]

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        return self.channel_gate.expected_macs(map_shape) + self.spatial_gate.expected_macs(map_shape)
