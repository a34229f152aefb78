"""The mean over the tokens, which the classifier of a visual transformer reads."""

from __future__ import annotations

from torch import Tensor, nn


class TokenMean(nn.Module):
    """(B, L, D) -> (B, D); no parameters and no MACs (additions only)."""

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Tokens to features."""
        return tokens_BLD.mean(dim=1)
