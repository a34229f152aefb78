"""The two kinds of self-attention of SAN: a vector of weights for each pair of cells, or for a whole window at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vtbench.attention.window import join_channels, pad_window, split_channels, window_sum

# B images, C channels, R channels of the comparison, V of the values, H height, W width of a map; G = V / share maps of
# weights, D = share channels that use one map (channel d * G + g uses map g); K = k * k offsets; P, Q of a padded map.


class WindowAttention(nn.Module):
    """What both kinds have: phi and psi (C -> R), which are compared, and beta (C -> V), the values."""

    role = "spatial attention"

    def __init__(self, in_channels: int, relation_channels: int, value_channels: int, kernel_size: int, share: int = 8):
        super().__init__()
        self.kernel_size, self.num_maps = kernel_size, value_channels // share
        self.phi = nn.Conv2d(in_channels, relation_channels, 1)
        self.psi = nn.Conv2d(in_channels, relation_channels, 1)
        self.beta = nn.Conv2d(in_channels, value_channels, 1)


class PairwiseAttention(WindowAttention):
    """``y(i) = sum_j alpha(i, j) * beta(x_j)`` over the window around i: (B, C, H, W) -> (B, V, H, W).

    ``alpha(i, j) = softmax_j gamma([phi(x_i) - psi(x_j), p_i - p_j])`` with p a 1x1 convolution 2 -> 2 of the cell's
    coordinates in [-1, 1], gamma = BN-ReLU-1x1-BN-ReLU-1x1 (R + 2 -> R -> G), and phi, psi, beta 1x1 convolutions with
    bias. Zhao et al. 2020 (arXiv 2004.13621), section 3.1 and figure 2, and the authors' code. Padding reflects. The
    values are not copied; the comparison is kept for all K offsets (R = C / 16), as its normalisation needs them all.

    Cost per image with N cells: N (C (2 R + V) + K ((R + 2) R + R G + V)) MACs and 4 N for p, once a forward pass.
    """

    def __init__(self, in_channels: int, relation_channels: int, value_channels: int, kernel_size: int, share: int = 8):
        super().__init__(in_channels, relation_channels, value_channels, kernel_size, share)
        self.position = nn.Conv2d(2, 2, 1)
        self.gamma = nn.Sequential(
            nn.BatchNorm2d(relation_channels + 2),
            nn.ReLU(),
            nn.Conv2d(relation_channels + 2, relation_channels, 1, bias=False),
            nn.BatchNorm2d(relation_channels),
            nn.ReLU(),
            nn.Conv2d(relation_channels, self.num_maps, 1),
        )

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Attend within every window."""
        size = (map_BCHW.shape[2], map_BCHW.shape[3])
        place = self.position(_coordinates(size, map_BCHW)).expand(map_BCHW.shape[0], -1, -1, -1)
        here = torch.cat([self.phi(map_BCHW), place], dim=1)
        there = torch.cat([self.psi(map_BCHW), place], dim=1)
        around = nn.functional.unfold(pad_window(there, self.kernel_size, "reflect"), self.kernel_size)
        difference_BRKN = here.flatten(2)[:, :, None] - around.reshape(*here.shape[:2], -1, size[0] * size[1])
        weights_BGKN = self.gamma(difference_BRKN).softmax(dim=2)
        return aggregate(weights_BGKN, self.beta(map_BCHW), self.kernel_size)

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels, height, width = map_shape
        relation, values = int(self.phi.out_channels), int(self.beta.out_channels)
        projecting = channels * (2 * relation + values)
        comparing = (relation + 2) * relation + relation * self.num_maps
        cells, window = height * width, self.kernel_size**2
        return batch * cells * (projecting + window * (comparing + values)) + 4 * cells


class PatchwiseAttention(WindowAttention):
    """``y(i) = sum_j alpha(i)_j * beta(x_j)`` over the window around i: (B, C, H, W) -> (B, V, H, W).

    ``alpha(i) = gamma([phi(x_i), psi(x_j) for all j])`` without softmax and without positions, gamma =
    BN-ReLU-1x1-BN-ReLU-1x1 (R (K + 1) -> G -> K G), and phi, psi, beta 1x1 convolutions with bias. Zhao et al. 2020
    (arXiv 2004.13621), section 3.2 ("concatenation") and the authors' code. Padding reflects. The values are not
    copied; psi (R = C / 16) is, as its normalisation has a weight for each offset.

    Cost per image with N cells: N (C (2 R + V) + R (K + 1) G + K G^2 + K V) MACs.
    """

    def __init__(self, in_channels: int, relation_channels: int, value_channels: int, kernel_size: int, share: int = 8):
        super().__init__(in_channels, relation_channels, value_channels, kernel_size, share)
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
        around = nn.functional.unfold(padded, self.kernel_size).reshape(map_BCHW.shape[0], -1, *map_BCHW.shape[2:])
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


def aggregate(weights_BGKN: Tensor, value_BVHW: Tensor, kernel_size: int) -> Tensor:
    """``y(i) = sum_o weights(o, i) * value(i + o)`` with channel v weighted by map v mod G; padding reflects."""
    batch, num_maps = weights_BGKN.shape[:2]
    weights_GKHWB = split_channels(weights_BGKN.reshape(batch, -1, *value_BVHW.shape[2:]), num_maps)
    padded_BVPQ = pad_window(value_BVHW, kernel_size, "reflect")
    value_DGPQB = split_channels(padded_BVPQ, padded_BVPQ.shape[1] // num_maps)
    out_GDHWB = window_sum(weights_GKHWB, value_DGPQB.transpose(0, 1), kernel_size)
    return join_channels(out_GDHWB.transpose(0, 1))


def _coordinates(size: tuple[int, int], like: Tensor) -> Tensor:
    """Column and row of every cell, each from -1 to 1: (1, 2, H, W)."""
    rows, columns = (torch.linspace(-1, 1, side, device=like.device, dtype=like.dtype) for side in size)
    return torch.stack([columns.expand(size), rows[:, None].expand(size)])[None]
