"""Stand-alone self-attention: multi-head attention over a window, with relative positions, and its stem."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vtbench.attention.attention_block import register_attention
from vtbench.attention.window import (
    join_channels,
    pad_window,
    softmax_inside,
    split_channels,
    start_logits,
    window_dot,
    window_sum,
)
from vtbench.catalog import Look
from vtbench.layers.convolution import Conv2d
from vtbench.variants import ModelOptions

# B images, C channels, H height, W width of a map; G heads, D channels of a head; K = k * k offsets of a window;
# P, Q height and width of a padded map; M value mixtures of the stem.


class StandAloneAttention(nn.Module):
    """``y(i) = sum_p softmax_p( q(i) . (k(p) + r(p - i)) ) v(p)`` over the window around i, in each of G heads.

    (B, C, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride)). q, k, v are 1x1 convolutions C -> C_out without
    bias; r joins an embedding of the row offset and one of the column offset, each half as wide as a head and shared by
    the heads. Ramachandran et al. 2019 (arXiv 1906.05909), section 2.2, equation 3. A stride is a 2x2 mean after
    attention at stride 1 (section 3.1). There is no projection of the output and no scaling of the logits, which
    start small (see `start_logits`). Cells outside the image take no part, as N_k(i) has none; the paper does not say.

    Cost per image with N cells, K = k * k: 3 C C_out N + 2 K C_out N MACs, as ``k + r`` is formed before the product;
    3 C C_out + k C_out / G parameters.
    """

    role = "spatial attention"

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int = 7, stride: int = 1, num_heads: int = 8
    ) -> None:
        super().__init__()
        head_dim, rest = divmod(out_channels, num_heads)
        if rest or head_dim % 2:
            raise ValueError(f"{out_channels} channels cannot be split into {num_heads} heads of an even width")
        self.kernel_size, self.num_heads, self.head_dim = kernel_size, num_heads, head_dim
        self.query = Conv2d(in_channels, out_channels, 1, bias=False)
        self.key = Conv2d(in_channels, out_channels, 1, bias=False)
        self.value = Conv2d(in_channels, out_channels, 1, bias=False)
        self.row_embedding = nn.Parameter(torch.empty(kernel_size, head_dim // 2))
        self.column_embedding = nn.Parameter(torch.empty(kernel_size, head_dim // 2))
        self.pool = nn.AvgPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw query, key and embeddings so that the logits start small."""
        start_logits(self.query, self.key, self.head_dim)
        for embedding in (self.row_embedding, self.column_embedding):
            nn.init.normal_(embedding, std=self.head_dim**-0.25)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Attend within every window."""
        query_GDHWB = split_channels(self.query(map_BCHW), self.num_heads)
        key_GDPQB = split_channels(pad_window(self.key(map_BCHW), self.kernel_size), self.num_heads)
        value_GDPQB = split_channels(pad_window(self.value(map_BCHW), self.kernel_size), self.num_heads)
        rows_KD = self.row_embedding.repeat_interleave(self.kernel_size, dim=0)
        columns_KD = self.column_embedding.repeat(self.kernel_size, 1)
        position_KD = torch.cat([rows_KD, columns_KD], dim=1)
        logits_GKHWB = window_dot(query_GDHWB, key_GDPQB, self.kernel_size, shift_KD=position_KD)
        map_size = (map_BCHW.shape[2], map_BCHW.shape[3])
        weights_GKHWB = softmax_inside(logits_GKHWB, map_size, self.kernel_size)
        return self.pool(join_channels(window_sum(weights_GKHWB, value_GDPQB, self.kernel_size)))  # type: ignore[no-any-return]

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels, height, width = map_shape
        out_channels = self.num_heads * self.head_dim
        return batch * height * width * out_channels * (3 * channels + 2 * self.kernel_size**2)


class AttentionStem(nn.Module):
    """`StandAloneAttention` for raw pixels, whose values also depend on where in the window they stand.

    (B, C, H, W) -> (B, C_out, H, W). ``v(p) = sum_m s_m(p - i) W_m x(p)`` with
    ``s(o) = softmax over m of (row(o) + column(o)) . nu_m``, M = 4 matrices W_m and a 4x4 window; heads share s. The
    logits are ``q . k``. Ramachandran et al. 2019, section 3.2 and appendix; a 4x4 max-pool follows in the network.
    The even window reaches one cell further to the right and down; the paper does not say.

    The sum over the window is taken on x itself, before the matrices: ``y = sum_m W_m sum_p softmax_p s_m x(p)``. Cost
    per image with N cells, G heads and K offsets: 2 C C_out N + K C_out N + M G K C N + M C C_out N MACs, and
    K M E for s with embeddings of width E = C_out / G; (2 + M) C C_out + (2 k + M) E parameters.
    """

    role = "spatial attention"

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int = 4, num_heads: int = 8, num_mixtures: int = 4
    ) -> None:
        super().__init__()
        self.kernel_size, self.num_heads, self.head_dim = kernel_size, num_heads, out_channels // num_heads
        self.num_mixtures = num_mixtures
        self.query = Conv2d(in_channels, out_channels, 1, bias=False)
        self.key = Conv2d(in_channels, out_channels, 1, bias=False)
        self.value = Conv2d(num_heads * num_mixtures * in_channels, out_channels, 1, groups=num_heads, bias=False)
        self.row_embedding = nn.Parameter(torch.empty(kernel_size, self.head_dim))
        self.column_embedding = nn.Parameter(torch.empty(kernel_size, self.head_dim))
        self.mixture_embedding = nn.Parameter(torch.empty(num_mixtures, self.head_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw query and key so that the logits start small, the embeddings so that those of the mixture do not."""
        start_logits(self.query, self.key, self.head_dim)
        for embedding in (self.row_embedding, self.column_embedding, self.mixture_embedding):
            nn.init.normal_(embedding, std=(2 * self.head_dim) ** -0.25)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Attend within every window; in training the M weighted copies of the weights are formed anew, not kept."""
        query_GDHWB = split_channels(self.query(map_BCHW), self.num_heads)
        key_GDPQB = split_channels(pad_window(self.key(map_BCHW), self.kernel_size), self.num_heads)
        logits_GKHWB = window_dot(query_GDHWB, key_GDPQB, self.kernel_size)
        map_size = (map_BCHW.shape[2], map_BCHW.shape[3])
        weights_GKHWB = softmax_inside(logits_GKHWB, map_size, self.kernel_size)
        pixels_1CPQB = split_channels(pad_window(map_BCHW, self.kernel_size), 1)
        pixels_GCPQB = pixels_1CPQB.expand(self.num_heads, -1, -1, -1, -1)
        sums = [
            checkpoint(
                self._sum_weighted, weights_GKHWB, share_K, pixels_GCPQB, use_reentrant=False, preserve_rng_state=False
            )
            for share_K in self._mix_values().unbind(dim=1)
        ]
        return self.value(join_channels(torch.cat(sums, dim=1)))  # type: ignore[no-any-return]

    def _sum_weighted(self, weights_GKHWB: Tensor, share_K: Tensor, pixels_GCPQB: Tensor) -> Tensor:
        return window_sum(weights_GKHWB * share_K[:, None, None, None], pixels_GCPQB, self.kernel_size)

    def _mix_values(self) -> Tensor:
        """The shares of the M value matrices at each offset: (K, M), rows sum to 1."""
        position_KE = (self.row_embedding[:, None] + self.column_embedding[None]).flatten(0, 1)
        return (position_KE @ self.mixture_embedding.T).softmax(dim=1)

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels, height, width = map_shape
        out_channels, window = self.num_heads * self.head_dim, self.kernel_size**2
        comparing = 2 * channels * out_channels + window * out_channels
        averaging = self.num_mixtures * channels * (self.num_heads * window + out_channels)
        return batch * height * width * (comparing + averaging) + window * self.num_mixtures * self.head_dim


class StandAloneOptions(ModelOptions):
    """What a user may change about the layer."""

    kernel_size: int = Field(7, ge=1, description="side of the window in cells")
    num_heads: int = Field(8, ge=1, description="attention heads; each has the channels of the layer over this number")


@register_attention(
    "sasa",
    place="spatial",
    options=StandAloneOptions(num_heads=2),
    source="Ramachandran et al. 2019, Stand-Alone Self-Attention in Vision Models, section 3",
    look=Look("stand-alone attention", "#5a8f29", "P"),
)
def build_stand_alone(map_size: tuple[int, int], **settings: int) -> StandAloneAttention:
    """The layer instead of a 3x3 convolution; it runs on maps of any size."""
    return StandAloneAttention(**settings)
