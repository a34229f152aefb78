"""The attention of bottleneck transformers: all cells of a small map, with relative positions."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from vtbench.attention.attention_block import register_attention
from vtbench.attention.relative_attention import RelativeAttention
from vtbench.catalog import Look
from vtbench.layers.convolution import Conv2d
from vtbench.variants import ModelOptions

# B images, C channels, H height, W width of a map; G heads.


class BottleneckAttentionOptions(ModelOptions):
    """What a user may change about the layer."""

    num_heads: int = Field(4, ge=1, description="attention heads; each has the channels of the layer over this number")


@register_attention(
    "botnet",
    place="spatial",
    options=BottleneckAttentionOptions(),
    source="Srinivas et al. 2021, Bottleneck Transformers for Visual Recognition, section 3",
    look=Look("BoTNet", "#00868b", "*"),
    where={4: (1,)},
)
class BottleneckAttention(nn.Module):
    """`RelativeAttention` instead of the 3x3 convolution of a bottleneck block.

    (B, C, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride)). Queries, keys and values are 1x1 convolutions
    C -> C_out without bias; the heads are joined without another projection. Srinivas et al. 2021 (arXiv 2101.11605),
    section 3 and figure 4. A stride is a 2x2 mean after attention.

    Cost per image: 3 C C_out N MACs and those of `RelativeAttention` over N = H W cells;
    3 C C_out + 2 (H + W - 1) C_out / G parameters.
    """

    role = "spatial attention"

    def __init__(
        self, in_channels: int, out_channels: int, *, map_size: tuple[int, int], stride: int = 1, num_heads: int = 4
    ) -> None:
        super().__init__()
        if out_channels % num_heads:
            raise ValueError(f"{out_channels} channels cannot be split into {num_heads} heads")
        self.num_heads = num_heads
        self.project = Conv2d(in_channels, 3 * out_channels, 1, bias=False)
        self.attention = RelativeAttention(map_size, out_channels // num_heads)
        self.pool = nn.AvgPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Attend over the whole map."""
        query, key, value = self.project(map_BCHW).unflatten(1, (3, self.num_heads, -1)).unbind(dim=1)
        return self.pool(self.attention(query, key, value).flatten(1, 2))  # type: ignore[no-any-return]

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels, height, width = map_shape
        out_channels = self.num_heads * self.attention.head_dim
        head_shape = (batch, self.num_heads, self.attention.head_dim, height, width)
        attending = self.attention.expected_macs(head_shape, head_shape, head_shape)
        return batch * height * width * 3 * channels * out_channels + attending
