"""Position encoding: where a token looked, written into the token (Wu et al. 2020, arXiv 2006.03677, first version)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtbench.layers.pointwise import TokenLinear

# B images; L tokens; D dimensions of a token; H height, W width of a map; P dimensions of a position.

POSITION_GRID = (7, 7)
"""Cells to which models average attention: half the side of the 14x14 map that the paper's VT-ResNets read."""


class AttentionPosition(nn.Module):
    """P = flatten(downsample(A)) W_{A->P}; T_out = norm([T, P] W): (B, L, D), (B, L, H, W) -> (B, L, D).

    The spatial attention A is averaged down to a ``grid`` of (rows, columns), whatever the size of the map, and given
    as its difference from uniform attention, in parts of that. W_{A->P}: rows x columns -> P; W, the 1-D convolution
    back to D channels: (D + P) x D. Both without bias: rows columns P + (D + P) D weights, and as many MACs a token.

    W starts as the identity on T and small on P: position starts as a small addition to the token, and cannot disturb
    what works without it. The result is normalised without weights, as the tokens that come in are: without that, and
    with A instead of its difference from uniform, the loss explodes in the first steps of the paper's recipe. ``plain``
    is the equation alone: A itself, W drawn as any other, nothing normalised.
    """

    role = "position"

    def __init__(self, token_dim: int, position_dim: int, grid: tuple[int, int], *, plain: bool = False) -> None:
        super().__init__()
        self.plain = plain
        self.grid = grid
        self.to_position = TokenLinear(grid[0] * grid[1], position_dim)
        self.merge = (
            TokenLinear(token_dim + position_dim, token_dim) if plain else PositionMerge(token_dim, position_dim)
        )

    def forward(self, tokens_BLD: Tensor, attention_BLHW: Tensor) -> Tensor:
        """Tokens that know where they looked."""
        height, width = attention_BLHW.shape[2:]
        grid_BLG = F.adaptive_avg_pool2d(attention_BLHW, self.grid).flatten(2)
        if not self.plain:
            grid_BLG = grid_BLG * (height * width) - 1
        merged_BLD: Tensor = self.merge(torch.cat((tokens_BLD, self.to_position(grid_BLG)), dim=2))
        return merged_BLD if self.plain else F.layer_norm(merged_BLD, merged_BLD.shape[2:])

    def expected_macs(self, tokens_shape: tuple[int, ...], attention_shape: tuple[int, ...]) -> int:
        """Positions, and the 1-D convolution of tokens and positions."""
        batch, num_tokens, token_dim = tokens_shape
        position_dim = self.to_position.out_features
        return (
            batch * num_tokens * (self.grid[0] * self.grid[1] * position_dim + (token_dim + position_dim) * token_dim)
        )


class PositionMerge(TokenLinear):
    """The 1-D convolution [T, P] -> D channels; starts as the identity on T and with deviation 0.1 / sqrt(P) on P."""

    def __init__(self, token_dim: int, position_dim: int) -> None:
        super().__init__(token_dim + position_dim, token_dim)

    def reset_parameters(self) -> None:
        """Set the part for T to the identity and draw the part for P from the global generator."""
        token_dim, position_dim = self.out_features, self.in_features - self.out_features
        with torch.no_grad():
            nn.init.eye_(self.weight[:, :token_dim])
            nn.init.normal_(self.weight[:, token_dim:], std=0.1 * position_dim**-0.5)
