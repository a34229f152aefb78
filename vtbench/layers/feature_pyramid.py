"""The feature pyramid network (Lin et al. 2017, arXiv 1612.03144, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

# B images, C channels, H height, W width of a map.


class FeaturePyramid(nn.Module):
    """P_l = conv3x3(M_l), M_l = conv1x1(C_l) + nearest(M_{l+1}): maps (B, C_l, H_l, W_l) -> (B, C, H_l, W_l), as many.

    The coarser map is resized to the finer one's size, which need not be twice its own. All convolutions have a bias.
    The network is torchvision's; this class adds the cost and the drawing of weights anew.

    Cost per image: sum over levels of H_l W_l (C_l C + 9 C^2) MACs; C_l C + 9 C^2 + 2 C parameters a level.
    """

    role = "convolution"

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        from torchvision.ops import FeaturePyramidNetwork  # Here: it takes two seconds to import.

        self.out_channels = out_channels
        self.pyramid = FeaturePyramidNetwork(list(in_channels), out_channels)

    def reset_parameters(self) -> None:
        """Draw the weights as torchvision does (uniform, by fan-in) and set the biases to 0."""
        for module in self.pyramid.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, *maps_BCHW: Tensor) -> list[Tensor]:
        """Maps, finest first, to maps of one width."""
        named = {str(level): map_BCHW for level, map_BCHW in enumerate(maps_BCHW)}
        return list(self.pyramid(named).values())

    def expected_macs(self, *map_shapes: tuple[int, ...]) -> int:
        """Lateral and 3x3 convolutions of every level; resizing and addition count nothing."""
        width = self.out_channels
        return sum(batch * rows * columns * width * (c + 9 * width) for batch, c, rows, columns in map_shapes)
