"""Linear layers of cells, tokens and features, and how the channels of tokens are split among attention heads."""

from __future__ import annotations

import math

from torch import Tensor, nn


class Pointwise(nn.Conv2d):
    """A 1x1 convolution without bias, (B, C_in, H, W) -> (B, C_out, H, W): C_in C_out / groups MACs a cell.

    Weights start normal with standard deviation ``gain`` / sqrt(fan-in), so that unit variance in gives gain^2 out.
    """

    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1, gain: float = 1.0) -> None:
        self.gain = gain
        super().__init__(in_channels, out_channels, 1, groups=groups, bias=False)

    def reset_parameters(self) -> None:
        """Draw the weight anew from the global generator."""
        nn.init.normal_(self.weight, std=self.gain / math.sqrt(self.in_channels // self.groups))


class TokenLinear(nn.Linear):
    """A linear map of every token without bias, (B, L, D_in) -> (B, L, D_out): D_in D_out MACs a token.

    Weights start as those of `Pointwise`.
    """

    def __init__(self, in_features: int, out_features: int, *, gain: float = 1.0) -> None:
        self.gain = gain
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        """Draw the weight anew from the global generator."""
        nn.init.normal_(self.weight, std=self.gain / math.sqrt(self.in_features))


class Classifier(nn.Linear):
    """``nn.Linear`` whose MACs are booked as the classifier's. Features (B, F) -> scores (B, num_classes)."""

    role = "classifier"


# B images; L tokens; D dimensions of a token; N heads; E = D / N dimensions of a head.

NUM_HEADS = 4
"""Heads of every attention of a visual transformer. The paper names no number; heads cost no MACs."""


def split_heads(tokens_BLD: Tensor) -> Tensor:
    """(B, L, D) -> (B, N, L, E)."""
    return tokens_BLD.reshape(*tokens_BLD.shape[:2], NUM_HEADS, -1).transpose(1, 2)


def join_heads(tokens_BNLE: Tensor) -> Tensor:
    """(B, N, L, E) -> (B, L, D)."""
    return tokens_BNLE.transpose(1, 2).flatten(2)
