"""Pooling-based tokenizer: the cells of a small grid are the tokens (an ablation of Wu et al. 2020, table 3)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from vtbench.tokenizers.tokenizer import TOKENIZERS, Tokenizer, TokenizerSite


@TOKENIZERS.register("pooling")
class PoolingTokenizer(Tokenizer):
    """T = the map resized bilinearly to a grid of L cells, as nearly square as L allows. No parameters, no MACs.

    The paper's costs say that all modules pool, and that they do so without a convolution for the values.
    """

    name = "pooling"
    no_attention = "Tokens of tokenizer=pooling are the cells of a grid, and have no attention."

    def __init__(self, site: TokenizerSite) -> None:
        super().__init__()
        self.grid = make_grid(site.num_tokens)
        self.out_channels = site.in_channels

    def forward(self, map_BCHW: Tensor, tokens_BLD: Tensor | None = None) -> tuple[Tensor, None]:
        """Cells (B, L, C); there is no attention, and earlier tokens are not looked at."""
        cells_BCHW = F.interpolate(map_BCHW, size=self.grid, mode="bilinear", align_corners=False)
        return cells_BCHW.flatten(2).transpose(1, 2), None

    def expected_macs(self, map_shape: tuple[int, ...], tokens_shape: tuple[int, ...] | None = None) -> int:
        """None: by convention, interpolation with fixed weights is not counted."""
        return 0


def make_grid(num_cells: int) -> tuple[int, int]:
    """Rows and columns of the most nearly square grid of exactly ``num_cells`` cells, rows <= columns."""
    rows = next(rows for rows in range(math.isqrt(num_cells), 0, -1) if num_cells % rows == 0)
    return rows, num_cells // rows
