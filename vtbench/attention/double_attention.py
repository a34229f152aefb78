"""Double attention (A2): features are gathered into global descriptors and given back to every cell."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from vtbench.attention.attention_block import register_attention
from vtbench.catalog import Look
from vtbench.layers.convolution import Conv2d
from vtbench.variants import ModelOptions

# B images, C channels, H height, W width of a map, L = H * W; M channels of the features, N descriptors.


class DoubleAttention(nn.Module):
    """``y = x + W_z Z``, ``Z = G softmax_n(V(x))``, ``G = A(x) softmax_L(B(x))^T``: (B, C, H, W) -> (B, C, H, W).

    A (C -> M), B and V (C -> N) and ``W_z`` (M -> C) are 1x1 convolutions with bias; the first softmax is over cells,
    the second over descriptors. Chen et al. 2018 (arXiv 1810.11579), section 3. M = N = C / ``reduction`` as in public
    code. Whether the authors normalised the output could not be verified; it is not normalised here, and ``W_z`` starts
    at zero, so that the unit starts as the identity.

    Cost per image: L (2 C M + 2 C N + 2 M N) MACs; 2 C M + 2 C N + M + 2 N + C parameters.
    """

    role = "spatial attention"

    def __init__(self, channels: int, num_features: int, num_descriptors: int) -> None:
        super().__init__()
        self.feature = Conv2d(channels, num_features, 1)
        self.gather = Conv2d(channels, num_descriptors, 1)
        self.distribute = Conv2d(channels, num_descriptors, 1)
        self.extend = Conv2d(num_features, channels, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as the identity."""
        nn.init.zeros_(self.extend.weight)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Gather, distribute, add."""
        feature_BML = self.feature(map_BCHW).flatten(2)
        gather_BNL = self.gather(map_BCHW).flatten(2).softmax(dim=2)
        distribute_BNL = self.distribute(map_BCHW).flatten(2).softmax(dim=1)
        descriptors_BMN = feature_BML @ gather_BNL.transpose(1, 2)
        given_BML = descriptors_BMN @ distribute_BNL
        return map_BCHW + self.extend(given_BML.unflatten(2, map_BCHW.shape[2:]))  # type: ignore[no-any-return]

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels, height, width = map_shape
        features, descriptors = int(self.feature.out_channels), int(self.gather.out_channels)
        return batch * height * width * 2 * (channels * (features + descriptors) + features * descriptors)


class DoubleAttentionOptions(ModelOptions):
    """What a user may change about the unit."""

    reduction: int = Field(4, ge=1, description="channels of the map over its features, and over its descriptors")


@register_attention(
    "a2",
    place="unit",
    options=DoubleAttentionOptions(),
    source="Chen et al. 2018, A2-Nets: Double Attention Networks, section 3",
    look=Look("A²-Net", "#7a5c3e", "p"),
    where={3: (1,), 4: (1,)},
)
def build_double_attention(channels: int, map_size: tuple[int, int], reduction: int) -> DoubleAttention:
    """The unit between two residual blocks."""
    return DoubleAttention(channels, channels // reduction, channels // reduction)
