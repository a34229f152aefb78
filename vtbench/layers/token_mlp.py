"""The dense layers that bring pooled pixels to the width of a token."""

from __future__ import annotations

import math

from torch import Tensor, nn

from vtbench.layers.pointwise import TokenLinear


class TokenMlp(nn.Module):
    """norm(relu(norm(T W_1)) W_2), W_1: C x D, W_2: D x D: pooled values (B, L, C) -> tokens (B, L, D).

    L (C D + D^2) MACs. Where C = D the first layer is left out: norm(T W_2). That two dense layers stand here follows
    from the costs that Wu et al. 2020 print. Layer normalisation: batch normalisation over tokens made the gradients
    of the convolutions below much larger and training slow.
    """

    role = "token MLP"

    def __init__(self, in_dim: int, token_dim: int) -> None:
        super().__init__()
        self.token_dim = token_dim
        widen: list[nn.Module] = []
        if in_dim != token_dim:
            widen = [TokenLinear(in_dim, token_dim, gain=math.sqrt(2)), nn.LayerNorm(token_dim), nn.ReLU()]
        self.layers = nn.Sequential(*widen, TokenLinear(token_dim, token_dim), nn.LayerNorm(token_dim))

    def forward(self, pooled_BLC: Tensor) -> Tensor:
        """Pooled values to tokens."""
        return self.layers(pooled_BLC)  # type: ignore[no-any-return]

    def expected_macs(self, pooled_shape: tuple[int, ...]) -> int:
        """Both layers, or the second alone."""
        batch, num_tokens, in_dim = pooled_shape
        widening = in_dim * self.token_dim if in_dim != self.token_dim else 0
        return batch * num_tokens * (widening + self.token_dim * self.token_dim)
