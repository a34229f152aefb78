"""What ends a residual branch: normalisation or a scale, to begin near the identity, and stochastic depth.

Stochastic depth (Huang et al. 2016, arXiv 1603.09382) drops the branch of single images in training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BRANCH_SCALE = 0.1
"""Where the weights of these parts start.

Residual networks start theirs at 0 (Goyal et al. 2017, arXiv 1706.02677, section 5.1). From a small number, gradients
reach every weight of the branch from the first step on.
"""


class BranchLayerNorm(nn.LayerNorm):
    """Layer normalisation of tokens (B, L, D) whose weight starts at ``start``."""

    def __init__(self, token_dim: int, start: float = BRANCH_SCALE) -> None:
        self.start = start
        super().__init__(token_dim)

    def reset_parameters(self) -> None:
        """Set the weight to ``start`` and the bias to 0."""
        super().reset_parameters()
        nn.init.constant_(self.weight, self.start)


class BranchBatchNorm(nn.BatchNorm2d):
    """Batch normalisation of a map (B, C, H, W) whose weight starts at ``start``."""

    def __init__(self, channels: int, start: float = BRANCH_SCALE) -> None:
        self.start = start
        super().__init__(channels)

    def reset_parameters(self) -> None:
        """Reset the statistics, set the weight to ``start`` and the bias to 0."""
        super().reset_parameters()
        nn.init.constant_(self.weight, self.start)


class BranchScale(nn.Module):
    """w X + b of each channel of a map (B, C, H, W), w starting at ``start``: for branches of unit variance.

    No MACs by convention, 2 C parameters. It stands where a map is nearly the same in all its cells, so that the
    statistics of a batch would be those of its few images.
    """

    def __init__(self, channels: int, start: float = BRANCH_SCALE) -> None:
        super().__init__()
        self.start = start
        self.weight = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to ``start`` and the bias to 0."""
        nn.init.constant_(self.weight, self.start)
        nn.init.zeros_(self.bias)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """The map, scaled."""
        return torch.addcmul(self.bias, map_BCHW, self.weight)


class StochasticDepth(nn.Module):
    """Each image's branch is zeroed with probability ``p``, or else divided by ``1 - p``; in evaluation it passes.

    (B, ...) -> (B, ...). What torchvision's module of this name does in mode "row". It is written here because
    importing torchvision takes as long as importing torch, and every verb that builds a model would pay for it.
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, branch: Tensor) -> Tensor:
        """The branch, thinned in training."""
        if not self.training or self.p == 0.0:
            return branch
        kept = 1.0 - self.p
        mask = torch.empty((branch.shape[0],) + (1,) * (branch.ndim - 1), dtype=branch.dtype, device=branch.device)
        return branch * mask.bernoulli_(kept).div_(kept)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"p={self.p}"
