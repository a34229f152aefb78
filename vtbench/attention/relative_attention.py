"""Multi-head attention over all cells of a map, with logits that depend on relative rows and columns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vtbench.errors import UserError

# B images, G heads, D channels of a head's queries and keys, E of its values, H height, W width of the map; N = H * W.


class RelativeAttention(nn.Module):
    """``y(i) = sum_j softmax_j( D^-1/2 q(i) . (k(j) + rows(row_j - row_i) + columns(column_j - column_i)) ) v(j)``.

    Queries and keys (B, G, D, H, W), values (B, G, E, H, W) -> (B, G, E, H, W). ``rows`` is a table of 2 H - 1 vectors
    and ``columns`` one of 2 W - 1; the heads share them. Bello et al. 2019 (arXiv 1904.09925), section 3.1, equations
    2 to 4; Srinivas et al. 2021 use the same. The map's size is fixed by the tables: ``map_size`` at construction.

    Cost per image: G N^2 (D + E) MACs for content and G N (H + W) D for positions; (2 H + 2 W - 2) D parameters.
    """

    def __init__(self, map_size: tuple[int, int], head_dim: int) -> None:
        super().__init__()
        self.map_size, self.head_dim = map_size, head_dim
        self.rows = nn.Parameter(torch.empty(2 * map_size[0] - 1, head_dim))
        self.columns = nn.Parameter(torch.empty(2 * map_size[1] - 1, head_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both tables with variance 1 / D."""
        for table in (self.rows, self.columns):
            nn.init.normal_(table, std=self.head_dim**-0.5)

    def forward(self, query_BGDHW: Tensor, key_BGDHW: Tensor, value_BGEHW: Tensor) -> Tensor:
        """Attend. Raises ``UserError`` for a map of another size than the tables'."""
        size = (query_BGDHW.shape[3], query_BGDHW.shape[4])
        if size != self.map_size:
            raise UserError(
                f"An attention block with tables of relative positions for a map of {_spell(self.map_size)} cells was "
                f"given one of {_spell(size)}. Build the model with image_size set to the size of your images."
            )
        query_BGHWD = (query_BGDHW * self.head_dim**-0.5).permute(0, 1, 3, 4, 2)
        logits_BGNN = query_BGHWD.flatten(2, 3) @ key_BGDHW.flatten(3)
        by_row = torch.einsum("bghwd,hdu->bghwu", query_BGHWD, _slide(self.rows, size[0]))
        by_column = torch.einsum("bghwd,wdv->bghwv", query_BGHWD, _slide(self.columns, size[1]))
        logits_BGHWHW = logits_BGNN.unflatten(3, size).unflatten(2, size) + by_row[..., None] + by_column[..., None, :]
        weights_BGNN = logits_BGHWHW.flatten(4).flatten(2, 3).softmax(dim=-1)
        attended_BGEN: Tensor = value_BGEHW.flatten(3) @ weights_BGNN.transpose(2, 3)
        return attended_BGEN.reshape(value_BGEHW.shape)

    def expected_macs(
        self, query_shape: tuple[int, ...], key_shape: tuple[int, ...], value_shape: tuple[int, ...]
    ) -> int:
        """MACs for a batch of these shapes (B, G, D, H, W), the last with E for D."""
        batch, heads, dim, height, width = query_shape
        cells = height * width
        return batch * heads * cells * (cells * (dim + value_shape[2]) + (height + width) * dim)


def _slide(table_LD: Tensor, side: int) -> Tensor:
    """A view of a table of 2 S - 1 vectors: entry (i, :, j) of (S, D, S) is the vector of offset j - i."""
    return table_LD.unfold(0, side, 1).flip(0)


def _spell(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
