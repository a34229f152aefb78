"""Filter-based tokenizer: learned, static filters choose the pixels of each token."""

from __future__ import annotations

from torch import Tensor

from vtbench.layers.pointwise import Pointwise
from vtbench.tokenizers.tokenizer import (
    TOKENIZERS,
    Tokenizer,
    TokenizerSite,
    ValueMap,
    pool_by_attention,
    softmax_over_map,
)

FILTER_GAIN = 0.1
"""Starting gain of attention logits: maps start near uniform, so that training starts near average pooling."""


@TOKENIZERS.register("static")
class FilterTokenizer(Tokenizer):
    """T = softmax_HW(X W_A)^T V(X) (Wu et al. 2020, arXiv 2006.03677, equation 1), W_A: C x L.

    H W (C g + 2 C L) MACs and C g + C L weights, g the group width of V. W_A does not depend on the image: that is what
    "static" means. It starts so small that the maps are nearly uniform; peaked random maps made training slow.
    """

    name = "filter"

    def __init__(self, site: TokenizerSite) -> None:
        super().__init__()
        self.value = ValueMap(site.in_channels, site.group_width)
        self.filters = Pointwise(site.in_channels, site.num_tokens, gain=FILTER_GAIN)

    def forward(self, map_BCHW: Tensor, tokens_BLD: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pooled values (B, L, C) and attention (B, L, H, W); earlier tokens are not looked at."""
        attention = softmax_over_map(self.filters(map_BCHW))
        return pool_by_attention(attention, self.value(map_BCHW)), attention

    def expected_macs(self, map_shape: tuple[int, ...], tokens_shape: tuple[int, ...] | None = None) -> int:
        """Values, filters and pooling."""
        batch, channels, height, width = map_shape
        group_width = channels // self.value.conv.groups
        return batch * height * width * channels * (group_width + 2 * self.filters.out_channels)
