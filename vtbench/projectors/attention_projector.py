"""The projector of a visual transformer (Wu et al. 2020, equation 5)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from vtbench.layers.pointwise import Pointwise, TokenLinear, join_heads, split_heads
from vtbench.layers.residual_branch import BranchBatchNorm, StochasticDepth

# B images, C channels, H height, W width of a map; L tokens; D dimensions of a token; N heads.


class AttentionProjector(nn.Module):
    """X_out = relu(lateral(X) + norm(softmax_L((X W_Q)(T W_K)^T / sqrt(E)) (T W_V))): the map asks the tokens.

    Map (B, C, H, W) and tokens (B, L, D) -> map (B, C', H, W). W_Q is a grouped 1x1 convolution C -> C'; W_K and W_V
    are D x C', and W_V is left out where D = C'. ``lateral``, the residual path, is a normalised dense 1x1 convolution
    where C differs from C', else the identity.
    H W (C C' / groups + 2 L C') + 2 L D C' MACs and the lateral's H W C C'.

    Free choices: four heads of E = C' / 4 dimensions, logits scaled by sqrt(E); the projection ends in a batch
    normalisation whose weight starts at 0.1, so the map passes almost unchanged at first; a rectifier after the
    addition, as in a residual block.
    """

    role = "projector"

    def __init__(self, in_channels: int, out_channels: int, token_dim: int, *, group_width: int) -> None:
        super().__init__()
        self.lateral: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.lateral = nn.Sequential(Pointwise(in_channels, out_channels), nn.BatchNorm2d(out_channels))
        self.query = Pointwise(in_channels, out_channels, group_width=group_width)
        self.key = TokenLinear(token_dim, out_channels)
        self.value = TokenLinear(token_dim, out_channels) if token_dim != out_channels else nn.Identity()
        self.norm = BranchBatchNorm(out_channels)
        self.drop_branch = StochasticDepth()

    def forward(self, map_BCHW: Tensor, tokens_BLD: Tensor) -> Tensor:
        """The map with the tokens' content added."""
        queries = split_heads(self.query(map_BCHW).flatten(2).transpose(1, 2))
        keys, values = split_heads(self.key(tokens_BLD)), split_heads(self.value(tokens_BLD))
        weights_BNML = (queries @ keys.transpose(2, 3) / math.sqrt(keys.shape[3])).softmax(dim=3)
        projected = join_heads(weights_BNML @ values).transpose(1, 2)
        kept = self.lateral(map_BCHW)
        return F.relu(kept + self.drop_branch(self.norm(projected.reshape(kept.shape))))

    def expected_macs(self, map_shape: tuple[int, ...], tokens_shape: tuple[int, ...]) -> int:
        """Lateral, queries, keys, values, logits and mixing."""
        batch, in_channels, height, width = map_shape
        num_tokens, token_dim = tokens_shape[1:]
        out_channels, cells = self.key.out_features, height * width
        lateral = cells * in_channels * out_channels if in_channels != out_channels else 0
        queries = cells * in_channels * out_channels // self.query.groups
        from_tokens = (2 if token_dim != out_channels else 1) * num_tokens * token_dim * out_channels
        return batch * (lateral + queries + from_tokens + 2 * cells * num_tokens * out_channels)
