"""Normalisation at the end of a residual branch, which lets a network begin near the identity."""

from __future__ import annotations

from torch import nn

BRANCH_SCALE = 0.1
"""Where the weights of these normalisations start.

Residual networks start theirs at 0 (Goyal et al. 2017, arXiv 1706.02677, section 5.1). From a small number, gradients
reach every weight of the branch from the first step on.
"""


class BranchLayerNorm(nn.LayerNorm):
    """Layer normalisation of tokens (B, L, D) whose weight starts at `BRANCH_SCALE`."""

    def reset_parameters(self) -> None:
        """Set the weight to `BRANCH_SCALE` and the bias to 0."""
        super().reset_parameters()
        nn.init.constant_(self.weight, BRANCH_SCALE)


class BranchBatchNorm(nn.BatchNorm2d):
    """Batch normalisation of a map (B, C, H, W) whose weight starts at `BRANCH_SCALE`."""

    def reset_parameters(self) -> None:
        """Reset the statistics, set the weight to `BRANCH_SCALE` and the bias to 0."""
        super().reset_parameters()
        nn.init.constant_(self.weight, BRANCH_SCALE)
