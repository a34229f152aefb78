"""Filter-based tokenizer: learned, static filters choose the pixels of each token."""

from __future__ import annotations

from torch import Tensor

from vtbench.layers.pointwise import Pointwise
from vtbench.tokenizers.tokenizer import TOKENIZERS, Tokenizer, TokenizerSite, softmax_over_map
from vtbench.tokenizers.value import PooledValues


@TOKENIZERS.register("static")
class FilterTokenizer(Tokenizer):
    """T = softmax_HW(X W_A)^T V(X) (Wu et al. 2020, arXiv 2006.03677, equation 1), W_A: C x L.

    H W C L MACs and C L weights beside those of V, see `PooledValues`. W_A does not depend on the image: that is what
    "static" means. By default it starts so small that the maps are nearly uniform; peaked random maps made training
    slow.
    """

    name = "filter"

    def __init__(self, site: TokenizerSite) -> None:
        super().__init__()
        self.value = PooledValues(site.in_channels, site.value)
        self.out_channels = site.value.out_channels
        self.filters = Pointwise(site.in_channels, site.num_tokens, gain=site.filter_gain)

    def forward(self, map_BCHW: Tensor, tokens_BLD: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pooled values (B, L, C') and attention (B, L, H, W); earlier tokens are not looked at."""
        attention = softmax_over_map(self.filters(map_BCHW))
        return self.value(map_BCHW, attention), attention

    def expected_macs(self, map_shape: tuple[int, ...], tokens_shape: tuple[int, ...] | None = None) -> int:
        """Values, filters and pooling."""
        batch, channels, height, width = map_shape
        num_tokens = self.filters.out_channels
        values = self.value.expected_macs(map_shape, (batch, num_tokens, height, width))
        return batch * height * width * channels * num_tokens + values
