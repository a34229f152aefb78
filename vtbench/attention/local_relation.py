"""The local relation layer: cells of a window are averaged with weights from scalar comparisons and a learned prior."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from vtbench.attention.attention_block import register_attention
from vtbench.attention.window import (
    join_channels,
    pad_window,
    softmax_inside,
    split_channels,
    start_logits,
    window_dot,
    window_sum,
)
from vtbench.catalog import Look
from vtbench.layers.convolution import Conv2d
from vtbench.variants import ModelOptions

# B images, C channels, H height, W width of a map; G aggregation maps, D channels that share one; K = k * k offsets;
# P, Q height and width of a padded map.


class GeometryPrior(nn.Module):
    """``g(p - p')``: a small MLP 2 -> hidden -> G on each offset of the window, both coordinates scaled to [-1, 1].

    Hu et al. 2019 (arXiv 1904.11491), "geometric prior". The hidden width, max(8, G / 2), and the scale of the offsets
    are this project's choice. It does not depend on the image: 2 hidden + hidden G MACs for each of the K offsets, once
    a forward pass.
    """

    role = "position"

    def __init__(self, kernel_size: int, num_maps: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        num_hidden = max(8, num_maps // 2)
        self.hidden = nn.Linear(2, num_hidden)
        self.relu = nn.ReLU()
        self.output = nn.Linear(num_hidden, num_maps)

    def forward(self) -> Tensor:
        """One number for each map and offset: (G, K)."""
        weight = self.hidden.weight
        line = torch.linspace(-1, 1, self.kernel_size, device=weight.device, dtype=weight.dtype)
        offsets_K2 = torch.cartesian_prod(line, line)
        return self.output(self.relu(self.hidden(offsets_K2))).T  # type: ignore[no-any-return]

    def expected_macs(self) -> int:
        """MACs of one forward pass, whatever the batch."""
        return self.kernel_size**2 * self.output.in_features * (2 + self.output.out_features)


class LocalRelation(nn.Module):
    """``y = T sum_p w(p', p) x(p)``: (B, C, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride)).

    ``w(p', p) = softmax over the window around p' of query(p') * key(p) + g(p - p')``, in G = floor(C / 8) maps; query
    and key of a map are scalars from 1x1 convolutions, x itself is averaged, T is a 1x1 convolution C -> C_out (the
    "channel transformation"). Hu et al. 2019, Local Relation Networks, "local relation layer" and figure 2.

    Scalars are compared by product (the paper also tries differences). Cells outside the image take no part, and
    neighbouring channels share a map, both as in the CUDA kernels that the authors published later. Where 8 does not
    divide C (the published width 100), the first maps serve 9 channels each.

    Cost per image with N input and M output cells, K = k * k: C G (N + M) + G K M + C K M + C C_out M MACs and those
    of the prior. Parameters: 2 C G + C C_out and those of the prior.
    """

    role = "spatial attention"

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int = 7, stride: int = 1, channels_per_map: int = 8
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.num_maps = max(1, in_channels // channels_per_map)
        self.query = Conv2d(in_channels, self.num_maps, 1, stride=stride, bias=False)
        self.key = Conv2d(in_channels, self.num_maps, 1, bias=False)
        self.geometry = GeometryPrior(kernel_size, self.num_maps)
        self.transformation = Conv2d(in_channels, out_channels, 1, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw query and key so that what is compared starts small."""
        start_logits(self.query, self.key, 1)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Average every window, then mix channels."""
        query_G1HWB = split_channels(self.query(map_BCHW), self.num_maps)
        key_G1PQB = split_channels(pad_window(self.key(map_BCHW), self.kernel_size), self.num_maps)
        logits_GKHWB = window_dot(query_G1HWB, key_G1PQB, self.kernel_size, self.stride)
        logits_GKHWB = logits_GKHWB + self.geometry()[:, :, None, None, None]
        map_size = (map_BCHW.shape[2], map_BCHW.shape[3])
        weights_GKHWB = softmax_inside(logits_GKHWB, map_size, self.kernel_size, self.stride)
        return self.transformation(self._average(map_BCHW, weights_GKHWB))  # type: ignore[no-any-return]

    def _average(self, map_BCHW: Tensor, weights_GKHWB: Tensor) -> Tensor:
        """Average the windows of each channel with the weights of its map, the larger groups of channels first."""
        group_size, num_larger = divmod(map_BCHW.shape[1], self.num_maps)
        boundary = num_larger * (group_size + 1)
        padded_BCPQ = pad_window(map_BCHW, self.kernel_size)
        means = []
        for channels, maps in ((slice(boundary), slice(num_larger)), (slice(boundary, None), slice(num_larger, None))):
            weights = weights_GKHWB[maps]
            if len(weights):
                value_GDPQB = split_channels(padded_BCPQ[:, channels], len(weights))
                means.append(join_channels(window_sum(weights, value_GDPQB, self.kernel_size, self.stride)))
        return torch.cat(means, dim=1)

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels, height, width = map_shape
        cells, window = height * width, self.kernel_size**2
        out_cells = -(-height // self.stride) * -(-width // self.stride)
        comparing = channels * self.num_maps * (cells + out_cells) + self.num_maps * window * out_cells
        averaging = channels * window * out_cells
        mixing = channels * int(self.transformation.out_channels) * out_cells
        return batch * (comparing + averaging + mixing) + self.geometry.expected_macs()


class LocalRelationOptions(ModelOptions):
    """What a user may change about the layer."""

    kernel_size: int = Field(7, ge=1, description="side of the window in cells")
    channels_per_map: int = Field(8, ge=1, description="channels that share one map of weights")


@register_attention(
    "lr",
    place="spatial",
    options=LocalRelationOptions(),
    source="Hu et al. 2019, Local Relation Networks for Image Recognition",
    look=Look("LR-Net", "#009e73", "D"),
)
def build_local_relation(map_size: tuple[int, int], **settings: int) -> LocalRelation:
    """The layer instead of a 3x3 convolution; it runs on maps of any size."""
    return LocalRelation(**settings)
