"""The values that attention pools: one grouped 1x1 convolution of the map."""

from __future__ import annotations

from torch import Tensor, nn

from vtbench.layers.pointwise import Pointwise


class ValueMap(nn.Module):
    """V(X) = relu(norm(X W_V)), W_V a 1x1 convolution in groups: (B, C, H, W) -> the same shape.

    C x ``group_width`` MACs a cell. Wu et al. leave open what follows the convolution. The normalisation is needed: the
    mean over a map of rectified features is nearly the same for all images, and without it tokens hardly differ at
    first. The rectifier keeps a constant part in the pooled value, so that the layer normalisation of the token MLP
    does not blow up the small differences, and with them the gradients that flow back into the convolutions.
    """

    def __init__(self, channels: int, group_width: int) -> None:
        super().__init__()
        self.conv = Pointwise(channels, channels, group_width=group_width)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map to values."""
        return self.norm(self.conv(map_BCHW)).relu()  # type: ignore[no-any-return]
