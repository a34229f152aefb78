"""Stochastic depth (Huang et al. 2016, arXiv 1603.09382): drop a residual branch of single images in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
