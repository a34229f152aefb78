"""Patchwise self-attention of SAN: the weights of a whole window are made at once from all that is in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vtbench.attention.san_pairwise import aggregate
from vtbench.attention.window import pad_window

# B images, C channels, R channels of the comparison, V of the values, H height, W width of a map; G = V / share maps of
# weights; K = k * k offsets; N = H * W.


class PatchwiseAttention(nn.Module):
    """``y(i) = sum_j alpha(i)_j * beta(x_j)`` over the window around i: (B, C, H, W) -> (B, V, H, W).

    ``alpha(i) = gamma([phi(x_i), psi(x_j) for all j])`` without softmax and without positions, gamma =
    BN-ReLU-1x1-BN-ReLU-1x1 (R (K + 1) -> G -> K G), and phi, psi, beta 1x1 convolutions with bias. Zhao et al. 2020
    (arXiv 2004.13621), section 3.2 ("concatenation") and the authors' code. Padding reflects. The values are not
    copied; psi (R = C / 16) is, as its normalisation has a weight for each offset.

    Cost per image with N cells: N (C (2 R + V) + R (K + 1) G + K G^2 + K V) MACs.
    """

    role = "spatial attention"

    def __init__(self, in_channels: int, relation_channels: int, value_channels: int, kernel_size: int, share: int = 8):
        super().__init__()
        self.kernel_size, self.num_maps = kernel_size, value_channels // share
        self.phi = nn.Conv2d(in_channels, relation_channels, 1)
        self.psi = nn.Conv2d(in_channels, relation_channels, 1)
        self.beta = nn.Conv2d(in_channels, value_channels, 1)
        window = kernel_size**2
        self.gamma = nn.Sequential(
            nn.BatchNorm2d(relation_channels * (window + 1)),
            nn.ReLU(),
            nn.Conv2d(relation_channels * (window + 1), self.num_maps, 1, bias=False),
            nn.BatchNorm2d(self.num_maps),
            nn.ReLU(),
            nn.Conv2d(self.num_maps, window * self.num_maps, 1),
        )

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Attend within every window."""
        padded = pad_window(self.psi(map_BCHW), self.kernel_size, "reflect")
        around = nn.functional.unfold(padded, self.kernel_size).reshape(len(map_BCHW), -1, *map_BCHW.shape[2:])
        patch_BXHW = torch.cat([self.phi(map_BCHW), around], dim=1)
        weights_BGKN = self.gamma(patch_BXHW).flatten(2).unflatten(1, (self.num_maps, -1))
        return aggregate(weights_BGKN, self.beta(map_BCHW), self.kernel_size)

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels, height, width = map_shape
        relation, values, window = int(self.phi.out_channels), int(self.beta.out_channels), self.kernel_size**2
        projecting = channels * (2 * relation + values)
        weighing = relation * (window + 1) * self.num_maps + window * self.num_maps**2
        return batch * height * width * (projecting + weighing + window * values)
