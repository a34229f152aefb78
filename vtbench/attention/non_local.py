"""The non-local block: every cell attends to every other, and the result is added."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from vtbench.attention.attention_block import register_attention
from vtbench.catalog import Look
from vtbench.layers.convolution import Conv2d
from vtbench.variants import ModelOptions

# B images, C channels, H height, W width of a map, L = H * W; D inner channels.


class NonLocal(nn.Module):
    """``y = x + BN(W_z (g(x) softmax(theta(x)^T phi(x))^T))``: (B, C, H, W) -> (B, C, H, W).

    theta, phi, g: 1x1 convolutions C -> D with bias, ``W_z``: D -> C, D = C / ``reduction``. Wang et al. 2018 (arXiv
    1711.07971), section 3.2 (embedded Gaussian) and 3.3; the normalisation starts at zero (section 4.1), so the block
    starts as the identity. These are the equations; the authors' code for video also scales the logits by D^(-1/2),
    halves the map that phi and g see by max-pooling, and gives ``W_z`` a bias.

    Cost per image: L (4 C D + 2 L D) MACs; 4 C D + 3 D + 2 C parameters.
    """

    role = "spatial attention"

    def __init__(self, channels: int, num_inner: int) -> None:
        super().__init__()
        self.theta = Conv2d(channels, num_inner, 1)
        self.phi = Conv2d(channels, num_inner, 1)
        self.value = Conv2d(channels, num_inner, 1)
        self.extend = Conv2d(num_inner, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as the identity."""
        nn.init.zeros_(self.norm.weight)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Attend over the whole map, add."""
        theta_BDL, phi_BDL = self.theta(map_BCHW).flatten(2), self.phi(map_BCHW).flatten(2)
        weights_BLL = (theta_BDL.transpose(1, 2) @ phi_BDL).softmax(dim=2)
        attended_BDL = self.value(map_BCHW).flatten(2) @ weights_BLL.transpose(1, 2)
        return map_BCHW + self.norm(self.extend(attended_BDL.unflatten(2, map_BCHW.shape[2:])))  # type: ignore[no-any-return]

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels, height, width = map_shape
        cells, inner = height * width, int(self.theta.out_channels)
        return batch * cells * inner * (4 * channels + 2 * cells)


class NonLocalOptions(ModelOptions):
    """What a user may change about the block."""

    reduction: int = Field(2, ge=1, description="channels of the map over inner channels")


@register_attention(
    "nonlocal",
    place="unit",
    options=NonLocalOptions(),
    source="Wang et al. 2018, Non-local Neural Networks, section 3",
    look=Look("non-local", "#4c6b8a", "h"),
    where={3: (1,), 4: (1,)},
)
def build_non_local(channels: int, map_size: tuple[int, int], reduction: int) -> NonLocal:
    """The block between two residual blocks."""
    return NonLocal(channels, channels // reduction)
