"""The semantic branch of panoptic FPN (Kirillov et al. 2019, arXiv 1901.02446, section 3.1 and figure 3)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from vtbench.layers.convolution import Conv2d

# B images, C channels, H height, W width of a map; K classes.

CHANNELS_A_GROUP = 4
"""Channels that group normalisation takes together: the paper's 128 in torch's usual 32 groups."""


class SemanticHead(nn.Module):
    """predictor(sum over levels of up(..up(P_l))): maps (B, C, H_l, W_l), finest first -> scores (B, K, H_0, W_0).

    Level l goes up to the size of level 0 by l steps of conv3x3, group normalisation, ReLU, and bilinear resizing to
    the size of the next finer level, whatever that is; level 0 has one step without resizing. The predictor is a 1x1
    convolution with bias.

    Cost per image for ``channels`` C' (128 in the paper): 9 C C' MACs a cell in a level's first step, 9 C'^2 in its
    later ones, at the size the step begins with; C' K a cell for the predictor.
    """

    def __init__(self, in_channels: int, channels: int, num_classes: int, *, num_levels: int) -> None:
        super().__init__()
        self.in_channels, self.channels = in_channels, channels
        self.levels = nn.ModuleList(
            nn.ModuleList(HeadStep(channels if step else in_channels, channels) for step in range(max(1, level)))
            for level in range(num_levels)
        )
        self.dropout = nn.Dropout(0.0)
        self.predictor = PixelClassifier(channels, num_classes, 1)

    def forward(self, *maps_BCHW: Tensor) -> Tensor:
        """Maps of all levels to scores at the size of the finest."""
        total: Tensor | None = None
        for level, hidden in enumerate(maps_BCHW):
            for number in range(max(1, level)):
                hidden = self.get_submodule(f"levels.{level}.{number}")(hidden)
                if level > 0:
                    size = maps_BCHW[level - number - 1].shape[2:]
                    hidden = F.interpolate(hidden, size=size, mode="bilinear", align_corners=False)
            total = hidden if total is None else total + hidden
        return self.predictor(self.dropout(total))  # type: ignore[no-any-return]

    def expected_macs(self, *map_shapes: tuple[int, ...]) -> int:
        """The steps of every level at their sizes, and the predictor at that of level 0."""
        batch, cells = map_shapes[0][0], [math.prod(shape[2:]) for shape in map_shapes]
        total = cells[0] * self.channels * self.predictor.out_channels
        for level in range(len(map_shapes)):
            widths = (self.in_channels, *(self.channels,) * max(0, level - 1))
            total += sum(9 * width * self.channels * cells[level - step] for step, width in enumerate(widths))
        return batch * total


class HeadStep(nn.Sequential):
    """relu(group_norm(conv3x3(X))), the convolution without bias: (B, C, H, W) -> (B, C', H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(out_channels // CHANNELS_A_GROUP, out_channels),
            nn.ReLU(),
        )


class PixelClassifier(nn.Conv2d):
    """``nn.Conv2d`` whose MACs are booked as the classifier's: (B, C, H, W) -> (B, K, H, W)."""

    role = "classifier"
