"""The feature pyramid network (Lin et al. 2017, arXiv 1612.03144, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

# B images, C channels, H height, W width of a map.


class FeaturePyramid(nn.Module):
    """P_l = conv3x3(M_l), M_l = conv1x1(C_l) + nearest(M_{l+1}): maps (B, C_l, H_l, W_l) -> (B, C, H_l, W_l), as many.

    The coarser map is resized to the finer one's size, which need not be twice its own. All convolutions have a bias.
    Names of parameters and their first weights are torchvision's, of which importing takes seconds and 150 MB.

    Cost per image: sum over levels of H_l W_l (C_l C + 9 C^2) MACs; C_l C + 9 C^2 + 2 C parameters a level.
    """

    role = "convolution"

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        inner, layers = nn.ModuleList(), nn.ModuleList()
        for channels in in_channels:
            inner.append(nn.Sequential(nn.Conv2d(channels, out_channels, 1)))
            layers.append(nn.Sequential(nn.Conv2d(out_channels, out_channels, 3, padding=1)))
        self.pyramid = nn.ModuleDict({"inner_blocks": inner, "layer_blocks": layers})
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as torchvision does (uniform, by fan-in) and set the biases to 0."""
        for module in self.pyramid.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, *maps_BCHW: Tensor) -> list[Tensor]:
        """Maps, finest first, to maps of one width."""
        laterals = [self.get_submodule(f"pyramid.inner_blocks.{at}")(one) for at, one in enumerate(maps_BCHW)]
        for finer in range(len(laterals) - 2, -1, -1):
            size = laterals[finer].shape[2:]
            laterals[finer] = laterals[finer] + F.interpolate(laterals[finer + 1], size=size, mode="nearest")
        return [self.get_submodule(f"pyramid.layer_blocks.{at}")(one) for at, one in enumerate(laterals)]

    def expected_macs(self, *map_shapes: tuple[int, ...]) -> int:
        """Lateral and 3x3 convolutions of every level; resizing and addition count nothing."""
        width = self.out_channels
        return sum(batch * rows * columns * width * (c + 9 * width) for batch, c, rows, columns in map_shapes)
