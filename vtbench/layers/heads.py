"""Splitting the channels of tokens among attention heads."""

from __future__ import annotations

from torch import Tensor

# B images; L tokens; D dimensions of a token; N heads; E = D / N dimensions of a head.

NUM_HEADS = 4
"""Heads of every attention of a visual transformer. The paper names no number; heads cost no MACs."""


def split_heads(tokens_BLD: Tensor) -> Tensor:
    """(B, L, D) -> (B, N, L, E)."""
    return tokens_BLD.reshape(*tokens_BLD.shape[:2], NUM_HEADS, -1).transpose(1, 2)


def join_heads(tokens_BNLE: Tensor) -> Tensor:
    """(B, N, L, E) -> (B, L, D)."""
    return tokens_BNLE.transpose(1, 2).flatten(2)
