"""Clustering-based tokenizer: centroids of the pixels take the place of learned filters (Wu et al. 2020, table 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtbench.tokenizers.pooling import make_grid
from vtbench.tokenizers.recurrent import RecurrentTokenizer
from vtbench.tokenizers.tokenizer import TOKENIZERS, Tokenizer, TokenizerSite, softmax_over_map
from vtbench.tokenizers.value import PooledValues

NUM_STEPS = 1
"""Lloyd steps. With one, the first module costs what table 3 prints for ResNet-18 (1580 M in all)."""


class ClusteringTokenizer(Tokenizer):
    """T = softmax_HW(s X C^T)^T V(X): C are k-means centroids of the L2-normalised pixels X, s a learned scale.

    Spherical k-means: L centroids start as the cells of the map averaged down to a grid; a Lloyd step gives every pixel
    to its most similar centroid, moves each centroid to the mean of its pixels and normalises it (an empty cluster
    keeps its centroid). It is deterministic, and no gradient flows through it: the maps learn through the pixels and s,
    which starts at 1, near average pooling.
    As many MACs as the filters that it replaces, and H W C L for each Lloyd step; means are additions.
    """

    name = "clustering"

    def __init__(self, site: TokenizerSite) -> None:
        super().__init__()
        self.grid = make_grid(site.num_tokens)
        self.value = PooledValues(site.in_channels, site.value)
        self.out_channels = site.value.out_channels
        self.scale = nn.Parameter(torch.ones(1))

    def reset_parameters(self) -> None:
        """Set the scale of the logits to 1."""
        nn.init.ones_(self.scale)

    def forward(self, map_BCHW: Tensor, tokens_BLD: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pooled values (B, L, C') and attention (B, L, H, W); earlier tokens are not looked at."""
        pixels_BCN = F.normalize(map_BCHW.flatten(2), dim=1)
        with torch.no_grad():
            centroids_BLC = self._find_centroids(map_BCHW, pixels_BCN)
        logits_BLN = self.scale * (centroids_BLC @ pixels_BCN)
        attention_shape = (*logits_BLN.shape[:2], *map_BCHW.shape[2:])
        attention = softmax_over_map(logits_BLN.reshape(attention_shape))
        return self.value(map_BCHW, attention), attention

    def _find_centroids(self, map_BCHW: Tensor, pixels_BCN: Tensor) -> Tensor:
        cells_BCL = F.adaptive_avg_pool2d(map_BCHW, self.grid).flatten(2)
        centroids_BLC = F.normalize(cells_BCL.transpose(1, 2), dim=2)
        for _ in range(NUM_STEPS):
            nearest_BN = (centroids_BLC @ pixels_BCN).argmax(dim=1)
            nearest_BNC = nearest_BN.unsqueeze(2).expand(-1, -1, pixels_BCN.shape[1])
            sums_BLC = torch.zeros_like(centroids_BLC).scatter_add(1, nearest_BNC, pixels_BCN.transpose(1, 2))
            is_empty = sums_BLC.abs().sum(dim=2, keepdim=True) == 0
            centroids_BLC = F.normalize(torch.where(is_empty, centroids_BLC, sums_BLC), dim=2)
        return centroids_BLC

    def expected_macs(self, map_shape: tuple[int, ...], tokens_shape: tuple[int, ...] | None = None) -> int:
        """Values, Lloyd steps, logits and pooling."""
        batch, channels, height, width = map_shape
        num_tokens = self.grid[0] * self.grid[1]
        values = self.value.expected_macs(map_shape, (batch, num_tokens, height, width))
        return batch * height * width * channels * (NUM_STEPS + 1) * num_tokens + values


@TOKENIZERS.register("clustering")
def make_clustering(site: TokenizerSite) -> Tokenizer:
    """Clusters in the first module, as the title of table 3 says, and recurrent tokenizers after it."""
    return ClusteringTokenizer(site) if site.first else RecurrentTokenizer(site)
